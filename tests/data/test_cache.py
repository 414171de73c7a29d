"""The cache against `fit(decode(path))`, two processes, a kill, and files spoilt on purpose."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ssl_mask.data import cache as module
from ssl_mask.data.cache import ImageCache, default_cache_folder
from ssl_mask.data.digests import digest_file
from ssl_mask.data.image_source import CachedImages, DecodedImages
from ssl_mask.data.images import decode, fit
from ssl_mask.errors import ImageError, StorageError

SIZE = 16


def images(folder: Path, count: int = 10, start: int = 0) -> tuple[list[Path], list[str]]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i:04}.png" for i in range(start, start + count)]
    for i, path in enumerate(paths, start=start):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return paths, [digest_file(path) for path in paths]


def filled(folder: Path, paths: list[Path], digests: list[str], **options: object) -> ImageCache:
    cache = ImageCache(folder, SIZE, "crop")
    cache.fill(paths, digests, **{"max_pixels": 10_000, "threads": 2, **options})  # type: ignore[arg-type]
    return cache


def check(cache: ImageCache, paths: list[Path], digests: list[str]) -> None:
    assert cache.missing(digests) == []
    for path, digest in zip(paths, digests, strict=True):
        np.testing.assert_array_equal(cache.read(digest), fit(decode(path), SIZE, "crop"))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were really decoded."""
    seen: list[Path] = []

    def counted(path: Path, content: bytes | None = None, *, max_pixels: int, depth: int) -> object:
        seen.append(path)
        return decode(path, content, max_pixels=max_pixels, depth=depth)

    monkeypatch.setattr(module, "decode", counted)
    return seen


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("per_segment", [1, 4, 5, 100])
def test_reads_what_fit_and_decode_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, per_segment: int
) -> None:
    monkeypatch.setattr(module, "_IMAGES_PER_SEGMENT", per_segment)
    paths, digests = images(tmp_path / "i")
    cache = ImageCache(tmp_path / "c", SIZE, "crop")
    assert cache.missing(digests) == list(range(10))
    check(filled(tmp_path / "c", paths, digests, threads=threads), paths, digests)
    assert len(list(cache.folder.glob("*.npy"))) == len(list(cache.folder.glob("*.json"))) == -(-10 // per_segment)
    assert not list(cache.folder.glob("*.tmp"))
    check(ImageCache(tmp_path / "c", SIZE, "crop"), paths, digests)  # it lasts


def test_segments_are_plain_npy_files(tmp_path: Path) -> None:
    paths, digests = images(tmp_path / "i")
    cache = filled(tmp_path / "c", paths, digests)
    (segment,) = cache.folder.glob("*.npy")
    mapped = np.load(segment, mmap_mode="r")
    index = json.loads(segment.with_suffix(".json").read_text())
    sizes = [list(decode(path).shape[1::-1]) for path in paths]
    assert list(index.items()) == list(zip(digests, sizes, strict=True))
    np.testing.assert_array_equal(mapped, [fit(decode(path), SIZE, "crop") for path in paths])


def test_every_picture_is_decoded_once(tmp_path: Path, decoded: list[Path]) -> None:
    paths, digests = images(tmp_path / "i")
    progress: list[tuple[int, int]] = []
    filled(tmp_path / "c", paths[:6], digests[:6])
    cache = filled(tmp_path / "c", paths, digests, on_progress=lambda *at: progress.append(at))
    filled(tmp_path / "c", paths, digests)
    assert sorted(decoded) == sorted(paths)
    assert progress == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert cache.missing(["00" * 32, digests[0]]) == [0]


def test_digests_that_nobody_knows_are_found_while_filling(tmp_path: Path, decoded: list[Path]) -> None:
    paths, digests = images(tmp_path / "i")
    paths[3].write_text("no image")
    digests[3] = digest_file(paths[3])
    paths[5].unlink()
    filled(tmp_path / "c", paths[:2], digests[:2])
    bad: dict[int, str] = {}
    cache = ImageCache(tmp_path / "c", SIZE, "crop")
    found = cache.fill(
        paths, [""] * 10, max_pixels=10_000, threads=2, on_bad=lambda i, error: bad.update({i: error.problem})
    )
    assert found == [*digests[:5], "", *digests[6:]] and bad.keys() == {3, 5}
    assert sorted(decoded) == sorted(path for path in paths if path != paths[5])  # the first two once, not again
    good = [i for i in range(10) if i not in bad]
    check(cache, [paths[i] for i in good], [digests[i] for i in good])


def test_the_same_picture_twice_is_kept_once(tmp_path: Path) -> None:
    paths, digests = images(tmp_path / "i", 3)
    twice = [0, 0, 1, 0, 2, 1]
    cache = filled(tmp_path / "c", [paths[i] for i in twice], [digests[i] for i in twice])
    (segment,) = cache.folder.glob("*.npy")
    assert len(np.load(segment)) == 3
    check(cache, paths, digests)


def test_moved_is_a_hit_and_changed_is_a_miss(tmp_path: Path) -> None:
    paths, digests = images(tmp_path / "i", 3)
    filled(tmp_path / "c", paths, digests)
    moved = paths[0].rename(tmp_path / "elsewhere.png")
    images(tmp_path / "i", 1, start=2)  # unchanged: written anew, with the same bytes
    Image.new("RGB", (20, 30), "red").save(paths[1])
    again = [moved, *paths[1:]]
    new = [digest_file(path) for path in again]
    assert ImageCache(tmp_path / "c", SIZE, "crop").missing(new) == [1]
    check(filled(tmp_path / "c", again, new), again, new)


def test_sizes_and_ways_to_resize_are_kept_apart(tmp_path: Path) -> None:
    paths, digests = images(tmp_path / "i", 2)
    filled(tmp_path / "c", paths, digests)
    for size, resize in ((SIZE + 1, "crop"), (SIZE, "pad")):
        cache = ImageCache(tmp_path / "c", size, resize)  # type: ignore[arg-type]
        assert cache.missing(digests) == [0, 1]
        cache.fill(paths, digests, max_pixels=10_000, threads=1)
        np.testing.assert_array_equal(cache.read(digests[1]), fit(decode(paths[1]), size, resize))  # type: ignore[arg-type]


def test_reads_are_fresh_and_writable(tmp_path: Path) -> None:
    paths, digests = images(tmp_path / "i", 2)
    cache = filled(tmp_path / "c", paths, digests)
    cache.read(digests[0])[:] = 0
    check(cache, paths, digests)


# --- bad images, bad disks --------------------------------------------------------------------------------------------


def test_a_bad_image_stops_the_fill_but_not_what_came_before(tmp_path: Path) -> None:
    paths, digests = images(tmp_path / "i")
    paths[6].write_bytes(paths[6].read_bytes()[:100])
    digests[6] = digest_file(paths[6])
    threads = threading.active_count()
    with pytest.raises(ImageError, match=paths[6].name) as held:
        filled(tmp_path / "c", paths, digests)
    assert threading.active_count() == threads, f"threads left to the garbage collector by {held.value}"
    assert ImageCache(tmp_path / "c", SIZE, "crop").missing(digests) == [6, 7, 8, 9]


def test_bad_images_are_handed_over_and_skipped(tmp_path: Path) -> None:
    paths, digests = images(tmp_path / "i")
    for i in (0, 6, 9):
        paths[i].write_text("no image")
        digests[i] = digest_file(paths[i])  # the same three times, and every position is told
    bad: list[tuple[int, str]] = []
    progress: list[tuple[int, int]] = []
    cache = filled(
        tmp_path / "c",
        paths,
        digests,
        on_bad=lambda i, error: bad.append((i, str(error))),
        on_progress=lambda *at: progress.append(at),
    )
    assert [i for i, _ in bad] == cache.missing(digests) == [0, 6, 9]
    assert all(paths[i].name in message for i, message in bad)
    assert progress[-1] == (10, 10)
    good = [i for i in range(10) if i not in (0, 6, 9)]
    check(cache, [paths[i] for i in good], [digests[i] for i in good])


def test_a_picture_that_is_here_still_obeys_the_limit_of_pixels(tmp_path: Path) -> None:
    """Its file has more pixels than a later run allows: with a known digest, and with one that has to be found."""
    paths, digests = images(tmp_path / "i", 3)
    height, width = decode(paths[1]).shape[:2]
    filled(tmp_path / "c", paths, digests, max_pixels=height * width)
    bad: list[int] = []
    for known in (digests, [""] * 3):
        with pytest.raises(
            ImageError, match=rf"{paths[0].name}: \d+x\d+ pixels, more than the limit of 10 .*max_pixels"
        ):
            filled(tmp_path / "c", paths, known, max_pixels=10)
        filled(tmp_path / "c", paths, known, max_pixels=10, on_bad=lambda i, _: bad.append(i))
        filled(tmp_path / "c", paths, known, max_pixels=height * width)
    assert bad == [0, 1, 2] * 2


def test_what_is_read_in_another_way_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((16, 16), 450, np.uint16))
    for depth, grey in ((16, 1), (12, 450 >> 4), (10, 450 >> 2)):
        cache = ImageCache(tmp_path / "c", SIZE, "crop", depth)
        digests = cache.fill([path], [digest_file(path)], max_pixels=10_000, threads=1)
        assert (cache.read(digests[0]) == grey).all()


