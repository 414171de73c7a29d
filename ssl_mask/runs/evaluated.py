"""evaluation.json, as far as others read it: scores of a prediction file against answers, and what they are worth."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict

from ssl_mask.runs.base import Count, Record, read_record
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.records import LeakageStatus

FILE = "evaluation.json"


class _Part(Record):
    """The file has more keys, which only `sslmask evaluate` writes and nobody reads back."""

    model_config = ConfigDict(extra="ignore")


class EvaluatedLeakage(_Part):
    verdict: LeakageStatus
    why: tuple[str, ...]
    pool_digest: str


class EvaluatedNew(_Part):
    """On the images that training has not seen."""

    images: Count
    macro_f1: IntervalRecord
    accuracy: IntervalRecord


class EvaluatedRecord(_Part):
    """Scores of a prediction file."""

    images: Count
    macro_f1: IntervalRecord
    accuracy: IntervalRecord
    grouped: bool
    leakage: EvaluatedLeakage
    new_images: EvaluatedNew | None
    """None: none of them was seen."""


def read_evaluated(folder: Path) -> EvaluatedRecord | None:
    """The record in a folder of predictions; None where they were not scored. Raises DataError when it is damaged."""
    path = folder / FILE
    hint = "Score the predictions again: sslmask evaluate --answers …"
    return read_record(path, EvaluatedRecord, hint=hint) if path.exists() else None
