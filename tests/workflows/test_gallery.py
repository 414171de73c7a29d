"""A gallery as a user meets it: built, a class put in and taken out, predicting, scored, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from tiny_runs import TINY

from ssl_mask.cli.app import main
from ssl_mask.config import merge, resolve
from ssl_mask.console import Console
from ssl_mask.data.embeddings import read_embeddings, write_embeddings
from ssl_mask.data.predictions import read_validation
from ssl_mask.errors import DataError, ImageError, InputError, MismatchError, OverlapError
from ssl_mask.evaluation.metrics import Interval
from ssl_mask.evaluation.neighbours import Choice, Neighbourhood, Voting
from ssl_mask.inference import neighbour_predictor
from ssl_mask.inference.ensemble import oof_weights
from ssl_mask.runs.gallery import GalleryDir
from ssl_mask.runs.predicted import read_predicted
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import find_source
from ssl_mask.workflows import gallery as galleries
from ssl_mask.workflows.embed import embed
from ssl_mask.workflows.evaluate import _predict_again, evaluate, votings_of
from ssl_mask.workflows.gallery_search import search_gallery
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.report import report
from ssl_mask.workflows.train import train

NEW = "cloth/male/<30"


@pytest.fixture(scope="module")
def runs(drawn: Path, tmp_path_factory: pytest.TempPathFactory, no_plots_in_module: None) -> Path:  # noqa: ARG001
    """A folder with a run and its gallery `g`. Tests that change a gallery copy it."""
    folder = tmp_path_factory.mktemp("gallery") / "runs"
    made("one", folder, drawn)
    galleries.build_gallery("one", runs_folder=folder, name="g", k=3, quiet=True)
    return folder


def made(name: str, folder: Path, data: Path, **sections: Any) -> None:
    own = {"runs": str(folder), "name": name, "data": {"root": str(data)}, "train": {"steps": 2}, **sections}
    assert train(resolve([merge(TINY, own)], has_gpu=lambda: False), quiet=True) is not None


@pytest.fixture
def copied(runs: Path) -> Iterator[GalleryDir]:
    """A copy of the gallery that a test may change."""
    path = Path(shutil.copytree(runs / "g", runs / "changed"))
    yield GalleryDir(path)
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def checked(runs: Path) -> GalleryDir:
    """A gallery of a few images that were compared with the test images. Tests add to it."""
    few = read_embeddings(embed("one", runs_folder=runs, quiet=True))
    path = runs.parent / "few.parquet"
    write_embeddings(path, few.at(range(0, 84, 12)))
    return GalleryDir(
        galleries.build_gallery("one", runs_folder=runs, embeddings=path, guard="on", name="c", quiet=True).path
    )


@pytest.fixture
def new_class(tmp_path: Path) -> Path:
    """A folder of four images that are like no other."""
    folder, rng = tmp_path / "cloth", np.random.default_rng(0)
    folder.mkdir()
    for i in range(4):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 96)).save(folder / f"{i}.png")
    return folder


def content(gallery: GalleryDir) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(gallery.path.iterdir()) if p.is_file() and p.name != ".lock"}


def test_embeddings_say_what_they_are_of_and_are_computed_once(
    runs: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssl_mask.models.classifier import Classifier

    path = embed("one", runs_folder=runs, quiet=True)
    monkeypatch.setattr(Classifier, "embed", None)  # whoever embeds again fails
    again = embed("one", runs_folder=runs, out=tmp_path / "again.parquet", quiet=True)
    assert path == runs / "one/embeddings/labeled.parquet" and path.read_bytes() == again.read_bytes()
    table, validated = read_embeddings(path), read_validation(RunDir(runs / "one").validation)
    assert len(table) == 84 and table.vectors.shape == (84, 16)
    np.testing.assert_allclose(np.linalg.norm(table.vectors, axis=1), 1, atol=1e-6)
    at = {digest: i for i, digest in enumerate(table.sha256.tolist())}
    for digest, true, group in zip(validated.sha256, validated.true, validated.group, strict=True):
        row = at[digest]
        assert "/".join(column[row] for column in table.labels.values()) == validated.classes[true]
        assert table.group[row] == group and Path(table.path[row]).is_relative_to(drawn)
    assert table.header["members"][0]["run"] == str(runs / "one")


def test_a_gallery_predicts_and_is_scored_like_a_run(runs: Path, drawn: Path) -> None:
    """Votes against a slow loop over the embeddings of the test images."""
    done = predict(["g"], runs_folder=runs, quiet=True)
    assert done.path == runs / "g/predictions/test/predictions.csv"
    scores = evaluate(drawn / "eval_answers.csv", run="g", runs_folder=runs)
    assert scores.leakage.status == "not-checked" and scores.images == len(done.manifest)
    again = _predict_again([find_source("g", runs)], [1.0], done.manifest, False, None, None)
    assert again.tobytes() == done.probs.tobytes()
    table = read_embeddings(embed("one", runs_folder=runs, quiet=True))
    asked = read_embeddings(embed("one", runs_folder=runs, images=drawn / "eval/images", quiet=True))
    place = {digest: i for i, digest in enumerate(asked.sha256.tolist())}
    schema = done.manifest.schema
    for i in range(0, len(done.manifest), 20):
        cosine = table.vectors @ asked.vectors[place[done.manifest.rows[i].digest]]
        nearest = {}
        for row in np.argsort(-cosine, kind="stable").tolist():
            nearest.setdefault(table.group[row], row)
        rows = list(nearest.values())[:3]
        share = np.exp(cosine[rows] / 0.1) / np.exp(cosine[rows] / 0.1).sum()
        for f, (name, size) in enumerate(schema.sizes.items()):
            names = list(schema.factors[f].classes)
            expected = [
                (3 * sum(s for s, r in zip(share, rows, strict=True) if table.labels[name][r] == c) + 1 / size) / 4
                for c in names
            ]
            np.testing.assert_allclose(schema.marginals(done.probs[i : i + 1])[name][0], expected, atol=1e-4)


def test_its_honest_images_are_those_that_the_run_was_not_trained_on(runs: Path) -> None:
    gallery = GalleryDir(runs / "g")
    path = gallery.validation(gallery.record())
    assert path is not None and find_source("g", runs).tables == (path,)
    own, validated = read_validation(path), read_validation(RunDir(runs / "one").validation)
    folds = dict(zip(validated.sha256.tolist(), validated.fold.tolist(), strict=True))
    assert dict(zip(own.sha256.tolist(), own.fold.tolist(), strict=True)) == folds
    both = oof_weights([find_source(name, runs) for name in ("one", "g")], Console(quiet=True))
    assert both.images == len(validated)


def test_a_class_is_put_in_and_taken_out_bit_by_bit(copied: GalleryDir, new_class: Path, runs: Path) -> None:
    before = content(copied)
    added = galleries.add_to_gallery(NEW, new_class, gallery=copied.path, runs_folder=runs, quiet=True)
    assert added.images == 4 and added.record.images == 88
    assert added.record.label_schema.factors[0].classes[-1] == "cloth"
    assert added.record.submission.answers == "names"
    assert added.scores is not None and list(added.scores.recall) == [NEW]
    assert added.scores.old_images == 42 and 0 <= added.scores.recall[NEW] <= 1
    assert len(content(copied)) == len(before) and content(copied) != before
    done = predict([copied.path], runs_folder=runs, images=new_class, guard="off", write=False, quiet=True)
    assert done.manifest.schema.class_names(done.manifest.schema.part(done.probs.argmax(axis=1)))[0][0] == "cloth"
    removed = galleries.remove_from_gallery(NEW, gallery=copied.path, runs_folder=runs, quiet=True)
    assert removed.images == 4 and content(copied) == before


def test_a_submission_follows_the_classes(copied: GalleryDir, new_class: Path, runs: Path) -> None:
    galleries.add_to_gallery(NEW, new_class, gallery=copied.path, runs_folder=runs, quiet=True)
    done = predict([copied.path], runs_folder=runs, quiet=True)
    assert done.path is not None
    header, first = done.path.read_text().splitlines()[:2]
    assert header.split(",")[1:] == list(done.manifest.schema.sizes) and not first.split(",")[1].isdigit()
    claim = json.loads(done.path.with_name("predictions.provenance.json").read_text())
    assert claim["sources"][0]["kind"] == "gallery" and len(claim["sources"][0]["gallery_sha256"]) == 64
    galleries.remove_from_gallery(NEW, gallery=copied.path, runs_folder=runs, quiet=True)
    answers = done.path.with_name("own.csv")
    shutil.copy(done.path, answers)
    with pytest.raises(MismatchError, match="has other images than when it predicted"):
        evaluate(answers, done.path, done.manifest.schema, run=copied.path, runs_folder=runs)


def seven_photos(folder: Path) -> Path:
    """A folder of two persons: seven photos of p01 that are like each other, and one of p02."""
    rng = np.random.default_rng(1)
    folder.mkdir()
    first, second = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    for i in range(7):
        Image.fromarray(first + np.uint8(i)).resize((96, 96)).save(folder / f"p01-{i}.png")
    Image.fromarray(second).resize((96, 96)).save(folder / "p02-0.png")
    return folder


def test_seven_photos_of_a_person_are_one_vote(
    copied: GalleryDir, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each way to name persons; without one each photo votes, and the message says so. Removed, no byte is left."""
    before, folder = content(copied), seven_photos(tmp_path / "seven")
    table = folder / "persons.csv"
    table.write_text("image,person\n" + "".join(f"{p.name},{p.name[:3]}\n" for p in sorted(folder.glob("*.png"))))

    def votes(images: Path, **how: Any) -> tuple[galleries.Gallery, list[str], str]:
        """What was added; of the new photos those that vote on the first one; what was said."""
        added = galleries.add_to_gallery(NEW, images, gallery=copied.path, runs_folder=runs, **how)
        said = " ".join(capsys.readouterr().out.split())
        near = search_gallery(folder / "p01-0.png", gallery=copied.path, runs_folder=runs, k=20, quiet=True)
        (hits,) = near.values()
        assert galleries.remove_from_gallery(NEW, gallery=copied.path, runs_folder=runs, quiet=True).images == 8
        assert content(copied) == before
        return added, sorted(Path(hit.path).name for hit in hits if "cloth" in hit.label), said

    for images, how in ((folder, {"group_regex": r"(p\d+)-\d"}), (table, {})):
        added, voters, said = votes(images, **how)
        assert (added.images, added.groups) == (8, 2) and voters == ["p01-0.png", "p02-0.png"]
        assert "Added 8 images of 2 groups" in said and "no known group" not in said
    added, voters, said = votes(folder)
    assert (added.images, added.groups) == (8, 8) and len(voters) == 8
    assert "8 images have no known group (person): each is a group of its own, with a vote of its own." in said
    assert "--group-regex" in said
    with pytest.raises(InputError, match="is not a regular expression"):
        votes(folder, group_regex="(")


