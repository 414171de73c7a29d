"""What a run says of one photo, against predict, a slow search, and what is known of the photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_runs import TINY

from ssl_mask.config import merge, resolve
from ssl_mask.data.embeddings import read_embeddings
from ssl_mask.errors import ImageError
from ssl_mask.inference import photo as photos
from ssl_mask.inference.embeddings import one_process
from ssl_mask.inference.labeled import images_of_model
from ssl_mask.inference.photo import NEIGHBOURS, PhotoReader, open_reader, usual_photos
from ssl_mask.runs.sources import find_source
from ssl_mask.workflows import demo_app
from ssl_mask.workflows.demo_app import demo_source, run_facts, show
from ssl_mask.workflows.embed import embed
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.train import train


@pytest.fixture(scope="module")
def runs(drawn: Path, tmp_path_factory: pytest.TempPathFactory, no_plots_in_module: None) -> Path:  # noqa: ARG001
    folder = tmp_path_factory.mktemp("photo") / "runs"
    own = {
        "runs": str(folder), "name": "one", "data": {"root": str(drawn)}, "train": {"steps": 2, "eval_every": 1},
        "guard": {"mode": "on", "cards": str(folder.parent / "cards")},
    }  # fmt: skip
    assert train(resolve([merge(TINY, own)], has_gpu=lambda: False), quiet=True) is not None
    return folder


@pytest.fixture(scope="module")
def reader(runs: Path) -> PhotoReader:
    return open_reader(find_source("one", runs), one_process(quiet=True))


def test_probabilities_and_p_are_those_of_predict(
    runs: Path, reader: PhotoReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reader.usual.p(reader.train.rows) is None and "6." in reader.usual.why  # too few persons for a tenth
    monkeypatch.setattr(photos, "RATE", 0.2)
    sure = photos.PhotoReader(
        reader.source, reader.predictor, reader.train, usual_photos(reader.source, reader.compute), reader.compute
    )
    done = predict(["one"], runs_folder=runs, unknown=0.2, write=False, quiet=True)
    assert done.unknown is not None
    joint, schema = reader.schema.joint_classes, reader.schema
    for i in (0, 7, 11):
        answer = sure.read(Path(done.manifest.root) / done.manifest.rows[i].path)
        assert [answer.joint[name] for name in joint] == pytest.approx(done.probs[i].tolist(), abs=1e-6)
        assert list(answer.joint.values()) == sorted(answer.joint.values(), reverse=True)
        for factor, column in zip(schema.factors, range(len(schema.factors)), strict=True):
            by_hand = dict.fromkeys(factor.classes, 0.0)
            for name, share in zip(joint, done.probs[i].tolist(), strict=True):
                by_hand[name.split("/")[column]] += share
            assert answer.factors[factor.name] == pytest.approx(by_hand, abs=1e-6)
        assert answer.p == pytest.approx(done.unknown.p["unknown"][i])
        assert answer.seen.status == "photos-clean" and not answer.seen.overlap, "none of the test images was seen"


def test_nearest_training_photos_are_those_of_a_slow_search(
    runs: Path, drawn: Path, reader: PhotoReader, tmp_path: Path
) -> None:
    known = images_of_model(find_source("one", runs), "train")
    every = read_embeddings(
        embed("one", runs_folder=runs, images=drawn / "train" / "images", out=tmp_path / "known", quiet=True)
    )
    vectors = dict(zip(every.path.tolist(), every.vectors, strict=True))
    eval_photo = next(iter(sorted((drawn / "eval" / "images").iterdir())))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.jpg").write_bytes(eval_photo.read_bytes())
    asked = read_embeddings(
        embed("one", runs_folder=runs, images=tmp_path / "one", out=tmp_path / "asked", quiet=True)
    ).vectors[0]
    best: dict[str, tuple[float, str]] = {}
    for row in known.rows:
        cosine = float(np.dot(vectors[row.path], asked))
        if row.group not in best or cosine > best[row.group][0]:
            best[row.group] = (cosine, row.path)
    expected = sorted(((c, path, group) for group, (c, path) in best.items()), reverse=True)[:NEIGHBOURS]
    near = reader.read(eval_photo).near
    assert len(near) == min(NEIGHBOURS, len(best)) > 3
    assert [(n.path, n.group) for n in near] == [(path, group) for _, path, group in expected]
    assert [n.cosine for n in near] == pytest.approx([c for c, _, _ in expected], abs=1e-5)
    labels = {row.path: row.labels for row in known.rows}
    for n in near:
        own = labels[n.path]
        assert own is not None
        assert n.labels == tuple(f.classes[k] for f, k in zip(known.schema.factors, own, strict=True))


def test_a_photo_that_was_trained_on_is_told_also_as_an_altered_copy(reader: PhotoReader, tmp_path: Path) -> None:
    trained = Path(reader.train.rows.root) / reader.train.rows.rows[0].path
    answer = reader.read(trained)
    assert answer.near[0].cosine == pytest.approx(1, abs=1e-4) and Path(answer.near[0].path).name == trained.name
    assert list(answer.seen.overlap) == [trained.name]
    with Image.open(trained) as photo:
        photo.resize((photo.width * 3 // 4, photo.height * 3 // 4)).save(tmp_path / "smaller.jpg", quality=70)
    assert list(reader.read(tmp_path / "smaller.jpg").seen.overlap) == ["smaller.jpg"]


def test_a_file_that_is_no_photo_is_one_sentence_and_the_next_photo_is_answered(
    reader: PhotoReader, drawn: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "<b>x.csv"
    bad.write_text("image,label\n")
    with pytest.raises(ImageError):
        reader.read(bad)
    said = show(reader, bad)
    assert "&lt;b&gt;x.csv" in said.words and "<b>x" not in said.words and str(tmp_path) not in said.words
    assert (said.picture, said.factors, said.near) == (None, [], [])
    assert show(reader, None) == (None, "", [], [])
    good = show(reader, next(iter(sorted((drawn / "eval" / "images").iterdir()))))
    assert good.picture is not None and len(good.factors) == 3 and "sure." in good.words
    assert len(good.near) > 3 and all(thumb.shape == (200, 200, 3) and words for thumb, words in good.near)
    facts = run_facts(reader)
    assert "<b>one</b> was trained on 42 photos of 6 persons (groups)." in facts and reader.mark.status in facts


def test_the_demo_is_run_only_where_its_folder_holds_no_finished_run(
    reader: PhotoReader, faces: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Made:
        path = reader.source.path

    monkeypatch.setattr(demo_app, "demo", lambda into, **own: asked.append((into, own)) or (None, Made, None))
    assert demo_source(faces, persons=12, seed=0).path == reader.source.path
    assert asked == [(faces, {"persons": 12, "seed": 0})]
    (faces / "runs").symlink_to(runs)
    assert demo_source(faces, persons=12, seed=0).name == "one" and len(asked) == 1
