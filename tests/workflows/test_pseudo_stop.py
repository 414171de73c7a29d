"""When a series stops early, and which round it keeps: on hand-made validation tables."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_records import best_score, data_record, round_summary, selection_record
from small_rounds import rounds_of, series_config

from ssl_mask import devices
from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.predictions import write_predictions
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.pseudo_labeling.record import NothingSelectedError, refuse_nothing
from ssl_mask.pseudo_labeling.report import best_round, stopped_early
from ssl_mask.runs.rounds import RoundStudy
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import create_study
from ssl_mask.runs.view import Run
from ssl_mask.workflows import pseudo as workflow
from ssl_mask.workflows import pseudo_folds
from ssl_mask.workflows.pseudo import pseudo

SCHEMA = LabelSchema((Factor("kind", ("cat", "dog", "owl")),))


def handmade(folder: Path, wrong: list[set[int]]) -> RunDir:
    """A series whose rounds got these of 60 validation images (of 20 groups) wrong."""
    series = RunDir(folder)
    rows = tuple(Row(f"{i}.jpg", f"g{i // 3}", "val", "t", (i % 3,), digest=str(i)) for i in range(60))
    val = Manifest(folder, "table", SCHEMA, rows, True, Submission("image", ("kind",), "names"))
    for number, missed in enumerate(wrong):
        run = series.round(number)
        predicted = [(i + 1) % 3 if i in missed else i % 3 for i in range(60)]
        write_predictions(run.validation, val, np.eye(3)[predicted])
        run.log(kind="val", cpu_seconds=1.0, **best_score().to_json())
        run.selection.write_text(json.dumps(selection_record().to_json()))
        run.update(
            verb="train", name=run.name, status="finished", started="now", step=1, best=None, leakage="clean",
            data=data_record(),
        )  # fmt: skip
    return series


@pytest.mark.parametrize(
    ("wrong", "stops"),
    [
        ([set(range(3)), set(range(30))], True),  # half of the groups
        ([set(range(3)), set(range(3, 7))], False),  # one image more, others than before
        ([set(range(3)), set(range(3))], False),
        ([set(range(30)), set(range(3))], False),
        ([set(range(30)), set(range(3)), set(range(6, 40))], True),  # against the best so far, not the first
        ([set(range(3)), set(range(20)), set(range(30))], True),
    ],
)
def test_a_clear_fall_stops_and_noise_does_not(drawn: Path, tmp_path: Path, wrong: list[set[int]], stops: bool) -> None:
    series = handmade(tmp_path, wrong)
    assert stopped_early(series_config(drawn, tmp_path), series, len(wrong) - 1) == stops
    assert not stopped_early(series_config(drawn, tmp_path), series, 0)


def test_of_equal_rounds_the_first_is_kept() -> None:
    rows = [round_summary(n, v) for n, v in enumerate([0.5, 0.75, 0.75, 0.7])]
    assert best_round(rows) == 1
    assert best_round(rows[:1]) == 0


def test_a_series_that_falls_ends_and_keeps_the_best(
    done: Run, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ssl_mask.workflows.pseudo.stopped_early", lambda *_: _[-1] == 1)
    start = {"teachers": [str(rounds_of(done)[0].path)], "rounds": 3}
    run = pseudo(series_config(drawn, tmp_path, pseudo=start))
    assert run.status.status == "finished"
    assert not rounds_of(run)[2].path.exists()
    assert "fell beyond its interval in round 1" in " ".join(capsys.readouterr().out.split())


# ---- a round for which nothing is selected ----


def nothing(number: int) -> NothingSelectedError:
    return NothingSelectedError(f"Round {number} selects none of 9 images for fold 1: none.", hint="Lower --threshold.")


def test_a_round_without_pseudo_labels_ends_a_series_that_has_trained_something(
    done: Run, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = workflow.select_round

    def select(config: RunConfig, number: int, *more: Any, **named: Any) -> None:
        if number == 2:
            raise nothing(2)
        real(config, number, *more, **named)

    monkeypatch.setattr(workflow, "select_round", select)
    start = {"teachers": [str(rounds_of(done)[0].path)], "rounds": 3}
    run = pseudo(series_config(drawn, tmp_path, pseudo=start))
    assert run.status.status == "finished" and [r.round for r in run.status.rounds] == [0, 1]
    said = " ".join(capsys.readouterr().out.split())
    assert "Stop Round 2 selects none of 9 images" in said and "The best round so far is kept." in said


@pytest.mark.parametrize(
    ("teachers", "at", "kept"), [([], 1, True), ([], 2, True), (["a"], 1, False), (["a"], 2, True)]
)
def test_a_fold_without_pseudo_labels_ends_a_study_that_has_trained_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], teachers: list[str], at: int,
    kept: bool,
) -> None:  # fmt: skip
    study = create_study(tmp_path / "p", "pseudo", "rounds", RunConfig(), {"folds": 2, "rounds": 3, "round_zero": "s"})
    setting: Any = SimpleNamespace(
        accelerator=devices.make_accelerator("fp32"), console=Console(),
        config=RunConfig.model_validate({"pseudo": {"teachers": teachers}}),
    )  # fmt: skip
    reported: list[int] = []

    def train(_: object, __: object, number: int, *, quiet: bool) -> None:  # noqa: ARG001
        if number == at:
            raise nothing(at)

    monkeypatch.setattr(pseudo_folds, "train_round", train)
    monkeypatch.setattr(pseudo_folds, "report_round", lambda _, number, *__: reported.append(number))
    monkeypatch.setattr(pseudo_folds, "stopped_early", lambda *_: False)
    monkeypatch.setattr(RoundStudy, "record", lambda _: SimpleNamespace(best_round=max(reported)))
    if not kept:
        with pytest.raises(NothingSelectedError):
            pseudo_folds.run_rounds(setting, RoundStudy(study), None, quiet=True)
        return
    assert pseudo_folds.run_rounds(setting, RoundStudy(study), None, quiet=True) == at - 1
    assert reported == list(range(at))
    assert f"Stop Round {at} selects none of 9 images for fold 1" in " ".join(capsys.readouterr().out.split())


def test_it_is_said_whose_round_selects_nothing() -> None:
    record = selection_record().model_copy(update={"selected": 0, "pool": 9})
    with pytest.raises(NothingSelectedError, match=r"selects none of 9 images for fold 1: "):
        refuse_nothing(RunConfig().pseudo, record, student="fold 1")
