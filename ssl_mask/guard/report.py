"""findings.json of a run as a typed record: what was compared and found, and what followed from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ssl_mask.guard.findings import File, Pair, Role, Unchecked
from ssl_mask.runs.base import Count, Record, read_record
from ssl_mask.runs.records import LeakageStatus


class PoolReport(Record):
    """A pool as it was checked."""

    name: str
    role: Role
    digest: str
    n: Count
    group_source: str
    unreadable: dict[str, str]
    files: tuple[File, ...]


class FindingsReport(Record):
    """As `Findings.to_json` writes it."""

    version: Literal[1] = Field(alias="schema")
    method: dict[str, Any]
    pools: tuple[PoolReport, ...]
    pairs: tuple[Pair, ...]
    conflicts: tuple[Pair, ...]
    not_checked: tuple[Unchecked, ...]


class RefusedReport(Record):
    """Why something was refused."""

    pool: str
    problem: str
    hint: str


class VerdictReport(Record):
    """As `Verdict.to_json` writes it."""

    status: LeakageStatus | Literal["refused"]
    reason: str
    exit_code: Count
    marks: dict[str, LeakageStatus]
    refused: tuple[RefusedReport, ...]
    drops: dict[str, tuple[str, ...]]
    allowed: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]


class GuardReport(Record):
    """The content of findings.json."""

    findings: FindingsReport
    verdict: VerdictReport


def read_report(path: Path) -> GuardReport:
    """The findings of a run. Raises DataError when the file is missing or damaged."""
    return read_record(path, GuardReport, hint="Restore it from a copy, or train again.")