def test_images_are_taken_out_by_their_folder_too(copied: GalleryDir, new_class: Path, runs: Path) -> None:
    galleries.add_to_gallery(NEW, new_class, gallery=copied.path, runs_folder=runs, quiet=True)
    between = content(copied)
    more = new_class.with_name("more")
    more.mkdir()
    shutil.copy(sorted((new_class.parent / "cloth").iterdir())[0], more)
    with pytest.raises(DataError, match="are in the gallery already"):
        galleries.add_to_gallery(NEW, more, gallery=copied.path, runs_folder=runs, quiet=True)
    with pytest.raises(DataError, match=f"is in the gallery already, as {NEW}"):
        galleries.add_to_gallery("worn/male/<30", more, gallery=copied.path, runs_folder=runs, quiet=True)
    assert content(copied) == between
    removed = galleries.remove_from_gallery(str(new_class), gallery=copied.path, runs_folder=runs, quiet=True)
    assert removed.images == 4 and content(copied) == content(GalleryDir(runs / "g"))


def test_a_test_image_in_a_gallery_is_a_leak(
    checked: GalleryDir, copied: GalleryDir, drawn: Path, runs: Path, tmp_path: Path
) -> None:
    """Refused where it is put in, whole or altered; without the guard nobody knows what was put in."""
    folder = tmp_path / "leak"
    folder.mkdir()
    first = sorted((drawn / "eval/images").iterdir())[0]
    with Image.open(first) as picture:
        ImageOps.mirror(picture).save(folder / "copy.png")
    with pytest.raises(OverlapError, match="overlaps test") as refused:
        galleries.add_to_gallery("worn/male/<30", folder, gallery="c", runs_folder=runs, quiet=True, guard="on")
    assert refused.value.hint is not None and "--allow" not in refused.value.hint  # no flag of these verbs
    added = galleries.add_to_gallery("worn/male/<30", folder, gallery=copied.path, runs_folder=runs, quiet=True)
    assert added.record.seen is None and added.record.leakage == "not-checked"
    assert checked.record().images == 7


