"""What an exported network of several runs carries: the worst of their marks, all that they have seen and build on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from ssl_mask.guard import exported
from ssl_mask.guard.exported import NOT_ALL, kept_leakage
from ssl_mask.guard.provenance import SourceRun
from ssl_mask.runs.exported import ExportedModel
from ssl_mask.runs.records import DeclarationRecord, LeakageRecord


class Made(NamedTuple):
    """A run of which only the record is looked at."""

    metadata: LeakageRecord
    run: Any = None


def kept(*records: LeakageRecord, folder: Path) -> LeakageRecord:
    sources = cast("list[SourceRun]", [Made(record) for record in records])
    return kept_leakage(sources, ExportedModel(folder / "model.onnx"))


def test_the_worst_mark_of_each_pool_counts_whichever_run_carries_it(tmp_path: Path) -> None:
    first = LeakageRecord(
        leakage="transductive-test", marks={"eval": "clean", "test": "transductive-test"}, ancestors=("base", "old")
    )
    second = LeakageRecord(
        leakage="leaked-declared", leakage_reason="it was trained on eval",
        marks={"eval": "leaked-declared", "test": "clean"},
        declaration=DeclarationRecord(reason="a trial", allowed_by="Ada"), ancestors=("old", "new"),
    )  # fmt: skip
    for records in ((first, second), (second, first)):
        joined = kept(*records, folder=tmp_path)
        assert joined.marks == {"eval": "leaked-declared", "test": "transductive-test"}
        assert joined.leakage == "leaked-declared" and joined.leakage_reason == "it was trained on eval"
        assert joined.declaration == second.declaration
        assert set(joined.ancestors) == {"base", "old", "new"} and len(joined.ancestors) == 3


def test_a_pool_that_one_run_was_not_compared_with_is_no_better_than_its_photos(tmp_path: Path) -> None:
    knows, knows_not = LeakageRecord(leakage="clean", marks={"eval": "clean"}), LeakageRecord(leakage="clean")
    assert kept(knows, knows, folder=tmp_path).marks == {"eval": "clean"}
    joined = kept(knows, knows_not, folder=tmp_path)
    assert joined.marks == {"eval": NOT_ALL.status} and joined.leakage_reason == NOT_ALL.reason


def test_where_one_run_does_not_know_what_it_saw_nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the seen-sets of an older export go."""
    old = ExportedModel(tmp_path / "model.onnx").seen("train")
    old.write_bytes(b"of an older export")
    monkeypatch.setattr(exported, "read_seen", lambda _run, record: {} if record.seen == {} else None)
    knows = LeakageRecord(leakage="clean", seen={})
    assert kept(knows, knows, folder=tmp_path).seen == {}
    assert kept(knows, LeakageRecord(leakage="clean"), folder=tmp_path).seen is None
    assert not old.exists()
