"""How often a photo is opened: once to fill the image cache, once for its fingerprint, and then never again."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textures import texture, write

from ssl_mask.config import DataConfig
from ssl_mask.data import digests as digests_module
from ssl_mask.data.image_set import open_images
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.schema import LabelSchema
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


def test_a_photo_is_opened_once_for_its_pixels_and_once_for_its_fingerprint(
    tmp_path: Path, opened: Counter[str]
) -> None:
    files = write(tmp_path / "images", [texture(seed) for seed in range(40)])
    cache = tmp_path / "cache"

    rows = tuple(Row(path.name, "", "unlabeled", path.name, None) for path in files)
    manifest = Manifest(files[0].parent, "images", LabelSchema(()), rows, False, Submission("", (), "names"))
    config = DataConfig(cache=str(cache))

    def fill() -> list[str]:
        return [row.digest for row in open_images(manifest, config, 32).manifest.rows]

    def times(work: Callable[[], object]) -> set[int]:
        opened.clear()
        work()
        return {opened[str(path)] for path in files}

    assert times(fill) == {1}
    digests = fill()
    assert times(fill) == {0}
    assert times(lambda: fingerprint(files, cache=cache, digests=digests)) == {1}
    assert times(lambda: fingerprint(files, cache=cache, digests=digests)) == {0}
    assert times(lambda: fingerprint(files, cache=cache)) == {0}  # the memo knows the digests
    assert times(lambda: fingerprint(files, cache=tmp_path / "other")) == {1}  # hashed and decoded of one read