def test_what_was_put_in_travels_like_a_seen_set(checked: GalleryDir, new_class: Path, runs: Path) -> None:
    added = galleries.add_to_gallery(NEW, new_class, gallery=checked.path, runs_folder=runs, guard="on", quiet=True)
    assert added.record.seen is not None and added.record.seen["train"].images == 11
    done = predict([checked.path], runs_folder=runs, images=new_class, write=False, quiet=True)
    assert done.leakage is not None and done.leakage.status == "leaked-declared" and len(done.leakage.overlap) == 4
    galleries.remove_from_gallery(NEW, gallery=checked.path, runs_folder=runs, quiet=True)
    done = predict([checked.path], runs_folder=runs, images=new_class, write=False, quiet=True)
    assert done.leakage is not None and done.leakage.status == "not-checked" and not done.leakage.overlap


def test_the_nearest_of_an_image_in_it_is_itself(runs: Path, drawn: Path) -> None:
    image = next(iter(sorted((drawn / "train/images").rglob("*.jpg"))))
    (hits,) = search_gallery(image, gallery="g", runs_folder=runs, k=4, quiet=True).values()
    assert len(hits) == 4 and hits[0].path == str(image) and hits[0].cosine == pytest.approx(1, abs=1e-5)
    assert len({hit.group for hit in hits}) == 4
    assert [h.cosine for h in hits] == sorted((h.cosine for h in hits), reverse=True)


