"""A predictor that is shared out says what one process says, bit for bit, and goes on where it was stopped.

The cluster of these tests is this process; `workflows/test_ray.py` has a real one.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_rounds import series_config

from ssl_mask import cluster, devices
from ssl_mask.console import Console
from ssl_mask.data.layouts.images import read_images
from ssl_mask.errors import DataError, ImageError, MismatchError, ModelError
from ssl_mask.guard.provenance import SourceGallery
from ssl_mask.inference import shared_out as room
from ssl_mask.inference.load import load_predictor
from ssl_mask.inference.predictor import Compute, Predictor
from ssl_mask.inference.run_predictor import RunPredictor
from ssl_mask.inference.shards import weights_digest
from ssl_mask.inference.shared_out import cut, recipe_of, shared_out
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import run_source
from ssl_mask.workflows.predict_shard import predict_shard, predict_shards
from ssl_mask.workflows.train import train

BATCH = 4


class Stopped(BaseException): ...


class Cluster:
    """Does tasks here, from what would be sent; counts them, and is killed after `lives` of them."""

    def __init__(self) -> None:
        self.done, self.lives, self.cpus = 0, 10**9, 0

    def spread(
        self, work: Callable[[Any], Any], tasks: Iterable[Any], *, cpus: int = 1, gpu: bool = False
    ) -> Iterator[Any]:
        assert gpu
        self.cpus = cpus
        for task in tasks:
            if self.done == self.lives:
                raise Stopped
            self.done += 1
            sent, given = pickle.loads(pickle.dumps((work, task)))
            yield pickle.loads(pickle.dumps(sent(given)))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(cluster, "spread", made.spread)
    monkeypatch.setattr(cluster, "in_use", lambda: True)
    monkeypatch.setattr(room, "_READY", {})
    return made


@pytest.fixture(scope="module")
def run(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    made = train(series_config(drawn, tmp_path_factory.mktemp("shared"), name="run"), quiet=True)
    assert made is not None
    return made.dir


def loaded(run: RunDir, batch_size: int = BATCH) -> tuple[Predictor, partial[Predictor], Compute]:
    compute = Compute(devices.make_accelerator("auto"), Console(quiet=True), batch_size)
    load = partial(load_predictor, [run_source(run)], cache="off")
    return load(compute), load, compute


@pytest.mark.parametrize("batch", [1, 4, 64])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 16, 17, 19, 20, 257, 5000, 70_001])
def test_parts_are_whole_batches_in_order(count: int, batch: int) -> None:
    cuts = cut(count, batch)
    assert [n for first, last in cuts for n in range(first, last)] == list(range(count))
    assert all((last - first) % batch == 0 for first, last in cuts[:-1])
    assert min(last - first for first, last in cuts) >= min(count, batch)
    assert max(last - first for first, last in cuts) < max(batch * room.MOST_BATCHES, 2 * batch * len(cuts)) + batch
    assert len(cuts) <= max(2 * room.PARTS, count // (batch * room.MOST_BATCHES) + 1)


@pytest.mark.parametrize("tta", [False, True])
def test_the_bits_are_those_of_one_process(run: RunDir, drawn: Path, here: Cluster, tta: bool) -> None:
    predictor, load, compute = loaded(run)
    rows = read_images(drawn / "extra", predictor.schema, predictor.submission)
    rows = rows.with_rows(rows.rows[: 2 * 4 * BATCH + 1])  # the last batch of both has one image
    whole = predictor.probs(rows, tta=tta)
    shared = shared_out(predictor, load, compute).probs(rows, tta=tta)
    assert here.done == 2 and here.cpus == 1
    assert shared.probs.tobytes() == whole.probs.tobytes()
    assert shared.manifest == whole.manifest and all(r.digest for r in shared.manifest.rows)
    assert isinstance(predictor, RunPredictor)
    seen, vectors = shared_out(predictor, load, compute).embed(rows, mirrored=tta), predictor.embed(rows, mirrored=tta)
    assert seen.vectors.tobytes() == vectors.vectors.tobytes() and seen.manifest == vectors.manifest


def test_unreadable_images_of_any_part_are_those_of_one_process(run: RunDir, faces: Path, here: Cluster) -> None:
    predictor, load, compute = loaded(run)
    rows = read_images(faces / "extra", predictor.schema, predictor.submission)
    for number in (2, 3, 30, 31):
        rows.files[number].write_bytes(b"\xff\xd8 cut")
    whole = predictor.probs(rows, on_bad="skip")
    shared = shared_out(predictor, load, compute).probs(rows, on_bad="skip")
    assert here.done > 2
    assert shared.unreadable == whole.unreadable and set(whole.unreadable) == {2, 3, 30, 31}
    assert shared.probs.tobytes() == whole.probs.tobytes() and shared.manifest == whole.manifest
    assert shared_out(predictor, load, compute).embed(rows, on_bad="skip").unreadable == whole.unreadable
    with pytest.raises(ImageError, match=rows.rows[2].path):
        shared_out(predictor, load, compute).probs(rows)


def test_what_was_done_before_a_stop_is_not_done_again(run: RunDir, faces: Path, tmp_path: Path, here: Cluster) -> None:
    predictor, load, compute = loaded(run)
    rows = read_images(faces / "extra", predictor.schema, predictor.submission)
    rows.files[1].write_bytes(b"\xff\xd8 cut")
    whole, shared = predictor.probs(rows, on_bad="skip"), shared_out(predictor, load, compute, tmp_path)
    here.lives = 2
    with pytest.raises(Stopped):
        shared.probs(rows, on_bad="skip")
    kept = {p: p.read_bytes() for p in tmp_path.rglob("*.parquet")}
    assert len(kept) == 2
    here.lives = 10**9
    again = shared.probs(rows, on_bad="skip")
    assert here.done == len(cut(len(rows), BATCH))
    assert again.probs.tobytes() == whole.probs.tobytes() and again.unreadable == whole.unreadable
    assert again.manifest == whole.manifest
    for path in kept:  # a second worker with the same task: the same bytes
        path.unlink()
    shared.probs(rows, on_bad="skip")
    assert {p: p.read_bytes() for p in kept} == kept
    before = here.done
    shared.probs(rows, on_bad="skip", tta=True)  # another question: nothing of it is done
    assert here.done - before == len(cut(len(rows), BATCH))
    next(iter(kept)).write_bytes(b"PAR1")
    with pytest.raises(DataError, match="is damaged"):
        shared.probs(rows, on_bad="skip")


@pytest.mark.usefixtures("here")
def test_a_machine_with_other_weights_is_refused(run: RunDir, drawn: Path) -> None:
    predictor, load, compute = loaded(run)
    rows = read_images(drawn / "extra", predictor.schema, predictor.submission)
    recipe = recipe_of(predictor, load, compute)._replace(weights=b"0" * 64)
    shared = room.SharedOutPredictor(predictor, compute, recipe, None)
    with pytest.raises(MismatchError, match="has other weights in"):
        shared.probs(rows)


def test_a_recipe_has_a_key_of_its_own(run: RunDir) -> None:
    predictor, load, compute = loaded(run)
    key = recipe_of(predictor, load, compute).key
    assert key == recipe_of(*loaded(run)).key
    assert key != recipe_of(*loaded(run, 8)).key
    assert key != recipe_of(predictor, partial(load, max_pixels=10**6), compute).key


@pytest.mark.usefixtures("here")
def test_a_gallery_is_not_shared_out_and_without_a_cluster_nothing_is(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, load, compute = loaded(run)
    gallery = SourceGallery(RunDir(Path("gallery")), None, None)  # type: ignore[arg-type]
    monkeypatch.setattr(RunPredictor, "sources", (gallery,))
    with pytest.raises(ModelError, match="run is a gallery"):
        shared_out(predictor, load, compute)
    monkeypatch.setattr(cluster, "in_use", lambda: False)
    assert shared_out(predictor, load, compute) is predictor


def test_all_shards_are_those_that_are_made_one_by_one(
    run: RunDir, drawn: Path, tmp_path: Path, here: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"images": drawn / "extra", "batch_size": BATCH, "quiet": True}
    paths = predict_shards(range(3), 3, run.path, out=tmp_path / "all", **asked)
    assert here.done == 3 and [p.name for p in paths] == [f"shard-0000{i}-of-00003.parquet" for i in range(3)]
    predict_shards(range(3), 3, run.path, out=tmp_path / "all", **asked)
    assert here.done == 3  # they are there
    monkeypatch.setattr(cluster, "in_use", lambda: False)
    for number in range(3):
        predict_shard((number, 3), run.path, out=tmp_path / "each", **asked)
        name = paths[number].name
        assert (tmp_path / "each" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()
    assert here.done == 3 and np.isfinite(loaded(run)[0].prior).all() and weights_digest(loaded(run)[0])
