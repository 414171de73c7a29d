"""Fingerprints of files: order, duplicates, bad files, and a cache that is never wrong."""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import shutil
import tempfile
from multiprocessing import active_children
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from textures import texture, write

from ssl_mask.data.digests import digest_file
from ssl_mask.data.images import fit
from ssl_mask.errors import StorageError
from ssl_mask.guard.copies import fingerprints as module
from ssl_mask.guard.copies.columns import Column
from ssl_mask.guard.copies.describe import describe
from ssl_mask.guard.copies.fingerprints import Fingerprints, fingerprint
from ssl_mask.guard.copies.hog import hogs
from ssl_mask.guard.copies.store import Stored, _opened


def same(first: Fingerprints, second: Fingerprints) -> bool:
    parts = ((getattr(prints, name) for name in ("pdq", "hog", "thumbs")) for prints in (first, second))
    arrays = all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(*parts, strict=True))
    facts = ("digests", "pixels", "unreadable")
    return arrays and all(getattr(first, name) == getattr(second, name) for name in facts)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write(tmp_path / "images", [texture(seed, 60 + seed, 90) for seed in range(70)])


def test_each_row_is_of_its_file(files: list[Path]) -> None:
    prints = fingerprint(files, cache=None)
    assert len(prints) == 70 and prints.unreadable == {}
    for row in (0, 33, 69):
        assert prints.digests[row] == hashlib.sha256(files[row].read_bytes()).hexdigest()
        pixels = np.asarray(Image.open(files[row]).convert("RGB"))
        height, width = pixels.shape[:2]
        assert prints.pixels[row] == hashlib.sha256(f"RGB {height} {width} ".encode() + pixels.tobytes()).hexdigest()
        grey = np.asarray(Image.open(files[row]).convert("L").resize((128, 128)))
        assert np.abs(prints.thumbs[row].astype(int) - grey).mean() < 3
        # The descriptor is made before the picture loses a little to JPEG.
        plain = fit(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), 128, "squash")
        assert np.array_equal(prints.hog[row], hogs(plain[None])[0])
        assert np.abs(prints.thumbs[row].astype(int) - plain).mean() < 1.5
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


def test_of_large_pools_nothing_is_held_in_memory_but_names(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fingerprint(files, cache=None)
    monkeypatch.setattr(module, "_IMAGES_PER_SEGMENT", 32)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        prints = fingerprint(files, cache=cache)
        assert same(prints, plain)
        kinds = [type(segment) for segment in prints.hog._segments]
        if cache:
            assert set(kinds) == {Stored}
        else:  # the last 6 of 70 are
            assert [isinstance(segment.thumbs, mmap.mmap) for segment in prints.hog._segments] == [True, True, False]
            assert not list(Path(tempfile.gettempdir()).rglob("*"))


def test_files_are_open_only_while_they_are_read(files: list[Path], tmp_path: Path) -> None:
    """A segment for each image, as many audits of a growing pool leave behind."""
    for file in files:
        fingerprint([file], cache=tmp_path)
    _opened.cache_clear()
    before = len(list(Path("/proc/self/fd").iterdir()))
    prints = fingerprint(files, cache=tmp_path, digests=[digest_file(file) for file in files])
    assert len(prints.hog._segments) == 70
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert same(prints, fingerprint(files, cache=None))
    limit = _opened.cache_info().maxsize
    assert limit is not None and 2 * limit < 300


def test_a_store_that_is_emptied_meanwhile_is_one_clear_error(files: list[Path], tmp_path: Path) -> None:
    prints = fingerprint(files, cache=tmp_path)
    _opened.cache_clear()
    shutil.rmtree(tmp_path / "guard-v2")
    with pytest.raises(StorageError, match="gone or damaged") as raised:
        prints.hog[[3]]
    assert "Run again" in raised.value.hint


def test_a_fingerprint_takes_at_most_6_kb(files: list[Path], tmp_path: Path) -> None:
    fingerprint(files, cache=tmp_path)
    size = sum(path.stat().st_size for path in (tmp_path / "guard-v2").rglob("*") if path.is_file())
    assert 3000 < size / len(files) < 6000


def test_some_of_a_pool_are_taken_without_reading_them(files: list[Path], tmp_path: Path) -> None:
    prints = fingerprint(files, cache=tmp_path)
    rows = [5, 3, 60]
    part = prints.at(rows)
    assert isinstance(part.thumbs, Column) and len(part.thumbs) == 3
    for mine, whole in zip((part.pdq, part.hog, part.thumbs), (prints.pdq, prints.hog, prints.thumbs), strict=True):
        assert np.array_equal(np.asarray(mine), whole[rows])
        assert np.array_equal(mine[1], np.asarray(whole)[3])
        assert [row.shape for row in mine] == [whole[0].shape] * 3


def test_a_damaged_picture_in_the_cache_is_one_clear_error(files: list[Path], tmp_path: Path) -> None:
    fingerprint(files, cache=tmp_path)
    (thumbs,) = tmp_path.rglob("*.thumbs")
    thumbs.write_bytes(bytes(thumbs.stat().st_size))
    prints = fingerprint(files, cache=tmp_path, digests=fingerprint(files, cache=None).digests)
    with pytest.raises(StorageError, match=re.escape(f"A picture in {thumbs}")) as raised:
        prints.thumbs[[3]]
    assert "Delete that file" in str(raised.value.hint)
    thumbs.unlink()
    again = fingerprint(files, cache=tmp_path)
    assert np.array_equal(again.thumbs[:], fingerprint(files, cache=None).thumbs[:])


def test_no_files_and_a_cache_that_cannot_be_written(files: list[Path], tmp_path: Path) -> None:
    assert len(fingerprint([], cache=None)) == 0
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StorageError, match="cache"):
        fingerprint(files, cache=tmp_path / "cache")