def test_its_page_and_its_commands(
    runs: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = sorted((drawn / "train/images").rglob("*.jpg"))[0]
    sheet = tmp_path / "near.png"

    def said(*words: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["sslmask", *words, "--runs", str(runs)])
        with pytest.raises(SystemExit) as left:
            main()
        assert int(left.value.code or 0) == code
        return capsys.readouterr().out

    shown = said("gallery", "show", "-g", "g")
    assert "Gallery" in shown and "on 42 images that the network was not trained on" in " ".join(shown.split())
    near = json.loads(said("gallery", "search", str(image), "-g", "g", "--count", "3", "--out", str(sheet), "--json"))
    assert near[str(image)][0]["path"] == str(image) and len(near[str(image)]) == 3
    with Image.open(sheet) as picture:
        assert picture.width > picture.height > 150
    assert f"1.000  {near[str(image)][0]['label']}" in said("gallery", "search", str(image), "-g", "g")
    assert json.loads(said("embed", "--run", "one", "--json"))["path"].endswith("one/embeddings/labeled.parquet")
    assert "not-checked" in said("report", "g", "--text")
    assert json.loads(said("gallery", "add", "cloth", str(image), "-g", "g", "--json", code=3))["hint"]
    words = ("gallery", "add", NEW, str(image), "-g", "g", "--group-regex", "(", "--json")
    assert "is not a regular expression" in json.loads(said(*words, code=3))["error"]
    listed = {gallery["name"]: gallery for gallery in json.loads(said("runs", "--json"))["galleries"]}
    assert (listed["g"]["source"], listed["g"]["images"], listed["g"]["classes"]) == (str(runs / "one"), 84, 18)
    assert json.loads(said("predict", "--shard", "0/2", "--neighbours", "auto", "--json", code=3))["error"]
    assert report("g", runs_folder=runs, out=tmp_path / "report.html").stat().st_size > 10_000
    pytest.importorskip("captum")
    with pytest.raises(InputError, match="is a gallery: neighbours predict, not a network"):
        report("g", runs_folder=runs, explain=True)


def chosen(monkeypatch: pytest.MonkeyPatch, **gains: float) -> None:
    """Let the choice of each factor be worth so much."""
    choices = {f: Choice(Voting(5, 0.1, 0.5), 0.5, Interval(g, g - 0.01, g + 0.01), 42, 6) for f, g in gains.items()}
    monkeypatch.setattr(neighbour_predictor, "choose", lambda *_: choices)


def test_neighbours_that_do_not_help_change_no_bit(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen(monkeypatch, mask=0.0, gender=-0.1, age=0.01)
    alone = predict(["one"], runs_folder=runs, tta=True, quiet=True)
    asked = predict(["one"], runs_folder=runs, neighbours="auto", tta=True, quiet=True)
    assert asked.path == runs / "one/predictions/test-tta-neighbours/predictions.csv" and alone.path is not None
    assert asked.path.read_bytes() == alone.path.read_bytes()
    assert asked.probs.tobytes() == alone.probs.tobytes()
    choices = json.loads(asked.path.with_name("predictions.provenance.json").read_text())["sources"][0]["neighbours"]
    assert list(choices) == ["mask", "gender", "age"] and not any(choice["kept"] for choice in choices.values())


def test_a_factor_that_neighbours_help_is_changed_and_no_other(
    runs: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vote of the training images alone (not of validation images) beside the network, against a slow loop."""
    chosen(monkeypatch, mask=0.0, gender=0.1, age=0.0)
    alone, asked = (predict(["one"], runs_folder=runs, neighbours=n, quiet=True) for n in ("off", "auto"))
    assert asked.path is not None
    schema = alone.manifest.schema
    before, after = schema.marginals(alone.probs), schema.marginals(asked.probs)
    for name in ("mask", "age"):
        np.testing.assert_allclose(before[name], after[name], atol=1e-6)
    table = read_embeddings(embed("one", runs_folder=runs, quiet=True))
    validated = set(read_validation(RunDir(runs / "one").validation).sha256.tolist())
    train_rows = np.asarray([digest not in validated for digest in table.sha256.tolist()])
    assert 0 < train_rows.sum() < 84
    table = table.at(train_rows)
    asked_of = read_embeddings(embed("one", runs_folder=runs, images=drawn / "eval/images", quiet=True))
    place = {digest: i for i, digest in enumerate(asked_of.sha256.tolist())}
    for i in range(0, len(asked.manifest), 9):
        cosine = table.vectors @ asked_of.vectors[place[asked.manifest.rows[i].digest]]
        near: dict[str, int] = {}
        for row in np.argsort(-cosine, kind="stable").tolist():
            near.setdefault(str(table.group[row]), row)
        rows = list(near.values())[:5]
        raised = np.exp(cosine[rows] / 0.1)
        votes = [raised[table.labels["gender"][rows] == c].sum() / raised.sum() for c in schema.factors[1].classes]
        p_knn = (len(rows) * np.asarray(votes) + 0.5) / (len(rows) + 1)
        mean = np.sqrt(before["gender"][i] * p_knn)
        np.testing.assert_allclose(after["gender"][i], mean / mean.sum(), atol=1e-4)
    claim = read_predicted(asked.path)
    assert claim is not None
    again = _predict_again([find_source("one", runs)], [1.0], asked.manifest, False, None, votings_of(claim))
    np.testing.assert_allclose(again, asked.probs, atol=1e-6)


def test_what_is_chosen_on_is_unseen_and_a_gallery_chooses_nothing(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Neighbourhood] = []
    real = neighbour_predictor.choose
    monkeypatch.setattr(neighbour_predictor, "choose", lambda near, schema: (asked.append(near), real(near, schema))[1])
    predict(["one"], runs_folder=runs, neighbours="auto", write=False)
    assert "Neighbours of one, mask: " in capsys.readouterr().out
    (near,) = asked
    table = read_validation(RunDir(runs / "one").validation)
    assert near.group.tolist() == table.group.tolist() and near.probs.tobytes() == table.probs.tobytes()
    assert np.isfinite(near.cosine).sum(axis=1).max() <= 12 - len(set(table.group))  # the persons of training
    with pytest.raises(InputError, match="its neighbours vote already"):
        predict(["g"], runs_folder=runs, neighbours="auto", write=False, quiet=True)


def test_bad_input_is_one_clear_error(copied: GalleryDir, new_class: Path, runs: Path, tmp_path: Path) -> None:
    def refused(error: type[Exception], match: str, call: Callable[..., Any], *args: Any, **options: Any) -> None:
        with pytest.raises(error, match=match):
            call(*args, runs_folder=runs, quiet=True, **options)

    good = embed("one", runs_folder=runs, quiet=True)
    table, bad = read_embeddings(good), tmp_path / "bad.parquet"
    write_embeddings(bad, table.at([]))
    refused(DataError, "holds no images", galleries.build_gallery, "one", embeddings=bad)
    vectors = table.vectors.copy()
    vectors[3, 2] = np.nan
    for wrong, match in ((vectors, "not finite"), (2 * table.vectors, "has the length 2")):
        write_embeddings(bad, type(table)(**{**vars(table), "vectors": wrong}))
        refused(DataError, match, galleries.build_gallery, "one", embeddings=bad)
    write_embeddings(bad, type(table)(**{**vars(table), "header": {**table.header, "data": "elsewhere"}}))
    refused(MismatchError, "has changed since it was written", galleries.build_gallery, "one", embeddings=bad)
    unlabeled = embed("one", runs_folder=runs, images=new_class, out=bad, quiet=True)
    refused(DataError, "4 images have no mask", galleries.build_gallery, "one", embeddings=unlabeled)
    refused(InputError, "is a gallery", galleries.build_gallery, "g")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(galleries, "load_predictor", None)  # nothing is embedded before a taken name is refused
        refused(InputError, "changed exists", galleries.build_gallery, "one", name="changed")
    refused(
        DataError,
        "does not name a class of each factor",
        galleries.add_to_gallery,
        "cloth",
        new_class,
        gallery="changed",
    )
    refused(DataError, "No gallery 'nowhere'", galleries.add_to_gallery, NEW, new_class, gallery="nowhere")
    refused(DataError, "Nothing was added as 'wool'", galleries.remove_from_gallery, "wool", gallery="changed")
    (new_class / "bad.jpg").write_bytes(b"no picture")
    refused(ImageError, "bad.jpg", galleries.add_to_gallery, NEW, new_class, gallery="changed")
    rows = copied.rows(copied.record())
    rows.write_bytes(rows.read_bytes() + b" ")
    refused(MismatchError, "rows-.* has changed", search_gallery, new_class, gallery="changed")
    rows.unlink()
    refused(DataError, "There is no .*rows-", galleries.add_to_gallery, NEW, new_class, gallery="changed")
    copied.best.write_text(copied.best.read_text().replace('"k": 3', '"k": 4'))
    refused(MismatchError, "gallery.json has changed", predict, ["changed"], write=False)


def test_embeddings_of_another_run_are_refused(runs: Path, drawn: Path, tmp_path: Path) -> None:
    made("two", tmp_path, drawn, seed=5)
    good = embed("one", runs_folder=runs, quiet=True)
    with pytest.raises(MismatchError, match="was not embedded by"):
        galleries.build_gallery("two", runs_folder=tmp_path, embeddings=good, quiet=True)
    gallery = galleries.build_gallery("two", runs_folder=tmp_path, quiet=True)
    shutil.copy(runs / "one/checkpoints/best.safetensors", tmp_path / "two/checkpoints/best.safetensors")
    with pytest.raises(MismatchError, match="was embedded by other weights"):
        predict([gallery.path], runs_folder=tmp_path, write=False, quiet=True)
    assert find_source(gallery.path, tmp_path).members == (RunDir(tmp_path / "two"),)
