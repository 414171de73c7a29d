"""`pseudo --folds`: what a student learns from, what its thresholds are set on; no label of its fold is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_rounds import SETTINGS, read_json, series_config, table_of

from ssl_mask.data.predictions import read_predictions
from ssl_mask.data.tables import read_csv
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
    """Labels only, a round of pseudo-labels, and a model on all labels. Read only."""
    config = series_config(drawn, tmp_path_factory.mktemp("folds"), pseudo=ASKED, **SHORT)
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
