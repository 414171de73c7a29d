"""metrics.jsonl: a line that a kill has torn is left out; damage elsewhere is one error that names the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_records import best_score

from ssl_mask.errors import DataError
from ssl_mask.reports import samples, study_samples
from ssl_mask.runs.run import RunDir

TRAIN: dict[str, Any] = {
    "kind": "train", "step": 1, "loss": 0.5, "terms": {"kind": 0.5}, "stats": {"rate": 0.1, "histogram": [1.0, 2.0]},
    "lr": 0.1, "images_per_second": 9.5,
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A step, then an evaluation with a value per head of its algorithm."""
    made = samples.run(tmp_path / "run")
    made.log(**TRAIN)
    made.log(kind="val", cpu_seconds=2.5, pseudo_share={"kind": float("nan")}, **best_score().to_json())
    return made


def test_what_is_logged_is_read_back(run: RunDir) -> None:
    train, val = run.records()
    assert train == TRAIN
    assert (val["kind"], val["macro_f1"], list(val["pseudo_share"])) == ("val", 0.5, ["kind"])
    assert run.cpu_seconds() == 2.5


@pytest.mark.parametrize("kept", [1, 20, 60, -1])
def test_a_torn_last_line_is_left_out(run: RunDir, kept: int) -> None:
    whole = run.metrics.read_bytes()
    first = whole.index(b"\n") + 1
    run.metrics.write_bytes(whole[: first + kept] if kept > 0 else whole[:-2])
    assert run.records() == [TRAIN]
    run.metrics.write_bytes(whole[:-1])
    assert len(run.records()) == 2  # only its end is missing


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"kind": "train", "st', r"metrics\.jsonl:1 is damaged: "),
        ("[]", r"metrics\.jsonl:1 is damaged: "),
        ("[" * 100_000, r"metrics\.jsonl:1 is damaged: it is nested too deeply"),
        ('{"kind": "other"}', r"metrics\.jsonl:1 is damaged: "),
        ('{"kind": "train", "step": -1}', r"metrics\.jsonl:1 is damaged: train\.step: "),
        ("", r"metrics\.jsonl:1 is damaged: "),
    ],
)
def test_damage_elsewhere_names_the_line(run: RunDir, line: str, message: str) -> None:
    run.metrics.write_text("\n".join([line, *run.metrics.read_text().splitlines()[1:], ""]))
    with pytest.raises(DataError, match=message) as caught:
        run.records()
    assert "remove the line" in caught.value.hint


def test_a_study_has_the_time_of_its_rounds(tmp_path: Path) -> None:
    """It has no metrics of its own, and may be what another study starts from."""
    study = samples.run(tmp_path / "run", rounds=study_samples.rounds(1), best_round=0)
    study.metrics.unlink(missing_ok=True)
    assert study.cpu_seconds() == 12345 + 12346


def test_a_run_without_validation_has_the_time_of_its_end(tmp_path: Path) -> None:
    assert samples.run(tmp_path / "run", best=None, cpu_seconds=12.5).cpu_seconds() == 12.5


def test_without_an_evaluation_there_is_no_time(run: RunDir) -> None:
    run.metrics.write_text("")
    assert run.records() == []
    with pytest.raises(DataError, match="holds no evaluation"):
        run.cpu_seconds()
    run.metrics.write_bytes(b"\xff")
    with pytest.raises(DataError, match="not UTF-8"):
        run.records()
