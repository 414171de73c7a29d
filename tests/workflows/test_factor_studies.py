"""Studies of factor models, on drawn shapes of two factors: one split, own settings per part, a joint prediction."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from PIL import Image
from tiny_runs import TINY

from ssl_mask.cli.app import main
from ssl_mask.config import RunConfig, merge, resolve, validate
from ssl_mask.console import Console
from ssl_mask.data.layouts.images import read_images
from ssl_mask.data.manifest import Submission
from ssl_mask.data.predictions import read_predictions
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import ConfigError, DataError, Interrupted, MismatchError
from ssl_mask.evaluation.factors import corrected
from ssl_mask.inference.predictor import Compute
from ssl_mask.inference.run_predictor import load_run_predictor
from ssl_mask.runs.factors import FactorStudy, folders_of
from ssl_mask.runs.folds import FoldsSettings
from ssl_mask.runs.listing import summary_of
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import find_source
from ssl_mask.runs.study import Study
from ssl_mask.workflows import factors as workflow
from ssl_mask.workflows.evaluate import evaluate
from ssl_mask.workflows.factors import train_factors
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.pseudo import pseudo

SCHEMA = LabelSchema((Factor("hue", ("blue", "red")), Factor("size", ("large", "small"))))
OWN = {"hue": {"model": {"embedding_size": 8}, "loss": {"margin": 0.3}}}


def draw(root: Path) -> Path:
    """Sixteen groups of two images, one of four colours and sizes each; four test images and eight unlabeled ones."""
    (root / "images").mkdir(parents=True)
    (root / "extra").mkdir()
    for i in range(8):
        pixels = np.random.default_rng(100 + i).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "extra" / f"{i}.png")
    lines = ["image,hue,size,group,split"]
    for i in range(36):
        hue, size, test = i // 2 % 2, i // 4 % 2, i >= 32
        pixels = np.random.default_rng(i).integers(0, 90, (32, 32, 3), dtype=np.uint8)
        half = 6 if size else 14
        pixels[16 - half : 16 + half, 16 - half : 16 + half, 0 if hue else 2] += 150
        Image.fromarray(pixels).save(root / "images" / f"{i}.png")
        labels = "," if test else f"{'red' if hue else 'blue'},{'small' if size else 'large'}"
        lines.append(f"images/{i}.png,{labels},g{i // 2},{'test' if test else 'train'}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def settings(root: Path, runs: Path, **sections: Any) -> RunConfig:
    data = {"root": str(root), "options": {"labels": ["hue", "size"]}}
    base = merge(TINY, {"runs": str(runs), "data": data, "train": {"steps": 2, "eval_every": 1}})
    return resolve([base, {"factors": OWN}, sections], has_gpu=lambda: False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    return draw(tmp_path_factory.mktemp("shapes") / "data")


@pytest.fixture(scope="module")
def whole(root: Path, no_plots_in_module: None, tmp_path_factory: pytest.TempPathFactory) -> FactorStudy:  # noqa: ARG001
    """A finished study of two folds per factor. Read only."""
    config = settings(root, tmp_path_factory.mktemp("factors") / "runs", factor_prior="oof")
    return train_factors(config, folds=2, quiet=True)


@pytest.fixture
def study(whole: FactorStudy, tmp_path: Path) -> FactorStudy:
    """One that a test may damage."""
    return FactorStudy(Study(Path(shutil.copytree(whole.path, tmp_path / "runs" / whole.path.name))))


def test_every_factor_has_its_own_settings_on_one_split(whole: FactorStudy) -> None:
    assert {p.name for p in whole.path.iterdir() if not p.name.startswith(".")} == {
        "study.json", "hue", "size", "oof.parquet", "oof.json", "study_card.md",
    }  # fmt: skip
    for k in range(2):
        hue, size = (whole.runs(name)[k] for name in ("hue", "size"))
        assert (hue.config().model.embedding_size, hue.config().loss.margin) == (8, 0.3)
        assert (size.config().model.embedding_size, size.config().loss.margin) == (16, 0.2)
        assert set(hue.scores().temperatures) == {"hue"} and set(size.scores().temperatures) == {"size"}
        splits = [
            {(c["path"], c["group"], c["split"]) for _, c in read_csv(run.manifest, columns=("path", "split"))}
            for run in (hue, size)
        ]
        assert splits[0] == splits[1] and len(splits[0]) == 32


def test_the_joined_table_is_the_product_of_the_parts(whole: FactorStudy) -> None:
    hue, size, joint = (read_predictions(p) for p in (whole.table("hue"), whole.table("size"), whole.oof))
    assert joint.classes == SCHEMA.joint_classes and len(joint) == 32
    record = whole.record()
    assert record.prior is not None
    for i, path in enumerate(joint.path):
        a, b = int(np.flatnonzero(hue.path == path)[0]), int(np.flatnonzero(size.path == path)[0])
        expected = [float(p) * float(q) for p in hue.probs[a] for q in size.probs[b]]
        if not record.prior.used:
            assert joint.probs[i].tolist() == pytest.approx(expected, rel=1e-4)
        assert joint.true[i] == 2 * hue.true[a] + size.true[b]
    f1 = []
    for c in range(4):
        right = int(((joint.true == c) & (joint.predicted == c)).sum())
        f1.append(2 * right / max(1, int((joint.true == c).sum() + (joint.predicted == c).sum())))
    assert record.macro_f1.value == pytest.approx(np.mean(f1))
    assert list(record.counts) == [8, 8, 8, 8] and record.images == 32 and record.groups == 16
    assert "factor models" in whole.card.read_text() and "joint prior" in whole.card.read_text()


def by_hand(study: FactorStudy, images: Any) -> Any:
    """(n, joint classes) the product over factors of the mean over folds, by loops."""
    compute = Compute(Accelerator(cpu=True), Console(quiet=True), workers=0)
    means = [
        np.mean([load_run_predictor(r, compute, cache="off").probs(images).probs for r in study.runs(n)], axis=0)
        for n in ("hue", "size")
    ]
    return np.array([[p * q for p in means[0][i] for q in means[1][i]] for i in range(len(images))])


def test_a_study_predicts_the_product_of_its_factors(study: FactorStudy) -> None:
    found = predict([study.path], runs_folder=study.path.parent, quiet=True)
    np.testing.assert_allclose(found.probs, by_hand(study, found.manifest), rtol=1e-4)
    assert found.path == study.path / "predictions" / "test" / "predictions.csv"
    assert found.path.read_text().splitlines()[0] == "image,hue,size"
    source = find_source(study.path, study.path.parent)
    assert (source.kind, source.schema, source.tables) == ("factors", SCHEMA, (study.oof,))
    assert [m.name for m in source.members] == ["fold-0", "fold-1"] * 2


@pytest.mark.slow
def test_the_sets_of_a_factor_are_those_of_its_models(whole: FactorStudy) -> None:
    both, alone = (
        predict([path], runs_folder=whole.path.parent, unknown=0.2, sets=0.8, write=False, quiet=True)
        for path in (whole.path, whole.path / "hue")
    )
    assert both.sets is not None and alone.sets is not None and both.unknown is not None and alone.unknown is not None
    np.testing.assert_allclose(both.sets.p["hue"], alone.sets.p["hue"])
    assert list(both.unknown.p) == ["unknown", "unknown/hue", "unknown/size"] and list(alone.unknown.p) == ["unknown"]
    (judged,) = both.unknown.records
    assert {(one.images, one.groups) for one in judged.values()} == {(32, 16)}


def test_what_is_stored_of_the_prior_is_applied(study: FactorStudy) -> None:
    ratio = [1.5, 0.5, 0.25, 1.25]
    content = json.loads(study.record_file.read_text())
    content["prior"] |= {"ratio": ratio, "used": True}
    study.record_file.write_text(json.dumps(content))
    found = predict([study.path], runs_folder=study.path.parent, write=False, quiet=True)
    expected = corrected(by_hand(study, found.manifest), np.asarray(ratio))
    np.testing.assert_allclose(found.probs, expected, rtol=1e-4)


def test_a_study_with_a_changed_part_does_not_predict(study: FactorStudy) -> None:
    first, second = study.runs("size")
    shutil.copy(first.best, second.best)
    with pytest.raises(MismatchError, match=r"The models of 'size' in .* are not those"):
        predict([study.path], runs_folder=study.path.parent, write=False, quiet=True)
    second.best.unlink()
    with pytest.raises(DataError, match=r"best\.safetensors is missing"):
        predict([study.path], runs_folder=study.path.parent, write=False, quiet=True)


def test_what_joins_the_parts_is_made_anew_without_training(
    study: FactorStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = study.record_file.read_text(), read_predictions(study.oof).probs
    study.record_file.unlink()
    study.oof.unlink()
    with pytest.raises(DataError, match="is not finished"):
        find_source(study.path, study.path.parent)
    monkeypatch.setattr("ssl_mask.workflows.factors.train", lambda *_, **__: pytest.fail("trained again"))
    train_factors(RunConfig(runs=study.path.parent), resume=study.path.name, quiet=True)
    assert study.record_file.read_text() == before[0]
    np.testing.assert_array_equal(read_predictions(study.oof).probs, before[1])


def test_changed_labels_are_refused_before_another_factor_trains(
    study: FactorStudy, root: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(root, tmp_path / "data"))
    text = (other / "labels.csv").read_text()
    (other / "labels.csv").write_text(text.replace("images/0.png,blue", "images/0.png,red"))
    content = json.loads(study.study.record_file.read_text())
    content["config"]["data"]["root"] = str(other)
    study.study.record_file.write_text(json.dumps(content))
    study.record_file.unlink()
    with pytest.raises(DataError, match=r"The labels in .* are not those that .* began with"):
        train_factors(RunConfig(runs=study.path.parent), resume=study.path.name, quiet=True)


@pytest.mark.parametrize(
    ("sections", "folds", "message"),
    [
        ({"factors": {"hues": {}}}, 2, "factors.hues: there is no such factor.\nDid you mean 'hue'?"),
        ({"factor_prior": "oof"}, None, "Add --folds 5."),
        (
            {"loss": {"class_weights": {"red": 2.0}}},
            2,
            "The model of size has no such class or head. loss.class_weights:",
        ),
        ({"data": {"options": {"labels": ["hue"]}}, "factors": {"hue": {}}}, 2, "has one factor only: hue."),
    ],
)
def test_bad_input_leaves_nothing_behind(
    root: Path, tmp_path: Path, sections: dict[str, Any], folds: int | None, message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        train_factors(settings(root, tmp_path / "runs", **sections), folds=folds, quiet=True)
    assert message in str(refused.value)
    assert not (tmp_path / "runs").exists()


def test_folders_are_named_after_factors_where_that_is_a_name() -> None:
    assert folders_of(["hue", "Hair colour", "../x", "plots", "A", "a"]) == {
        "hue": "hue", "Hair colour": "factor-1", "../x": "factor-2", "plots": "factor-3", "A": "factor-4",
        "a": "factor-5",
    }  # fmt: skip


def test_factor_models_teach_the_students_of_their_fold(whole: FactorStudy, root: Path, tmp_path: Path) -> None:
    sections = {"factors": {}, "data": {"unlabeled": ["extra"], "fold": 1}}
    asked = {"rounds": 1, "rule": "percentile", "percentile_step": 1.0, "teachers": [str(whole.path)]}
    tree = settings(root, tmp_path / "runs").model_dump(mode="json")
    config = validate(merge({**tree, "factors": {}}, {**sections, "pseudo": asked}))
    run = pseudo(config, quiet=True)
    record = run.dir.round(1).selection_record()
    assert [t.run for t in record.teachers] == [str(whole.path / name / "fold-1") for name in ("hue", "size")]
    assert record.selected == 8
    compute = Compute(Accelerator(cpu=True), Console(quiet=True), workers=0)
    pool = read_predictions(run.dir.round(1).pool)
    rows = read_images(root / "extra", SCHEMA, Submission("image", ("hue", "size"), "names"))
    views = [load_run_predictor(whole.runs(n)[1], compute, cache="off").probs(rows, tta=True) for n in SCHEMA.sizes]
    by_path = {Path(r.path).name: i for i, r in enumerate(rows.rows)}
    for path, probs in zip(pool.path, pool.probs, strict=True):
        i = by_path[Path(path).name]
        expected = [p * q for p in views[0].probs[i] for q in views[1].probs[i]]
        assert probs.tolist() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [([], 0, '"study"'), (["--folds", "3"], 3, "has folds 2, not 3"), (["--seed", "3"], 3, "seed: 0 in the run, 3")],
)
def test_the_command_line_continues_a_study_as_it_began(
    study: FactorStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str],
    code: int, said: str,
) -> None:  # fmt: skip
    words = ["sslmask", "train", "--runs", str(study.path.parent), "--resume", study.path.name, "--json", *flags]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as left:
        main()
    answer = json.loads(capsys.readouterr().out)
    assert left.value.code in ({None, 0} if code == 0 else {code})
    assert said in json.dumps(answer)
    if code == 0:
        assert len(answer["runs"]) == 4 and answer["images"] == 32


@pytest.mark.slow
def test_stopped_and_continued_is_the_same_study(
    whole: FactorStudy, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    real = workflow.run_folds

    def stop_in_the_second(folds: Any, *args: Any, **options: Any) -> Any:
        trained.append(folds.path.name)
        if folds.path.name == "size" and len(trained) == 2:

            def stop(_: int) -> None:
                raise Interrupted("Stopped.", signal_number=15)

            return real(folds, *args, after=stop, **options)
        return real(folds, *args, **options)

    monkeypatch.setattr(workflow, "run_folds", stop_in_the_second)
    config = settings(root, tmp_path / "runs", factor_prior="oof")
    with pytest.raises(Interrupted) as stopped:
        train_factors(config, folds=2, quiet=True)
    assert stopped.value.hint.endswith("sslmask train --resume " + str(tmp_path / "runs" / "study-001"))
    again = train_factors(RunConfig(runs=tmp_path / "runs"), resume="study-001", quiet=True)
    np.testing.assert_array_equal(read_predictions(again.oof).probs, read_predictions(whole.oof).probs)
    refit_predicts(again)


def refit_predicts(study: FactorStudy) -> None:
    """A finished study gets a model per factor on all labels; they predict together."""
    runs, name = study.path.parent, f"{study.path.name}/refit"
    with pytest.raises(DataError, match="has no models on all labels yet"):
        find_source(name, runs)
    train_factors(RunConfig(runs=runs), resume=study.path.name, refit=True, quiet=True)
    assert study.settings().folds == FoldsSettings(folds=2, refit=True)
    found = predict([name], runs_folder=runs, quiet=True)
    assert found.path == study.path / "refit" / "predictions" / "test" / "predictions.csv"
    compute = Compute(Accelerator(cpu=True), Console(quiet=True), workers=0)
    models = [load_run_predictor(RunDir(study.folder(n) / "refit"), compute, cache="off") for n in SCHEMA.sizes]
    hue, size = (model.probs(found.manifest).probs for model in models)
    np.testing.assert_allclose(
        found.probs, [[p * q for p in a for q in b] for a, b in zip(hue, size, strict=True)], rtol=1e-4
    )


@pytest.mark.slow
def test_without_folds_every_factor_has_a_run(root: Path, tmp_path: Path) -> None:
    study = train_factors(settings(root, tmp_path / "runs"), quiet=True)
    assert study is not None and summary_of(study.study).score == "val"  # one split: not out of fold
    joint, hue, size = (read_predictions(p) for p in (study.oof, study.table("hue"), study.table("size")))
    assert list(joint.path) == list(hue.path) == list(size.path) and len(joint) == 16
    assert (study.path / "hue" / "run.json").is_file() and study.record().prior is None
    answers = tmp_path / "answers.csv"
    answers.write_text("image,hue,size\n" + "".join(f"images/{i}.png,red,small\n" for i in range(32, 36)))
    predict([study.path], runs_folder=tmp_path / "runs", quiet=True)
    assert evaluate(answers, run=study.path, runs_folder=tmp_path / "runs").images == 4
