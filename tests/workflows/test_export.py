"""A run as model.onnx: the same probabilities as with torch, from the same files; and what it has seen."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import commands
from pydantic import ValidationError
from sklearn.metrics import f1_score
from tiny_runs import TINY

from ssl_mask.config import merge, resolve
from ssl_mask.data.images import decode
from ssl_mask.data.predictions import read_predictions
from ssl_mask.errors import DataError, ImageError, InputError, MismatchError, ModelError
from ssl_mask.guard.findings import content_digest
from ssl_mask.inference import engine_speeds, onnx_file, onnx_requirements, parity
from ssl_mask.inference.onnx_session import OnnxSession
from ssl_mask.runs.checkpoint import load_checkpoint
from ssl_mask.runs.exported import PHOTOS, ExportRecord, read_exported
from ssl_mask.workflows import export as export_module
from ssl_mask.workflows.bench import bench
from ssl_mask.workflows.evaluate import evaluate
from ssl_mask.workflows.export import Export, export
from ssl_mask.workflows.factors import train_factors
from ssl_mask.workflows.folds import train_folds
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.predict_exported import predict_exported
from ssl_mask.workflows.train import train


@pytest.fixture(scope="module")
def exported(drawn: Path, tmp_path_factory: pytest.TempPathFactory, no_plots_in_module: None) -> Export:  # noqa: ARG001
    """A run that the guard has checked, as ONNX files with 32 and with 8 bits inside of it. Read only."""
    runs = tmp_path_factory.mktemp("exported")
    own = {"runs": str(runs), "name": "one", "data": {"root": str(drawn)},
           "guard": {"mode": "on", "cards": str(runs / "cards")}}  # fmt: skip
    run = train(resolve([merge(TINY, own)], has_gpu=lambda: False), quiet=True)
    assert run is not None
    return export(run.path, int8=True, quiet=True)


@pytest.fixture
def model(exported: Export, tmp_path: Path) -> Path:
    """A copy, with what lies beside it, that a test may change."""
    return Path(shutil.copytree(exported.path.parent, tmp_path / "export")) / "model.onnx"


def run_of(exported: Export) -> Path:
    return exported.path.parents[1]


def test_every_validation_photo_was_compared_and_the_record_says_what_it_is(exported: Export) -> None:
    record, table = exported.record, read_predictions(run_of(exported) / "validation.parquet")
    assert record.parity.images == len(table) and record.parity.held_out
    assert 0 < record.parity.largest < 1e-5 and record.parity.other_class == 0
    best = json.loads((run_of(exported) / "run.json").read_text())["best"]
    assert record.parity.macro_f1_run == record.parity.macro_f1_exported == pytest.approx(best["macro_f1"])
    assert read_exported(exported.path) == record
    assert json.loads(exported.path.with_suffix(".json").read_text()) == record.to_json()
    assert record.source.runs[0].run == str(run_of(exported)) and record.leakage == "photos-clean"


def test_the_graph_takes_photos_of_any_size_and_gives_every_factor(exported: Export, drawn: Path) -> None:
    """As somebody uses it who has the file and onnxruntime, and nothing of sslmask but the decoding."""
    import onnxruntime

    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    schema = exported.record.label_schema
    assert [o.name for o in session.get_outputs()] == ["probabilities", *(f"probabilities/{n}" for n in schema.sizes)]
    assert json.loads(session.get_modelmeta().custom_metadata_map["sslmask"])["schema"] == schema.to_json()
    expected = predict([run_of(exported)], write=False, guard="off", quiet=True)
    sizes = set()
    for row, probs in zip(expected.manifest.rows[:6], expected.probs, strict=False):
        photo = decode(drawn / row.path)
        sizes.add(photo.shape)
        joint, *factors = session.run(None, {PHOTOS: photo[None]})
        np.testing.assert_allclose(joint[0], probs, atol=1e-5)
        for found, shares in zip(factors, schema.marginals(probs[None]).values(), strict=True):
            np.testing.assert_allclose(found, shares, atol=1e-5)
    strip = np.random.default_rng(0).integers(0, 256, (2, 7, 90, 3), np.uint8)
    assert session.run(None, {PHOTOS: strip})[0].sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_it_predicts_and_is_judged_like_its_run(exported: Export, drawn: Path, tmp_path: Path) -> None:
    by_run = predict([run_of(exported)], out=tmp_path / "run", quiet=True)
    done = predict_exported(exported.path, out=tmp_path / "onnx", quiet=True)
    np.testing.assert_allclose(done.probs, by_run.probs, atol=1e-5)
    assert done.path is not None and by_run.path is not None and by_run.leakage is not None
    assert done.path.read_bytes() == by_run.path.read_bytes()
    assert (done.leakage.status, done.leakage.why) == (by_run.leakage.status, by_run.leakage.why)
    answers, schema = drawn / "eval_answers.csv", exported.record.label_schema
    ours, theirs = (evaluate(answers, d.path, schema, write=False) for d in (done, by_run))
    assert ours.macro_f1 == theirs.macro_f1 and ours.leakage.status == theirs.leakage.status == "photos-clean"


def test_it_knows_the_photos_that_its_run_has_seen(exported: Export, drawn: Path, tmp_path: Path) -> None:
    labeled = drawn / "train/images/*/normal.*"
    done = predict_exported(exported.path, images=labeled, out=tmp_path / "seen", quiet=True)
    by_run = predict([run_of(exported)], images=labeled, write=False, quiet=True)
    assert by_run.leakage is not None and done.leakage.overlap == by_run.leakage.overlap
    assert done.leakage.status == "leaked-declared" and len(done.leakage.overlap) == len(done.manifest)


def test_alone_nobody_knows_what_it_has_seen(model: Path, drawn: Path) -> None:
    for file in model.parent.glob("model-seen-*.npz"):
        file.unlink()
    done = predict_exported(model, quiet=True)
    assert done.leakage.status == "not-checked" and "model-seen-*.npz" in done.leakage.why[0]
    assert evaluate(drawn / "eval_answers.csv", done.path, schema=schema_of(model), write=False).leakage.status == (
        "not-checked"
    )


def schema_of(model: Path) -> Any:
    return read_exported(model).label_schema


def test_a_file_that_changed_or_is_gone_after_it_predicted_is_noticed(model: Path, drawn: Path) -> None:
    answers, schema = drawn / "eval_answers.csv", schema_of(model)
    done = predict_exported(model, quiet=True)
    assert done.path == model.parent / "predictions" / "model-test" / "predictions.csv"
    moved = model.parent.rename(model.parent.with_name("moved"))
    csv = moved / done.path.relative_to(model.parent)
    assert evaluate(answers, csv, schema, write=False).leakage.status == "photos-clean"  # found beside them
    (moved / "model.onnx").write_bytes((moved / "model.onnx").read_bytes() + b"\0")
    with pytest.raises(MismatchError, match=r"model\.onnx has changed since it predicted"):
        evaluate(answers, csv, schema, write=False)
    (moved / "model.onnx").unlink()
    gone = evaluate(answers, csv, schema, write=False).leakage
    assert gone.status == "not-checked" and "model.onnx, which predicted, is not there any more" in gone.why[0]


def test_predict_needs_only_what_is_written_beside_the_network(exported: Export, drawn: Path, tmp_path: Path) -> None:
    """Of the packages of `pip install sslmask`, those that model-requirements.txt leaves out cannot be imported."""
    listed = (exported.path.parent / "model-requirements.txt").read_text().splitlines()
    assert listed[1] == f"# {onnx_requirements.INSTALL}"
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["export"]]
    assert set(listed[2:]) <= set(declared)
    left_out = {distribution(line) for line in declared} - {distribution(line) for line in listed[2:]}
    assert {"torch", "timm", "accelerate", "albumentations", "scikit-learn", "scipy", "onnx"} <= left_out
    modules = [m for m, names in packages_distributions().items() if left_out & {distribution(n) for n in names}]
    code = (
        "import sys\n"
        f"left_out = set({modules!r})\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in left_out:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"sys.argv = ['sslmask', 'predict', '--run', {str(exported.path)!r}, '--out', {str(tmp_path / 'o')!r}]\n"
        "from ssl_mask.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert not left_out & sys.modules.keys()\n"
        f"sys.argv = ['sslmask', 'train', '--data', {str(drawn)!r}, '--runs', {str(tmp_path / 'runs')!r}]\n"
        "main()\n"
    )
    words = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (tmp_path / "o" / "predictions.csv").is_file(), done.stderr
    assert done.returncode == 3 and "Error: The package torch is not installed." in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "runs").exists()


def distribution(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


@pytest.mark.parametrize("wrong", [(), (1, 18), (2, 17), (2, 18)])
def test_a_graph_that_gives_no_probabilities_of_these_classes_is_refused(
    model: Path, drawn: Path, wrong: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What broadcasts would be written as probabilities; of the last one it is a NaN."""
    monkeypatch.setattr(OnnxSession, "run", lambda *_: np.full(wrong, np.nan if wrong == (2, 18) else 0.5, np.float32))
    photos = sorted((drawn / "eval/images").iterdir())[:2]
    (model.parent / "two").mkdir(exist_ok=True)
    for photo in photos:
        shutil.copy(photo, model.parent / "two")
    with pytest.raises(ModelError, match="does not give 18 finite probabilities for each photo"):
        predict_exported(model, images=model.parent / "two", write=False, quiet=True)


