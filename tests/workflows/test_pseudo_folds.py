"""`pseudo --folds`: what a student learns from, what its thresholds are set on; no label of its fold is in it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_rounds import SETTINGS, read_json, series_config, table_of, weights_of

from ssl_mask.data.predictions import read_predictions
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import OverlapError
from ssl_mask.evaluation.metrics import bootstrap
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.rounds import RoundStudy
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import find_source
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.pseudo_folds import pseudo_folds

pytestmark = pytest.mark.slow
SHORT: dict[str, Any] = {"train": {**SETTINGS["train"], "steps": 2, "eval_every": 1}}
ASKED: dict[str, Any] = {"rounds": 1, "rule": "percentile", "percentile_step": 0.5}


@pytest.fixture(scope="module")
def study(drawn: Path, tmp_path_factory: pytest.TempPathFactory, no_plots_in_module: None) -> RoundStudy:  # noqa: ARG001
    """Labels only, a round of pseudo-labels, and a model on all labels; a single run would have other folds. Read
    only."""
    config = series_config(drawn, tmp_path_factory.mktemp("folds"), pseudo=ASKED, data={"folds": 4}, **SHORT)
    return pseudo_folds(config, folds=2, refit=True, quiet=True)


def trained_on(run: RunDir) -> set[str]:
    return {c["group"] for _, c in read_csv(run.manifest) if c["split"] == "train"}


def validated_on(run: RunDir) -> set[str]:
    return {c["group"] for _, c in read_csv(run.manifest) if c["split"] == "val"}


def test_each_student_learns_from_the_teacher_of_its_fold_alone(study: RoundStudy) -> None:
    zero, first = study.round(0), study.round(1)
    for student, teacher in zip(first.members(), zero.members(), strict=True):
        assert [Path(t.run) for t in student.selection_record().teachers] == [teacher.path]
        assert not trained_on(teacher) & validated_on(student)
        assert student.config().data.pseudo_labels == student.pseudo_labels
        assert student.status().data.pseudo.images == len(table_of(student))
        assert list(student.status().ancestors) == [str(teacher.path)]
        assert student.config().data.fold == teacher.config().data.fold
        assert student.config().data.folds == teacher.config().data.folds == 2
    one, two = (table_of(run) for run in first.members())
    assert one != two
    assert all(run.status().data.pseudo is None for run in zero.members())


def test_thresholds_are_set_on_the_other_folds(study: RoundStudy) -> None:
    """With two folds: student 0's on the images of fold 1, and the reverse; the refit's on all."""
    runs = study.round(1).members()
    counts = [len([1 for _, c in read_csv(run.manifest) if c["split"] == "val"]) for run in runs]
    assert [run.selection_record().validation for run in runs] == counts[::-1]
    refit = study.refit.selection_record()
    assert refit.validation == sum(counts)
    assert [Path(t.run) for t in refit.teachers] == [run.path for run in study.round(0).members()]


def test_the_score_of_each_round_is_out_of_fold(study: RoundStudy) -> None:
    record = study.record()
    assert record.finished and [row.round for row in record.rounds] == [0, 1]
    for row in record.rounds:
        oof = read_predictions(study.round(row.round).oof)
        found = bootstrap(oof.true, oof.predicted, oof.group, len(oof.classes))["macro_f1"]
        assert (row.macro_f1.value, row.macro_f1.low) == pytest.approx(found[:2])
    scores = [row.macro_f1.value for row in record.rounds]
    assert record.best_round == scores.index(max(scores))
    assert "macro-F1" in study.card.read_text()


def test_the_study_predicts_with_the_folds_of_its_best_round(study: RoundStudy, drawn: Path, tmp_path: Path) -> None:
    source = find_source(study.path.name, study.path.parent)
    assert source.members == study.best.members()
    assert source.tables == (study.best.oof,)
    images, runs = drawn / "extra", study.path.parent
    mean = predict([study.path.name], runs_folder=runs, images=images, out=tmp_path / "a", quiet=True).probs
    each = [predict([r.path], images=images, out=tmp_path / r.name, quiet=True).probs for r in study.best.members()]
    np.testing.assert_allclose(mean, sum(each) / 2, atol=1e-6)


def test_the_refit_has_all_labels_and_no_validation(study: RoundStudy) -> None:
    metadata = read_metadata(study.refit.best)
    assert metadata.best is None and metadata.data.val_images == 0
    assert metadata.temperatures == study.best.record().temperatures
    assert trained_on(study.refit) == trained_on(study.best.members()[0]) | validated_on(study.best.members()[0])
    assert "no validation of its own" in study.card.read_text()


def test_a_finished_study_is_left_alone(study: RoundStudy, drawn: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (study.path / "rounds").rglob("*") if p.is_file() and p.name != ".lock"}
    pseudo_folds(series_config(drawn, study.path.parent), resume=study.path, quiet=True)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert read_json(study.record_file)["finished"]


# ---- a study that is killed anywhere ----


def content_of(study: RoundStudy) -> dict[str, Any]:
    """All that later results depend on; only the folder differs between two studies."""
    found: dict[str, Any] = {}
    for number in range(2):
        folds = study.round(number)
        found[f"{number}/oof"] = folds.oof.read_bytes()
        for run in (*folds.members(), *([folds.refit] if folds.refit.best.is_file() else [])):
            found |= {f"{number}/{run.name}/{key}": tensor.numpy() for key, tensor in weights_of(run).items()}
            if run.pseudo_labels.is_file():
                found[f"{number}/{run.name}/labels"] = run.pseudo_labels.read_bytes()
                found[f"{number}/{run.name}/pool"] = run.pool.read_bytes()
    return found


class Killed(BaseException):
    """Nothing may run after it, as after a SIGKILL: no handler of ours catches it."""


@pytest.mark.usefixtures("no_plots_in_module")
@pytest.mark.parametrize(
    ("where", "call"),
    [
        ("ssl_mask.pseudo_labeling.folds.select_for", 2),  # one student has its pseudo-labels, the other one not
        ("ssl_mask.training.fit.save", 9),
        ("ssl_mask.studies.folds.settle", 2),
        ("ssl_mask.workflows.pseudo_folds.train_refit", 1),
        ("ssl_mask.workflows.pseudo_folds.publish", 1),
    ],
)
def test_a_study_that_is_killed_ends_with_the_same_bytes(
    study: RoundStudy, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, call: int
) -> None:
    module, name = where.rsplit(".", 1)
    original, calls = getattr(import_module(module), name), []

    def dies(*given: Any, **named: Any) -> Any:
        calls.append(name)
        if len(calls) == call:
            raise Killed
        return original(*given, **named)

    config = series_config(drawn, tmp_path, pseudo=ASKED, **SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(import_module(module), name, dies)
        with pytest.raises(Killed):
            pseudo_folds(config, folds=2, refit=True, quiet=True)
    again = pseudo_folds(config, resume="pseudo-001", quiet=True)
    one, two = content_of(study), content_of(again)
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert (value == two[key]).all() if isinstance(value, np.ndarray) else value == two[key], key
    assert [r.macro_f1 for r in again.record().rounds] == [r.macro_f1 for r in study.record().rounds]


# ---- teachers that are named ----


def test_the_guard_finds_nothing_in_honest_rounds_and_refuses_the_teachers_of_another_fold(
    study: RoundStudy, drawn: Path, tmp_path: Path
) -> None:
    """A study is named as the teacher: of these folds it is round 0; the models of other folds may not teach."""
    guard = {"mode": "on", "drop_overlap": True, "cards": str(tmp_path / "cards")}
    asked = {**ASKED, "teachers": [str(study.round(0).path)]}
    config = series_config(drawn, tmp_path, pseudo=asked, guard=guard, name="taught", **SHORT)
    taught = pseudo_folds(config, folds=2, quiet=True)
    assert taught.settings().round_zero == str(study.round(0).path)
    assert not (taught.path / "rounds" / "00").exists()
    for own, other in zip(taught.round(1).members(), study.round(1).members(), strict=True):
        used, all_ = (set(read_predictions(run.pool).sha256.tolist()) for run in (own, other))
        assert used < all_  # without the copies of labeled and test images
        assert [t.run for t in own.selection_record().teachers] == [t.run for t in other.selection_record().teachers]
        assert own.status().leakage in {"photos-clean", "not-checked"}  # `study` was made with the guard off
    one = {**ASKED, "teachers": [str(study.round(0).members()[0].path)]}
    with pytest.raises(OverlapError, match="No teacher has left out the validation images of fold 1"):
        pseudo_folds(series_config(drawn, tmp_path, pseudo=one, **SHORT), folds=2, quiet=True)


def test_teachers_of_another_split_are_judged_by_their_images(study: RoundStudy, drawn: Path, tmp_path: Path) -> None:
    """A run with another number of folds may be honest; so the mean of what is honest is no round 0."""
    members = [str(run.path) for run in (*study.round(0).members(), *study.round(1).members())]
    asked = {**ASKED, "teachers": members, "agreement": 1.0}
    taught = pseudo_folds(series_config(drawn, tmp_path, pseudo=asked, **SHORT), folds=2, quiet=True)
    assert taught.settings().round_zero is None
    names = [[Path(t.run).name for t in r.selection_record().teachers] for r in taught.round(1).members()]
    assert names == [["fold-0", "fold-0"], ["fold-1", "fold-1"]]
    row = taught.record().rounds[0]
    assert (row.teachers, row.taught_by, taught.record().best_round) == (4, "mean of 4 teachers", 1)
    tables = [read_predictions(study.round(n).oof) for n in range(2)]
    mean = read_predictions(taught.taught_as_mean)
    assert mean.path.tolist() == tables[0].path.tolist()
    np.testing.assert_allclose(mean.probs, (tables[0].probs + tables[1].probs) / 2, atol=1e-5)
