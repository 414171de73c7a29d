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
from ssl_mask.errors import Interrupted
from ssl_mask.files import write_json
from ssl_mask.pseudo_labeling.fold_report import publish as publish_folds
from ssl_mask.pseudo_labeling.fold_report import report_round as report_folds
from ssl_mask.pseudo_labeling.record import NothingSelectedError, refuse_nothing
from ssl_mask.pseudo_labeling.report import best_round, stopped_early
from ssl_mask.reports import study_samples
from ssl_mask.runs.folds import FoldStudy
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
    assert "**Stopped early**: Validation macro-F1 fell beyond its interval in round 1." in run.dir.card.read_text()


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
    assert run.status.stopped == "Round 2 selects none of 9 images for fold 1: none."


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
    trainer: Any = None  # the round that would use it is made up

    def train(_: object, __: object, ___: object, number: int, **how: object) -> None:  # noqa: ARG001
        if number == at:
            raise nothing(at)

    monkeypatch.setattr(pseudo_folds, "train_round", train)
    monkeypatch.setattr(pseudo_folds, "report_round", lambda _, number, *__: reported.append(number))
    monkeypatch.setattr(pseudo_folds, "stopped_early", lambda *_: False)
    if not kept:
        with pytest.raises(NothingSelectedError):
            pseudo_folds.run_rounds(setting, RoundStudy(study), None, trainer)
        return
    assert pseudo_folds.run_rounds(setting, RoundStudy(study), None, trainer) == str(nothing(at)).splitlines()[0]
    assert reported == list(range(at))
    assert f"Stop Round {at} selects none of 9 images for fold 1" in " ".join(capsys.readouterr().out.split())


# ---- a study of rounds by folds that goes on ----


def by_folds(folder: Path, rounds: int) -> RoundStudy:
    """Rounds of two folds each that are finished."""
    asked = {"folds": 2, "rounds": 5}
    whole = RoundStudy(create_study(folder / "p", "pseudo", "rounds", RunConfig(), asked))
    for number in range(rounds):
        folds = FoldStudy(create_study(whole.round(number).path, "pseudo", "folds", RunConfig(), {"folds": 2}))
        write_json(folds.record_file, study_samples.folds(2)[0].to_json())
        for run in folds.members():
            run.update(
                verb="train", name=run.name, status="finished", started="now", step=1, best=None, leakage="clean",
                data=data_record(),
            )  # fmt: skip
            write_json(run.selection, selection_record(round=number).to_json())
    return whole


@pytest.mark.usefixtures("no_plots")
def test_a_study_that_goes_on_keeps_its_later_rounds_and_says_why_there_are_no_more(tmp_path: Path) -> None:
    """Killed while the rounds are reported again, it must not predict with the best of the first ones."""
    whole, console = by_folds(tmp_path, 3), Console(quiet=True)
    report_folds(whole, 2, None, console)
    publish_folds(whole, "Round 3 selects none of 9 images.")
    before = whole.record()
    assert before.finished and len(before.rounds) == 3
    report_folds(whole, 0, None, console)
    assert whole.record() == before
    assert "**Stopped early**: Round 3 selects none of 9 images." in whole.card.read_text()


def test_the_wish_for_a_refit_is_kept(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = series_config(drawn, tmp_path)
    study = RoundStudy(create_study(tmp_path / "p", "pseudo", "rounds", config, {"folds": 2, "rounds": 2}))
    refitted: list[bool] = []

    def stops(*_: Any, **__: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(pseudo_folds, "run_rounds", stops)
    with pytest.raises(Interrupted):
        pseudo_folds.pseudo_folds(config, resume=study.path, refit=True, quiet=True)
    monkeypatch.setattr(pseudo_folds, "run_rounds", lambda *_, **__: "")
    monkeypatch.setattr(pseudo_folds, "run_refit", lambda *_, **__: refitted.append(True))
    monkeypatch.setattr(pseudo_folds, "publish", lambda *_: None)
    pseudo_folds.pseudo_folds(config, resume=study.path, quiet=True)
    assert study.settings().refit and refitted == [True]


def test_it_is_said_whose_round_selects_nothing() -> None:
    record = selection_record().model_copy(update={"selected": 0, "pool": 9})
    with pytest.raises(NothingSelectedError, match=r"selects none of 9 images for fold 1: "):
        refuse_nothing(RunConfig().pseudo, record, student="fold 1")