def test_a_record_with_other_classes_than_its_prior_is_refused(exported: Export) -> None:
    content = exported.record.to_json()
    content["schema"][0]["classes"] = content["schema"][0]["classes"][1:]
    with pytest.raises(ValidationError, match="the prior does not fit the classes"):
        ExportRecord.model_validate(content)


def test_unreadable_images_are_skipped_or_stop(model: Path, drawn: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    good = sorted((drawn / "eval/images").iterdir())[0]
    shutil.copy(good, photos / "b.jpg")
    (photos / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"a\.jpg") as error:
        predict_exported(model, images=photos, quiet=True)
    assert "--on-bad skip" in error.value.hint
    skipped = predict_exported(model, images=photos, on_bad="skip", write=False, quiet=True)
    assert np.isnan(skipped.probs[0]).all() and skipped.probs[1].sum() == pytest.approx(1, abs=1e-5)
    stand_in = predict_exported(model, images=photos, on_bad="fallback", write=False, quiet=True)
    np.testing.assert_allclose(stand_in.probs[0], read_exported(model).prior, atol=1e-6)


def test_above_the_limit_nothing_is_written(exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "LIMIT", 1e-12)
    monkeypatch.setattr(export_module, "network_graph", lambda *_: None)
    monkeypatch.setattr(export_module, "with_resize", lambda *_: exported.path.read_bytes())  # made once is enough
    with pytest.raises(MismatchError, match=r"differs by up to .*1e-12 is the limit\. Nothing was written"):
        export(run_of(exported), out=tmp_path / "m.onnx", quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_says_something_else_is_refused(
    exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mirrored photos in place of the photos: alike enough for the eye, not for the limit."""

    class Mirrored(OnnxSession):
        def run(self, inputs: Any) -> Any:
            return super().run({name: photos[:, :, ::-1] for name, photos in inputs.items()})

    monkeypatch.setattr(export_module, "network_graph", lambda *_: None)
    monkeypatch.setattr(export_module, "with_resize", lambda *_: exported.path.read_bytes())
    monkeypatch.setattr(export_module, "OnnxSession", Mirrored)
    with pytest.raises(MismatchError, match="Nothing was written"):
        export(run_of(exported), out=tmp_path / "m.onnx", quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_done_is_one_clear_error(
    exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="'tflite' is not a format"):
        export(run_of(exported), to="tflite")
    with pytest.raises(InputError, match="is exported already"):
        export(exported.path)
    with pytest.raises(InputError, match="without the mirrored view"):
        predict_exported(exported.path, tta=True, quiet=True)
    with pytest.raises(DataError, match=r"model\.onnx is an exported network"):
        predict([exported.path], quiet=True)
    text = tmp_path / "text.onnx"
    text.write_text("no network")
    with pytest.raises(ModelError, match=r"text\.onnx was not written by sslmask export"):
        predict_exported(text, quiet=True)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match="sslmask export needs onnxscript") as error:
        onnx_file.refuse_missing_packages()
    assert error.value.hint == 'Install it: pip install "sslmask[export]"'
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="An exported network needs onnxruntime") as error:
        predict_exported(exported.path, quiet=True)
    assert error.value.hint == 'Install it: pip install "sslmask[export]"'


def test_eight_bits_are_in_the_backbone_and_their_price_is_the_difference(exported: Export) -> None:
    import onnx

    assert exported.int8 is not None and exported.int8_record is not None
    record = exported.int8_record.int8
    assert record is not None and read_exported(exported.int8) == exported.int8_record
    nodes = onnx.load(exported.int8).graph.node
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    made_by = {name: node.op_type for node in nodes for name in node.output}
    assert convolutions and all(made_by[node.input[1]] == "DequantizeLinear" for node in convolutions)
    products = [node for node in nodes if node.op_type in {"Gemm", "MatMul"}]  # of the neck and the heads
    assert products and all(made_by.get(node.input[1]) != "DequantizeLinear" for node in products)
    table = read_predictions(run_of(exported) / "validation.parquet")
    train = {r["sha256"] for r in rows_of(exported, "train")}
    assert record.content_hash == content_digest(train) and record.calibrated_on == len(train)
    photos = [exported.record.data.root / path for path in table.path.tolist()]
    found: dict[Path, Any] = {}
    for path in (exported.path, exported.int8):
        session = OnnxSession(path, threads=1)
        found[path] = np.concatenate([session.run({PHOTOS: decode(photo)[None]}) for photo in photos])
    score = {p: f1_score(table.true, found[p].argmax(axis=1), labels=range(18), average="macro", zero_division=0)
             for p in found}  # fmt: skip
    assert record.macro_f1 == pytest.approx(score[exported.int8])
    assert record.price.value == pytest.approx(score[exported.int8] - score[exported.path])
    assert record.largest == pytest.approx(np.abs(found[exported.int8] - table.probs).max(), abs=1e-4)
    assert 1e-4 < record.largest < 0.3
    assert predict_exported(exported.int8, write=False, quiet=True).leakage.status == "photos-clean"


def rows_of(exported: Export, split: str) -> list[dict[str, str]]:
    with (run_of(exported) / "manifest.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def test_bench_measures_every_engine_and_adds_up(exported: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_speeds, "cores", lambda: 2)
    alone = bench(exported.path, photos=840, seconds=0.01, quiet=True)
    assert [(s.engine, s.device) for s in alone.speeds] == [
        ("onnxruntime", "CPU, 1 thread"), ("onnxruntime", "CPU, 2 threads")
    ]  # fmt: skip
    assert alone.bytes_on_disk == exported.path.stat().st_size and alone.read_ms is not None
    fastest = max(s.images_per_second for s in alone.speeds)
    assert alone.seconds == pytest.approx(840 * (alone.read_ms / 1000 + 1 / fastest))
    monkeypatch.setattr("ssl_mask.inference.onnx_network.network_graph", lambda *_: None)
    monkeypatch.setattr("ssl_mask.inference.onnx_file.with_resize", lambda *_: exported.path.read_bytes())
    both = bench(run_of(exported), seconds=0.01, quiet=True)
    assert [s.engine for s in both.speeds if "CPU" in s.device] == [
        e for e in ("torch", "onnxruntime", "onnxruntime int8") for _ in range(2)
    ]
    assert both.photos == 42 and both.skipped == ()  # the test images of the data set
    assert both.parameters == alone.parameters and both.macs == alone.macs > 100_000
    weights = load_checkpoint(run_of(exported) / "checkpoints/best.safetensors").weights
    buffers = ("running_mean", "running_var", "num_batches_tracked", "mean", "std")
    assert both.parameters == sum(w.numel() for name, w in weights.items() if not name.endswith(buffers))


def test_bench_and_predict_from_the_command_line(
    exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call, model = commands(monkeypatch, capsys), str(exported.path)
    code, said, _ = call("bench", model, "--photos", "840", "--seconds", "0.01")
    assert code == 0 and "840 photos in" in said and "onnxruntime" in said
    code, said, _ = call("predict", "--run", model, "--out", str(tmp_path / "o"), "--json")
    assert code == 0 and json.loads(said)["leakage"] == "photos-clean"
    for words, problem in (
        (("predict", "--run", model, "--run", model), "predicts alone"),
        (("predict", "--run", model, "--neighbours", "auto"), "cannot be used with --neighbours"),
        (("predict", "--run", model, "--shard", "0/2"), "cannot be used with --shard"),
        (("predict", "--run", str(tmp_path / "none.onnx")), "There is no"),
        (("export", model), "is exported already"),
        (("export", str(run_of(exported)), "--out", str(tmp_path / "m.txt")), "does not end in .onnx"),
        (("bench", str(tmp_path / "none.onnx")), "There is no"),
        (("embed", "--run", model), "is an exported network"),
    ):
        code, _, error = call(*words, "--quiet") if words[0] != "embed" else call(*words)
        assert code == 3 and problem in " ".join(error.split()), words


@pytest.mark.slow
@pytest.mark.parametrize("tta", [False, True])
def test_a_study_of_folds_is_one_network(drawn: Path, tmp_path: Path, tta: bool) -> None:
    own = {
        "runs": str(tmp_path / "runs"),
        "name": "study",
        "data": {"root": str(drawn)},
        "guard": {"mode": "on", "cards": str(tmp_path / "cards")},
    }
    train_folds(resolve([merge(TINY, own)], has_gpu=lambda: False), folds=2, quiet=True)
    done = export(tmp_path / "runs/study", tta=tta, quiet=True)
    assert not done.record.parity.held_out and done.record.parity.images == 84
    by_study = predict([tmp_path / "runs/study"], tta=tta, quiet=True)
    ours = predict_exported(done.path, tta=tta, quiet=True)
    np.testing.assert_allclose(ours.probs, by_study.probs, atol=1e-5)
    assert by_study.leakage is not None and ours.leakage.status == by_study.leakage.status
    plain = predict([tmp_path / "runs/study"], tta=not tta, write=False, guard="off", quiet=True)
    assert np.abs(plain.probs - ours.probs).max() > 1e-4  # they can differ


@pytest.mark.slow
def test_factor_models_of_two_sizes_are_one_network(drawn: Path, tmp_path: Path) -> None:
    own = {"runs": str(tmp_path / "runs"), "name": "study", "data": {"root": str(drawn)},
           "factors": {"age": {"model": {"image_size": 48}, "data": {"resize": "pad"}}}}  # fmt: skip
    train_factors(resolve([merge(TINY, own)], has_gpu=lambda: False), quiet=True)
    done = export(tmp_path / "runs/study", quiet=True)
    assert len(done.record.squares) == 2
    by_study = predict([tmp_path / "runs/study"], write=False, guard="off", quiet=True)
    ours = predict_exported(done.path, write=False, guard="off", quiet=True)
    np.testing.assert_allclose(ours.probs, by_study.probs, atol=1e-5)
    assert ours.leakage.status == "not-checked"
