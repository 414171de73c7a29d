"""Studies predict as the mean of their runs, are scored, are traced like runs, and join other runs in an ensemble."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_runs import TINY

from ssl_mask.config import RunConfig, merge, resolve
from ssl_mask.errors import DataError, InputError, MismatchError
from ssl_mask.files import write_json
from ssl_mask.guard.findings import content_digest
from ssl_mask.runs.folds import FoldStudy
from ssl_mask.runs.seal import file_digest
from ssl_mask.runs.study import Study, create_study
from ssl_mask.workflows.evaluate import evaluate
from ssl_mask.workflows.folds import train_folds
from ssl_mask.workflows.predict import Predictions, predict
from ssl_mask.workflows.predict_shard import predict_shard
from ssl_mask.workflows.train import train

QUICK: dict[str, Any] = {"train": {"steps": 2, "eval_every": 1}, "guard": {"mode": "on"}}


@pytest.fixture(scope="module")
def trained(drawn: Path, tmp_path_factory: pytest.TempPathFactory, no_plots_in_module: None) -> Path:  # noqa: ARG001
    """A study of two folds, and a run on the first of the same folds. Read only."""
    runs = tmp_path_factory.mktemp("studies") / "runs"
    places = {"runs": str(runs), "data": {"root": str(drawn)}, "guard": {"cards": str(runs / "cards")}}
    study, single = (
        resolve([merge(merge(TINY, QUICK), places), {"name": name, "seed": seed}], has_gpu=lambda: False)
        for seed, name in enumerate(("study", "single"))
    )
    train_folds(study, folds=2, quiet=True)
    train(single, quiet=True)
    return runs


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def predicted(runs: Path, *names: str, **options: Any) -> Predictions:
    return predict(names, runs_folder=runs, quiet=True, **options)


def record_of(done: Predictions) -> Any:
    assert done.path is not None
    return json.loads(done.path.with_name("predictions.provenance.json").read_text())


def test_a_study_is_the_mean_of_its_folds_and_each_source_counts_equally(trained: Path, tmp_path: Path) -> None:
    folds = [predicted(trained, f"study/fold-{k}", write=False, guard="off").probs for k in range(2)]
    single = predicted(trained, "single", write=False, guard="off").probs
    study = predicted(trained, "study", write=False, guard="off")
    np.testing.assert_allclose(study.probs, (folds[0] + folds[1]) / 2, atol=1e-6)
    both = predicted(trained, "study", "single", out=tmp_path / "both", guard="off")
    np.testing.assert_allclose(both.probs, (folds[0] + folds[1]) / 4 + single / 2, atol=1e-6)
    assert both.weights is None and record_of(both)["weights"] is None


def test_provenance_names_the_study_and_all_its_runs_and_evaluate_reads_it(runs: Path, drawn: Path) -> None:
    done = predicted(runs, "study")
    assert done.path == runs / "study" / "predictions" / "test" / "predictions.csv"
    (source,) = record_of(done)["sources"]
    assert (source["source"], source["kind"], source["weight"]) == (str(runs / "study"), "folds", 1.0)
    members = FoldStudy(Study(runs / "study")).members()
    assert [r["run"] for r in source["runs"]] == [str(m.path) for m in members]
    assert [r["checkpoint_sha256"] for r in source["runs"]] == [file_digest(m.best) for m in members]
    by_study = evaluate(drawn / "eval_answers.csv", run="study", runs_folder=runs)
    by_file = evaluate(drawn / "eval_answers.csv", done.path, run="study/fold-0", runs_folder=runs, write=False)
    assert by_study.leakage.status == by_file.leakage.status == "photos-clean"
    assert by_study.macro_f1 == by_file.macro_f1 and by_study.path == done.path.with_name("evaluation.json")


def test_an_image_that_one_fold_validated_on_is_seen_by_the_study(trained: Path, drawn: Path, tmp_path: Path) -> None:
    """Of each labeled image one fold has been chosen on it, and the other one was trained with its label."""
    some = str(drawn / "train/images/*/normal.*")
    done = predicted(trained, "study", images=some, out=tmp_path / "labeled")
    assert done.leakage is not None and done.leakage.status == "leaked-declared"
    assert set(done.leakage.overlap) == {r.path for r in done.manifest.rows}
    assert set(done.leakage.overlap.values()) == {"trained on with its label (bytes, 1.00)"}
    one = predicted(trained, "study/fold-0", images=some, out=tmp_path / "one")
    assert one.leakage is not None
    hows = list(one.leakage.overlap.values())
    assert any("chosen" in how for how in hows) and any("trained" in how for how in hows)


def test_a_changed_a_moved_and_a_missing_study_are_noticed(runs: Path, drawn: Path) -> None:
    answers = drawn / "eval_answers.csv"
    done = predicted(runs, "study")
    study, moved = runs / "study", runs / "renamed"
    study.rename(moved)
    csv = moved / "predictions" / "test" / "predictions.csv"
    assert evaluate(answers, csv, run="renamed", runs_folder=runs, write=False).leakage.status == "photos-clean"
    (moved / "oof.json").rename(moved / "away")
    gone = evaluate(answers, csv, run="single", runs_folder=runs, write=False).leakage
    assert gone.status == "not-checked" and "study, which predicted, is not there any more" in gone.why[0]
    (moved / "away").rename(moved / "oof.json")
    moved.rename(study)
    shutil.copy(runs / "single/checkpoints/best.safetensors", study / "fold-1/checkpoints/best.safetensors")
    with pytest.raises(MismatchError, match=r"fold-1.*has changed since it predicted"):
        evaluate(answers, done.path, run="single", runs_folder=runs, write=False)


@pytest.mark.parametrize("claim", ["a fold alone", "another weight", "nothing counts"])
def test_what_did_not_predict_is_noticed(runs: Path, drawn: Path, claim: str) -> None:
    done = predicted(runs, "study", "single")
    assert done.path is not None and done.path.parent == runs / "ensembles" / "study+single" / "test"
    record = record_of(done)
    first, second = record["sources"]
    if claim == "a fold alone":
        fold = {"source": str(runs / "study/fold-0"), "kind": "run", "weight": 1.0, "runs": first["runs"][:1]}
        record["sources"] = [fold]
    elif claim == "another weight":
        first["weight"], second["weight"] = 0.0, 1.0
    else:
        first["weight"] = second["weight"] = 0.0
    write_json(done.path.with_name("predictions.provenance.json"), record)
    error, message = (DataError, "no source counts") if claim == "nothing counts" else (MismatchError, "did not make")
    with pytest.raises(error, match=message):
        evaluate(drawn / "eval_answers.csv", done.path, run="single", runs_folder=runs, write=False)


def test_a_shard_may_be_of_a_study(trained: Path, drawn: Path, tmp_path: Path) -> None:
    some = str(drawn / "extra" / "*0.jpg")
    options: dict[str, Any] = {"runs_folder": trained, "images": some, "out": tmp_path, "quiet": True}
    path = predict_shard((0, 2), "study", **options)
    table, whole = pq.read_table(path), predicted(trained, "study", images=some, write=False, guard="off")
    probs = np.stack([table[n].to_numpy() for n in table.column_names if n.startswith("p/")], axis=1)
    np.testing.assert_allclose(probs, whole.probs[::2], atol=1e-6)
    assert predict_shard((0, 2), "study", **options) == path
    with pytest.raises(DataError, match="made by another run"):
        predict_shard((0, 2), "study/fold-0", **options)


# ---- weights ----


def rewrite(path: Path, skill: float, seed: int) -> None:
    """Put made-up probabilities, right by a skill, into a table of honest predictions."""
    table = pq.read_table(path)
    classes = [n for n in table.column_names if n.startswith("p/")]
    noise = 1.0 if skill else 4.0  # what knows nothing is sure of it
    scores = np.random.default_rng(seed).normal(scale=noise, size=(len(table), len(classes)))
    scores[np.arange(len(table)), table["true"].to_numpy()] += skill
    probs = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).astype(np.float32)
    columns = {n: table[n] for n in table.column_names}
    columns |= {n: pa.array(probs[:, i]) for i, n in enumerate(classes)} | {"predicted": pa.array(probs.argmax(axis=1))}
    pq.write_table(pa.table(columns), path)


@pytest.fixture
def two_studies(runs: Path) -> Path:
    """Two studies of equal folds with made-up out-of-fold predictions: one is right, one knows nothing."""
    shutil.copytree(runs / "study", runs / "other")
    for name, skill in (("study", 3.0), ("other", 0.0)):
        rewrite(runs / name / "oof.parquet", skill, len(name))
    return runs


def test_weights_that_help_are_kept_said_and_traced(
    two_studies: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = predict(["other", "study"], runs_folder=two_studies, weights="oof")
    said = " ".join(capsys.readouterr().out.split())
    assert done.weights is not None and done.weights.kept and done.weights.weights == (0.0, 1.0)
    assert "Weights other 0.00, study 1.00: +" in said and "less that of the plain mean" in said
    np.testing.assert_allclose(done.probs, predicted(two_studies, "study", write=False, guard="off").probs, atol=1e-6)
    assert done.path is not None and done.path.parent.name == "test-weights"
    record = record_of(done)
    assert [s["weight"] for s in record["sources"]] == [0.0, 1.0]
    images = pq.read_table(two_studies / "study/oof.parquet")["sha256"].to_pylist()
    assert record["weights"]["chosen_on"] == content_digest(images)
    assert record["weights"]["gain"]["low"] > 0 and record["weights"]["images"] == len(images)
    scores = evaluate(drawn / "eval_answers.csv", done.path, run="study", runs_folder=two_studies, write=False)
    assert scores.leakage.status == "photos-clean"


@pytest.mark.slow
def test_the_images_that_chose_the_weights_are_seen(two_studies: Path, drawn: Path, tmp_path: Path) -> None:
    done = predicted(
        two_studies, "other", "study", weights="oof", images=drawn / "train/images", out=tmp_path / "labeled"
    )  # fmt: skip
    chosen = set(pq.read_table(two_studies / "study/oof.parquet")["sha256"].to_pylist())
    assert done.leakage is not None
    assert {r.digest for r in done.manifest.rows if r.path in done.leakage.overlap} >= chosen
    assert done.leakage.status == "leaked-declared"


def test_without_a_gain_the_plain_mean_is_kept_and_said(two_studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(two_studies / "other/oof.parquet", 9.0, 1)
    done = predict(["other", "study"], runs_folder=two_studies, weights="oof", write=False, guard="off")
    assert "Weights the plain mean is kept: " in " ".join(capsys.readouterr().out.split())
    assert done.weights is not None and not done.weights.kept
    np.testing.assert_allclose(
        done.probs, predicted(two_studies, "other", "study", write=False, guard="off").probs, atol=1e-6
    )


def test_single_runs_of_one_split_choose_weights_too(runs: Path) -> None:
    shutil.copytree(runs / "single", runs / "noise")
    for name, skill in (("single", 3.0), ("noise", 0.0)):
        rewrite(runs / name / "validation.parquet", skill, len(name))
    done = predicted(runs, "single", "noise", weights="oof", write=False, guard="off")
    assert done.weights is not None and done.weights.kept and done.weights.weights[0] > 0.8
    with_study = predicted(
        runs, "study", "single", weights="oof", write=False, guard="off"
    ).weights  # on what both have
    assert with_study is not None
    assert with_study.images == len(pq.read_table(runs / "single/validation.parquet"))


def test_weights_need_several_sources_with_predictions_of_the_same_images(runs: Path) -> None:
    with pytest.raises(InputError, match="There is one source, so nothing to weigh"):
        predicted(runs, "study", weights="oof")
    with pytest.raises(DataError, match="have validated no image in common"):
        predicted(runs, "study/fold-0", "study/fold-1", weights="oof")
    (runs / "single/validation.parquet").unlink()
    with pytest.raises(DataError, match="has no predictions of labeled images that it was not trained on"):
        predicted(runs, "study", "single", weights="oof")


def test_a_study_of_seeds_has_the_mean_of_their_validation(runs: Path) -> None:
    made = create_study(runs / "seeds", "uda", "seeds", RunConfig(), {"seeds": [0, 1], "baseline": False})
    for seed in (0, 1):
        shutil.copytree(runs / "single", runs / "seeds" / f"seed-{seed}")
        rewrite(runs / "seeds" / f"seed-{seed}" / "validation.parquet", 9.0, seed)
    made.comparison.touch()
    done = predicted(runs, "seeds", "single", weights="oof", write=False, guard="off")
    assert done.weights is not None
    np.testing.assert_allclose(done.probs, predicted(runs, "single", write=False, guard="off").probs, atol=1e-6)
