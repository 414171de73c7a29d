"""Predictions: order, averages and stand-ins against hand calculations, and the provenance beside them."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.images import decode, fit
from ssl_mask.devices import make_accelerator
from ssl_mask.errors import DataError, ImageError, InputError, ModelError
from ssl_mask.inference.predictor import Compute
from ssl_mask.inference.run_predictor import load_run_predictor
from ssl_mask.models.joint import joint_log_probs
from ssl_mask.runs.checkpoint import load_checkpoint
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.view import Run
from ssl_mask.workflows.evaluate import evaluate
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.train import train

Tiny = Callable[..., RunConfig]


@pytest.fixture
def run(tiny: Tiny) -> Run:
    trained = train(tiny(name="one"), quiet=True)
    assert trained is not None
    return trained


def slow_probs(run: Run, path: Path, *, mirrored: bool = False) -> np.ndarray:
    """One image at a time, straight from the file."""
    model = load_run_predictor(run.dir, Compute(make_accelerator("fp32"), Console(quiet=True))).model
    image = fit(decode(path), 32)
    image = image[:, ::-1].copy() if mirrored else image
    with torch.inference_mode():
        logits = model(torch.from_numpy(image)[None])
    temperatures = load_checkpoint(run.dir.best).metadata.temperatures
    return joint_log_probs({k: z / temperatures[k] for k, z in logits.items()}).exp()[0].numpy()


def test_rows_are_in_the_order_of_info_csv(run: Run, drawn: Path) -> None:
    done = predict(["one"], runs_folder=run.path.parent, quiet=True)
    with done.path.open() as lines, (drawn / "eval/info.csv").open() as asked:
        written, wanted = list(csv.DictReader(lines)), list(csv.DictReader(asked))
    assert [r["ImageID"] for r in written] == [r["ImageID"] for r in wanted]
    assert list(written[0]) == ["ImageID", "ans"]
    assert [int(r["ans"]) for r in written] == done.probs.argmax(axis=1).tolist()
    assert done.path.parent == run.path / "predictions" / "test"


def test_probabilities_equal_a_slow_reference(run: Run, drawn: Path) -> None:
    done = predict(["one"], runs_folder=run.path.parent, quiet=True)
    for i in (0, 7, 20):
        path = drawn / done.manifest.rows[i].path
        np.testing.assert_allclose(done.probs[i], slow_probs(run, path), atol=2e-5)
    table = pd.read_parquet(done.path.with_name("probabilities.parquet"))
    np.testing.assert_array_equal(table.filter(like="p/").to_numpy(), done.probs)
    np.testing.assert_allclose(done.probs.sum(axis=1), 1, atol=1e-5)


def test_tta_is_the_mean_of_both_views(run: Run, drawn: Path) -> None:
    done = predict(["one"], runs_folder=run.path.parent, tta=True, quiet=True)
    path = drawn / done.manifest.rows[3].path
    mean = (slow_probs(run, path) + slow_probs(run, path, mirrored=True)) / 2
    np.testing.assert_allclose(done.probs[3], mean, atol=2e-5)


def test_an_ensemble_is_the_mean_of_its_members(run: Run, tiny: Tiny) -> None:
    train(tiny(name="two", seed=1, model={"image_size": 48}), quiet=True)
    folder = run.path.parent
    single = [predict([n], runs_folder=folder, quiet=True).probs for n in ("one", "two")]
    both = predict(["one", "two"], runs_folder=folder, quiet=True)
    np.testing.assert_allclose(both.probs, (single[0] + single[1]) / 2, atol=1e-6)
    assert both.path.parent == folder / "ensembles" / "one+two" / "test"


def test_provenance_is_bound_to_the_file(run: Run) -> None:
    done = predict(["one"], runs_folder=run.path.parent, quiet=True)
    record = json.loads(done.path.with_name("predictions.provenance.json").read_text())
    assert record["predictions"]["sha256"] == hashlib.sha256(done.path.read_bytes()).hexdigest()
    (source,) = record["sources"]
    assert (source["source"], source["kind"], source["weight"]) == (str(run.path), "run", 1.0)
    assert record["weights"] is None
    assert source["runs"][0]["trained_on"] == run.status.data.content_hash
    assert record["leakage"]["verdict"] == "not-checked"
    assert record["tta"] == ["plain"]


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_unreadable_images_stop_or_are_counted_and_never_lost(
    run: Run, drawn: Path, tmp_path: Path, cache: str
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(drawn / "eval/images", photos)
    names = sorted(p.name for p in photos.iterdir())
    (photos / names[2]).write_bytes(b"no picture")
    (photos / names[5]).write_bytes(b"")
    folder = run.path.parent
    with pytest.raises(ImageError, match=names[2]) as stopped:
        predict(["one"], runs_folder=folder, images=photos, cache=cache, quiet=True)
    assert "--on-bad" in stopped.value.hint
    skipped = predict(["one"], runs_folder=folder, images=photos, on_bad="skip", cache=cache, quiet=True)
    with skipped.path.open() as lines:
        rows = list(csv.reader(lines))[1:]
    assert [r[0] for r in rows] == names
    assert [i for i, r in enumerate(rows) if r[1] == ""] == [2, 5]
    record = json.loads(skipped.path.with_name("predictions.provenance.json").read_text())["unreadable"]
    assert record["count"] == 2
    assert set(record["files"]) == {names[2], names[5]}
    filled = predict(["one"], runs_folder=folder, images=photos, on_bad="fallback", cache=cache, quiet=True)
    prior = np.asarray(load_checkpoint(run.dir.best).metadata.prior)
    assert filled.probs[2].argmax() == prior.argmax()
    good = [i for i in range(len(names)) if i not in (2, 5)]
    np.testing.assert_array_equal(filled.probs[good], skipped.probs[good])


def test_nothing_is_written_where_nothing_is_asked_for(
    run: Run, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder without a data set, of photos alone."""
    photos = Path(shutil.copytree(drawn / "extra", tmp_path / "photos"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    done = predict([run.path], images=photos, write=False, quiet=True)
    assert done.path is None
    assert sorted(tmp_path.rglob("*")) == before
    written = predict([run.path], images=photos, out=tmp_path / "out", quiet=True)
    np.testing.assert_array_equal(done.probs, written.probs)
    assert done.leakage == written.leakage
    with pytest.raises(InputError, match="write=False"):
        predict([run.path], images=photos, write=False, out=tmp_path / "out", quiet=True)


def test_the_data_set_is_found_from_another_folder(
    run: Run, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was trained with `--data faces`; whoever predicts from another folder means the same data set."""
    moved = RunDir(Path(shutil.copytree(run.path, tmp_path / "moved")))
    config = moved.config_file.read_text()
    moved.config_file.write_text(config.replace(f"root: {drawn}", "root: faces"))
    assert moved.config().data.root == Path("faces")
    (tmp_path / "elsewhere/faces").mkdir(parents=True)  # another data set of that name
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert moved.trained_config().data.root == drawn
    there = predict([moved.path], write=False, quiet=True)
    np.testing.assert_array_equal(there.probs, predict([run.path], write=False, quiet=True).probs)
    data = moved.data().model_copy(update={"root": str(tmp_path / "gone")})
    moved.update(data=data.to_json())
    assert moved.trained_config().data.root == Path("faces")  # the project was moved as a whole


def test_names_are_for_people_and_the_file_is_scored_all_the_same(run: Run, drawn: Path, tmp_path: Path) -> None:
    plain, named = (predict([run.path], names=n, out=tmp_path / str(n), quiet=True) for n in (False, True))
    tables = []
    for done in (plain, named):
        assert done.path is not None
        record = json.loads(done.path.with_name("predictions.provenance.json").read_text())
        assert record["predictions"]["sha256"] == hashlib.sha256(done.path.read_bytes()).hexdigest()
        with done.path.open() as lines:
            tables.append(list(csv.DictReader(lines)))
    assert [{k: r[k] for k in ("ImageID", "ans")} for r in tables[1]] == tables[0]
    schema = plain.manifest.schema
    for row in tables[1]:
        assert list(row) == ["ImageID", "ans", "mask", "gender", "age"]
        assert "/".join(row[f] for f in schema.sizes) == schema.joint_classes[int(row["ans"])]
    scores = [evaluate(drawn / "eval_answers.csv", d.path, schema) for d in (plain, named)]
    assert scores[0].macro_f1 == scores[1].macro_f1


def test_a_csv_of_images_keeps_its_order(run: Run, drawn: Path) -> None:
    names = [p.name for p in sorted((drawn / "extra").iterdir())][:5][::-1]
    table = drawn.parent / "some.csv"
    table.write_text("file\n" + "".join(f"demo/extra/{n}\n" for n in names))
    done = predict(["one"], runs_folder=run.path.parent, images=table, quiet=True)
    assert [Path(r.id).name for r in done.manifest.rows] == names


def test_a_table_that_somebody_else_made_is_not_replaced(run: Run, drawn: Path, tmp_path: Path) -> None:
    photo = sorted((drawn / "extra").iterdir())[0]
    (tmp_path / "predictions.csv").write_text("mine")
    with pytest.raises(DataError, match=r"predictions\.csv is there and was not made by sslmask predict"):
        predict([run.path], images=photo, out=str(tmp_path), guard="off", quiet=True)
    assert (tmp_path / "predictions.csv").read_text() == "mine"
    first, again = (predict([run.path], images=photo, out=tmp_path / "new", guard="off", quiet=True) for _ in range(2))
    assert first.path == again.path


def test_one_image_and_a_glob(run: Run, drawn: Path) -> None:
    folder, photos = run.path.parent, sorted((drawn / "extra").iterdir())
    one = predict(["one"], runs_folder=str(folder), images=str(photos[0]), write=False, guard="off", quiet=True)
    some = predict(["one"], runs_folder=folder, images=drawn / "extra/*.jpg", write=False, guard="off", quiet=True)
    assert [r.id for r in one.manifest.rows] == [photos[0].name]
    assert [r.id for r in some.manifest.rows] == [p.name for p in photos if p.suffix == ".jpg"]
    np.testing.assert_allclose(one.probs[0], some.probs[0], atol=1e-6)


def test_an_image_above_the_limit_of_the_run_is_predicted_where_more_is_allowed(tiny: Tiny, tmp_path: Path) -> None:
    trained = train(tiny(name="one", data={"root": str(tiny().data.root), "max_pixels": 160 * 160}), quiet=True)
    assert trained is not None
    Image.effect_noise((200, 150), 60).convert("RGB").save(tmp_path / "large.png")
    images = str(tmp_path / "large.png")
    with pytest.raises(ImageError, match="200x150 pixels, more than the limit of 25600") as refused:
        predict([trained.path], images=images, write=False, quiet=True)
    assert "--max-pixels 30000" in refused.value.hint and "--on-bad skip" in refused.value.hint
    done = predict([trained.path], images=images, write=False, max_pixels=200 * 150, quiet=True)
    assert np.isfinite(done.probs).all() and done.leakage is not None
    assert not any("could not be read" in why for why in done.leakage.why)


def test_runs_of_other_classes_do_not_mix(run: Run, drawn: Path, tiny: Tiny, tmp_path: Path) -> None:
    root = tmp_path / "folders"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for i, photo in enumerate(sorted((drawn / "extra").iterdir())[:8]):
            shutil.copy(photo, root / name / f"{name}{i}.jpg")
    train(tiny(name="other", data={"root": str(root)}), quiet=True)
    with pytest.raises(ModelError, match="other classes"):
        predict(["one", "other"], runs_folder=run.path.parent, quiet=True)
    with pytest.raises(DataError, match="no test images"):
        predict(["other"], runs_folder=run.path.parent, quiet=True)


def test_a_damaged_checkpoint_is_refused(run: Run) -> None:
    content = run.dir.best.read_bytes()
    run.dir.best.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="damaged"):
        predict(["one"], runs_folder=run.path.parent, quiet=True)
