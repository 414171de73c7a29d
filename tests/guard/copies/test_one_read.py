"""How often a photo is opened: once to fill the image cache and for its fingerprint, and then never again."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from textures import texture, write

from ssl_mask.config import DataConfig
from ssl_mask.data import digests as digests_module
from ssl_mask.data.cache import ImageCache
from ssl_mask.data.image_set import open_images
from ssl_mask.data.images import decode, fit
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.schema import LabelSchema
from ssl_mask.guard import ahead
from ssl_mask.guard.copies.fingerprints import fingerprint

_opened: Counter[str] | None = None


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None:
        _opened[str(arguments[0])] += 1


sys.addaudithook(_hook)  # cannot be taken away again; it counts while a test asks for it


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Path -> how often this process opened it."""
    global _opened  # noqa: PLW0603
    monkeypatch.setattr(digests_module, "_RACY_NS", -1_000_000_000)  # files written a moment ago count as old
    _opened = Counter()
    yield _opened
    _opened = None


def manifest_of(files: Sequence[Path]) -> Manifest:
    rows = tuple(Row(path.name, "", "unlabeled", path.name, None) for path in files)
    return Manifest(files[0].parent, "images", LabelSchema(()), rows, False, Submission("", (), "names"))


def times(opened: Counter[str], files: Sequence[Path], work: Callable[[], object]) -> set[int]:
    """How often some work opens each file."""
    opened.clear()
    work()
    return {opened[str(path)] for path in files}


def test_a_photo_is_opened_once_for_its_pixels_and_once_for_its_fingerprint(
    tmp_path: Path, opened: Counter[str]
) -> None:
    files = write(tmp_path / "images", [texture(seed) for seed in range(40)])
    cache = tmp_path / "cache"

    config = DataConfig(cache=str(cache))

    def fill() -> list[str]:
        return [row.digest for row in open_images(manifest_of(files), config, 32).manifest.rows]

    count = partial(times, opened, files)
    assert count(fill) == {1}
    digests = fill()
    assert count(fill) == {0}
    assert count(lambda: fingerprint(files, cache=cache, digests=digests)) == {1}
    assert count(lambda: fingerprint(files, cache=cache, digests=digests)) == {0}
    assert count(lambda: fingerprint(files, cache=cache)) == {0}  # the memo knows the digests
    assert count(lambda: fingerprint(files, cache=tmp_path / "other")) == {1}  # hashed and decoded of one read


def test_a_new_photo_is_opened_once_for_both_and_both_keep_what_they_would_have_kept(
    tmp_path: Path, opened: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "cores", lambda: 1)  # no other process: its files would not be counted
    pictures = [texture(seed, 40 + seed, 60) for seed in range(70)]
    files = write(tmp_path / "images", pictures)
    (tmp_path / "images" / "bad.png").write_bytes(b"no picture")
    rows = manifest_of([*files, tmp_path / "images" / "bad.png"])
    alone, together = (DataConfig(cache=str(tmp_path / name)) for name in ("alone", "together"))
    told: list[tuple[int, int]] = []

    def first() -> None:
        ahead.read_ahead(together, rows, 32, lambda done, total: told.append((done, total)))

    assert times(opened, files, first) == {1}
    assert told[0] == (0, 71) and told[-1] == (71, 71)
    found = {}

    def both(config: DataConfig) -> None:
        images = open_images(rows, config, 32, tolerant=True)
        prints = fingerprint(files, cache=Path(config.cache))
        pixels = [images.images.read(i).tobytes() for i in range(len(images))]
        columns = [np.asarray(column[:]).tobytes() for column in (prints.pdq, prints.hog, prints.thumbs)]
        places = Path(config.cache).rglob("32-crop-v2/*.json")
        indices = {digest: size for path in places for digest, size in json.loads(path.read_text()).items()}
        found[config.cache] = images.manifest, images.left_out, pixels, prints.digests, prints.pixels, columns, indices

    assert times(opened, files, lambda: both(together)) == {0}
    both(alone)
    assert found[together.cache] == found[alone.cache]
    assert len(found[alone.cache][1]) == 1
    kept = sorted(path.name for path in tmp_path.rglob("*.npy"))
    first()
    assert sorted(path.name for path in tmp_path.rglob("*.npy")) == kept


def test_what_one_of_the_two_has_is_not_kept_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "cores", lambda: 1)
    files = write(tmp_path / "images", [texture(seed) for seed in range(3)])
    config = DataConfig(cache=str(tmp_path / "cache"))
    open_images(manifest_of(files[:2]), config, 32)
    ahead.read_ahead(config, manifest_of(files), 32, lambda done, total: None)  # noqa: ARG005
    cache = ImageCache(tmp_path / "cache", 32, "crop")
    indices = [json.loads(path.read_text()) for path in cache.folder.glob("*.json")]
    assert sorted(map(len, indices)) == [1, 2]  # the third alone is new
    assert not cache.missing(fingerprint(files, cache=tmp_path / "cache").digests)


@pytest.mark.parametrize("stopped_at", [1, 40])
def test_an_interrupt_keeps_what_was_read(tmp_path: Path, stopped_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "cores", lambda: 1)
    files = write(tmp_path / "images", [texture(seed, 30, 30) for seed in range(70)])
    config = DataConfig(cache=str(tmp_path / "cache"))

    def stop(done: int, total: int) -> None:  # noqa: ARG001
        if done == stopped_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ahead.read_ahead(config, manifest_of(files), 32, stop)
    cache = ImageCache(tmp_path / "cache", 32, "crop")
    digests = fingerprint(files, cache=None).digests
    assert len(cache.missing(digests)) == 70 - stopped_at
    ahead.read_ahead(config, manifest_of(files), 32, lambda done, total: None)  # noqa: ARG005
    images = open_images(manifest_of(files), config, 32)
    assert [row.digest for row in images.manifest.rows] == list(digests)
    for position, path in enumerate(files):
        assert np.array_equal(images.images.read(position), fit(decode(path), 32))


def test_without_a_cache_nothing_is_read(tmp_path: Path, opened: Counter[str]) -> None:
    files = write(tmp_path / "images", [texture(0)])
    nothing = partial(ahead.read_ahead, DataConfig(cache="off"), manifest_of(files), 32, lambda done, total: None)  # noqa: ARG005
    assert times(opened, files, nothing) == {0}
