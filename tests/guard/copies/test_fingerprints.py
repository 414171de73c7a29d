"""Fingerprints of files: order, duplicates, bad files, and a cache that is never wrong."""

from __future__ import annotations

import hashlib
import os
from multiprocessing import active_children
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from textures import texture, write

from ssl_mask.errors import StorageError
from ssl_mask.guard.copies import fingerprints as module
from ssl_mask.guard.copies.describe import describe
from ssl_mask.guard.copies.fingerprints import Fingerprints, fingerprint
from ssl_mask.guard.copies.hog import hogs


def same(first: Fingerprints, second: Fingerprints) -> bool:
    arrays = all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("pdq", "hog", "thumbs"))
    facts = ("digests", "pixels", "unreadable")
    return arrays and all(getattr(first, name) == getattr(second, name) for name in facts)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write(tmp_path / "images", [texture(seed, 60 + seed, 90) for seed in range(70)])


def test_each_row_is_of_its_file(files: list[Path]) -> None:
    prints = fingerprint(files, cache=None)
    assert len(prints) == 70 and prints.unreadable == {} and not prints.compressed
    for row in (0, 33, 69):
        assert prints.digests[row] == hashlib.sha256(files[row].read_bytes()).hexdigest()
        pixels = np.asarray(Image.open(files[row]).convert("RGB"))
        height, width = pixels.shape[:2]
        assert prints.pixels[row] == hashlib.sha256(f"RGB {height} {width} ".encode() + pixels.tobytes()).hexdigest()
        grey = np.asarray(Image.open(files[row]).convert("L").resize((128, 128)))
        assert np.abs(prints.thumbs[row].astype(int) - grey).mean() < 3
        np.testing.assert_allclose(prints.hog[row], hogs(prints.thumbs[row : row + 1])[0], atol=1e-3)
    listing = "\n".join(sorted(prints.digests)).encode()
    assert prints.content_digest == hashlib.sha256(listing).hexdigest()


@pytest.mark.parametrize("processes", [1, 2])
def test_neither_order_nor_processes_nor_the_cache_change_anything(
    files: list[Path], tmp_path: Path, processes: int
) -> None:
    plain = fingerprint(files, cache=None)
    backwards = fingerprint(files[::-1], cache=tmp_path / "cache", processes=processes)
    assert same(backwards.at(range(69, -1, -1)), plain)
    assert same(fingerprint(files, cache=tmp_path / "cache", processes=processes), plain)
    assert backwards.content_digest == plain.content_digest


def test_bad_files_are_listed_with_a_reason_and_hold_nothing(files: list[Path], tmp_path: Path) -> None:
    files[1].write_bytes(files[1].read_bytes()[:200])
    files[2].write_bytes(b"")
    files[3].unlink()
    os.mkfifo(files[3])
    files[4].write_text("no image")
    files[5].unlink()
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        prints = fingerprint([*files, tmp_path], cache=cache, max_pixels=100 * 90)
        assert set(prints.unreadable) == {1, 2, 3, 4, 5, *range(41, 70), 70}
        assert "0 bytes" in prints.unreadable[2] and prints.unreadable[3] == "not a regular file"
        assert "101x90" not in prints.unreadable[69] and "90x129 pixels" in prints.unreadable[69]
        assert str(files[4]) not in prints.unreadable[4]
        for row in prints.unreadable:
            assert prints.digests[row] == prints.pixels[row] == ""
            assert not prints.thumbs[row].any() and not prints.pdq[row].any()
        assert all(prints.digests[row] for row in range(71) if row not in prints.unreadable)
        assert prints.at([5, 6, 1]).unreadable == {0: prints.unreadable[5], 2: prints.unreadable[1]}


def test_a_picture_is_decoded_once_for_ever(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = [*files, files[0]]
    steps: list[tuple[int, int]] = []
    cache = tmp_path / "cache"
    first = fingerprint(twice, cache=cache, on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 71) for done in range(72)]
    assert first.digests[0] == first.digests[70] and np.array_equal(first.thumbs[0], first.thumbs[70])

    monkeypatch.setattr(module, "describe", None)
    assert same(fingerprint(twice, cache=cache, digests=first.digests), first)
    monkeypatch.setattr("ssl_mask.guard.copies.describe.decode", None)
    monkeypatch.setattr(module, "describe", describe)
    moved = [path.rename(path.with_suffix(".jpg")) for path in files]
    assert same(fingerprint([*moved, moved[0]], cache=cache), first)


def test_a_changed_file_is_read_again(files: list[Path], tmp_path: Path) -> None:
    before = fingerprint(files, cache=tmp_path / "cache")
    cv2.imwrite(str(files[7]), texture(500))
    after = fingerprint(files, cache=tmp_path / "cache")
    assert [row for row in range(70) if before.digests[row] != after.digests[row]] == [7]
    assert same(after, fingerprint(files, cache=None))


def test_a_file_that_is_not_what_its_digest_says_is_not_remembered(files: list[Path], tmp_path: Path) -> None:
    digests = [hashlib.sha256(str(path).encode()).hexdigest() for path in files]
    prints = fingerprint(files, cache=tmp_path / "cache", digests=digests)
    assert set(prints.unreadable.values()) == {"it was changed while it was being read"}
    assert not list((tmp_path / "cache").rglob("*.npy"))


@pytest.mark.parametrize("processes", [1, 2])
def test_what_was_decoded_before_an_interruption_is_kept(files: list[Path], tmp_path: Path, processes: int) -> None:
    def stop(done: int, _: int) -> None:
        if done == 40:
            raise KeyboardInterrupt

    cache = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt) as held:
        fingerprint(files, cache=cache, processes=processes, on_progress=stop)
    assert active_children() == [], f"processes left to the garbage collector by {held.value!r}"
    totals: set[int] = set()
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    fingerprint(files, cache=cache, digests=digests, on_progress=lambda _, total: totals.add(total))
    assert totals == {6}  # two tasks of 32 were done


def test_large_arrays_live_in_a_file_without_a_name(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fingerprint(files, cache=None)
    monkeypatch.setattr("ssl_mask.guard.copies.memory._LARGE", 1)
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        assert same(fingerprint(files, cache=cache), plain)
    left = [path.name for path in tmp_path.joinpath("cache").iterdir()]
    assert sorted(left)[-1] == "guard-v1" and len(left) <= 2  # the memo of digests may be there, nothing else


def test_no_files_and_a_cache_that_cannot_be_written(files: list[Path], tmp_path: Path) -> None:
    assert len(fingerprint([], cache=None)) == 0
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StorageError, match="cache"):
        fingerprint(files, cache=tmp_path / "cache")