def test_only_bad_images_leave_no_segment(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    cache = filled(tmp_path / "c", [tmp_path / "a.jpg"], [digest_file(tmp_path / "a.jpg")], on_bad=lambda *_: None)
    assert list(cache.folder.iterdir()) == []


def test_a_file_that_changed_since_its_digest_does_not_get_in(tmp_path: Path) -> None:
    paths, digests = images(tmp_path / "i", 2)
    with pytest.raises(ImageError, match=r"0000\.png.*not the same file"):
        filled(tmp_path / "c", paths, digests[::-1])
    assert ImageCache(tmp_path / "c", SIZE, "crop").missing(digests) == [0, 1]


def spoil_length(segment: Path) -> None:
    segment.write_bytes(segment.read_bytes()[:-1])


def spoil_header(segment: Path) -> None:
    segment.write_bytes(segment.read_bytes().replace(b"|u1", b"|i1", 1))


def spoil_index(segment: Path) -> None:
    segment.with_suffix(".json").write_text('["00", 1')


def shorten_index(segment: Path) -> None:
    index = segment.with_suffix(".json")
    index.write_text(json.dumps(dict(list(json.loads(index.read_text()).items())[1:])))


@pytest.mark.parametrize(
    "spoil",
    [spoil_length, spoil_header, spoil_index, shorten_index, Path.unlink, lambda path: path.write_text("")],
)
def test_a_spoilt_segment_is_ignored_and_decoded_again(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    paths, digests = images(tmp_path / "i")
    filled(tmp_path / "c", paths[:5], digests[:5])
    (segment,) = (tmp_path / "c").rglob("*.npy")
    filled(tmp_path / "c", paths, digests)
    spoil(segment)
    assert ImageCache(tmp_path / "c", SIZE, "crop").missing(digests) == list(range(5))
    check(filled(tmp_path / "c", paths, digests), paths, digests)


@pytest.mark.parametrize("spoil", [Path.unlink, spoil_length])
def test_a_segment_that_vanishes_during_a_run_is_named(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    paths, digests = images(tmp_path / "i")
    cache = filled(tmp_path / "c", paths, digests)
    (segment,) = cache.folder.glob("*.npy")
    spoil(segment)
    with pytest.raises(StorageError, match=segment.name) as caught:
        cache.read(digests[-1])
    assert "data.cache: off" in str(caught.value)
    with pytest.raises(StorageError):
        cache.read("00" * 32)


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    paths, digests = images(tmp_path / "i")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        filled(tmp_path / "c", paths, digests)
    assert str(tmp_path / "c") in str(caught.value)
    assert "data.cache" in str(caught.value)
    assert list((tmp_path / "c" / "16-crop-v2").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_a_disk_that_fills_up_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, digests = images(tmp_path / "i")
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *a, **k: real(Path("/dev/full") if a == ("wb",) else path, *a, **k))
    with pytest.raises(StorageError, match="No space left"):
        filled(tmp_path / "c", paths, digests)
    assert list((tmp_path / "c" / "16-crop-v2").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    paths, digests = images(tmp_path / "i", 1)
    (tmp_path / "c").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"data\.cache"):
        filled(tmp_path / "c", paths, digests)


# --- several processes, kills -----------------------------------------------------------------------------------------

FILL = """
import sys; from pathlib import Path
from ssl_mask.data import cache as module; from ssl_mask.data.digests import digest_file
module._IMAGES_PER_SEGMENT = 7
paths = sorted(Path(sys.argv[1]).iterdir()); cache = module.ImageCache(Path(sys.argv[2]), 16, "crop")
digests = [digest_file(path) for path in paths]
print("ready", flush=True); sys.stdin.readline()
cache.fill(paths, digests, max_pixels=10_000, threads=2, on_progress=lambda done, _: print(done, flush=True))
"""


def fill_elsewhere(tmp_path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FILL, str(tmp_path / "i"), str(tmp_path / "c")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_fill_at_the_same_time(tmp_path: Path) -> None:
    paths, digests = images(tmp_path / "i", 60)
    others = [fill_elsewhere(tmp_path) for _ in range(2)]
    for other in others:
        go(other)
    check(filled(tmp_path / "c", paths, digests), paths, digests)
    for other in others:
        other.communicate()
        assert other.returncode == 0
    check(ImageCache(tmp_path / "c", SIZE, "crop"), paths, digests)
    assert not list((tmp_path / "c").rglob("*.tmp"))


@pytest.mark.parametrize("after", [3, 25])
def test_a_killed_fill_keeps_its_segments_for_the_next(tmp_path: Path, decoded: list[Path], after: int) -> None:
    paths, digests = images(tmp_path / "i", 60)
    process = fill_elsewhere(tmp_path)
    go(process)
    assert process.stdout is not None
    while process.stdout.readline() != f"{after}\n":
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    cache = ImageCache(tmp_path / "c", SIZE, "crop")
    kept = 60 - len(cache.missing(digests))
    assert kept >= after // 7 * 7
    assert kept % 7 == 0 or kept == 60
    check(filled(tmp_path / "c", paths, digests), paths, digests)
    assert len(decoded) == 60 - kept


def test_old_leftovers_go_and_young_ones_stay(tmp_path: Path) -> None:
    paths, digests = images(tmp_path / "i", 2)
    folder = filled(tmp_path / "c", paths[:1], digests[:1]).folder
    (segment,) = folder.glob("*.npy")
    names = ["old.tmp", "old.npy", "young.tmp", "young.npy"]
    for name in names:
        (folder / name).touch()
    for name in [*names[:2], segment.name, f"{segment.stem}.json"]:
        os.utime(folder / name, (time.time() - 90_000,) * 2)
    filled(tmp_path / "c", paths, digests)
    assert {path.name for path in folder.iterdir()} >= {*names[2:], segment.name, f"{segment.stem}.json"}
    assert not {path.name for path in folder.iterdir()} & set(names[:2])


def test_a_second_fill_sees_what_another_process_added(tmp_path: Path, decoded: list[Path]) -> None:
    paths, digests = images(tmp_path / "i")
    early = ImageCache(tmp_path / "c", SIZE, "crop")
    filled(tmp_path / "c", paths, digests)
    early.fill(paths, digests, max_pixels=10_000, threads=2)
    check(early, paths, digests)
    assert len(decoded) == 10


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_sources_work_in_other_processes(tmp_path: Path, start: str) -> None:
    paths, digests = images(tmp_path / "i")
    cached = CachedImages(filled(tmp_path / "c", paths, digests), digests)
    direct = DecodedImages(paths, SIZE, "crop", 10_000)
    assert len(cached) == len(direct) == 10
    cached.read(0)
    with get_context(start).Pool(2) as pool:
        for source in (cached, direct):
            for position, pixels in enumerate(pool.map(source.read, range(10))):
                np.testing.assert_array_equal(pixels, fit(decode(paths[position]), SIZE, "crop"))


# --- memory -----------------------------------------------------------------------------------------------------------


def test_filling_and_reading_keep_no_pixels(tmp_path: Path) -> None:
    """200 pictures of 30 kB are 6 MB; Python may hold a twentieth of it at any moment, whatever the number."""
    paths, digests = images(tmp_path / "i", 200)
    cache = ImageCache(tmp_path / "c", 100, "crop")
    tracemalloc.start()
    try:
        cache.fill(paths, digests, max_pixels=10_000, threads=2)
        for digest in digests:
            cache.read(digest)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200 * 30_000 / 4
    assert now < 200 * 1000
    assert len(pickle.dumps(CachedImages(cache, digests))) < 200 * 300


def test_a_slow_reader_does_not_pile_pictures_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding waits when the disk is slow: never more than two pictures a thread ahead."""
    paths, digests = images(tmp_path / "i", 40)
    ahead, lock, most = [0], threading.Lock(), [0]

    def counted(path: Path, content: bytes | None = None, *, max_pixels: int, depth: int) -> object:
        with lock:
            ahead[0] += 1
            most[0] = max(most[0], ahead[0])
        return decode(path, content, max_pixels=max_pixels, depth=depth)

    def written(done: int, _: int) -> None:
        if done == 0:
            return
        time.sleep(0.002)
        with lock:
            ahead[0] -= 1

    monkeypatch.setattr(module, "decode", counted)
    filled(tmp_path / "c", paths, digests, on_progress=written)
    assert 1 <= most[0] <= 2 * 2


def test_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("SSLMASK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert default_cache_folder() == Path("/home/someone/.cache/sslmask")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert default_cache_folder() == Path("/x/sslmask")
    monkeypatch.setenv("SSLMASK_CACHE", "~/y")
    assert default_cache_folder() == Path("/home/someone/y")


def test_a_user_without_a_home_has_a_cache_among_the_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`docker run --user 12345`: no HOME, and no entry in passwd."""

    def unknown(uid: int) -> object:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "SSLMASK_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / f"sslmask-{os.getuid()}"
    assert default_cache_folder() == folder
    folder.mkdir()
    assert default_cache_folder() == folder
    monkeypatch.setenv("SSLMASK_CACHE", "~/x")
    assert default_cache_folder() == Path("~/x")
    monkeypatch.delenv("SSLMASK_CACHE")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    other = tmp_path / "sslmask-12345"
    other.mkdir()
    with pytest.raises(StorageError, match=r"sslmask-12345 belongs to another user") as stopped:
        default_cache_folder()
    assert "SSLMASK_CACHE" in stopped.value.hint
