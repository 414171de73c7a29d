"""Whatever lies in a folder is fingerprinted or counted with a reason; nothing raises, hangs or is changed.

A read that waits for ever cannot be interrupted, so the timeouts end the whole test run.
"""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssl_mask.guard.copies.fingerprints import Fingerprints, fingerprint
from ssl_mask.guard.copies.matching import match

Make = Callable[[Path], object]


def noise(*shape: int, seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def encoded(kind: str, array: np.ndarray | None = None, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(noise(40, 50, 3) if array is None else array).save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, rows: bytes = b"", bits: int = 8, colour: int = 2) -> bytes:
    """A PNG written by hand, for sizes and depths that PIL would not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def holds(data: bytes) -> Make:
    return lambda path: path.write_bytes(data)


def animated(kind: str) -> bytes:
    frames = [Image.fromarray(noise(40, 50, 3, seed=n)) for n in range(3)]
    file = BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=50)
    return file.getvalue()


def huge_jpeg() -> bytes:
    """A JPEG whose header claims 65500 x 65500 pixels."""
    data = bytearray(encoded("JPEG"))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


def broken_exif() -> bytes:
    return encoded("JPEG", exif=b"Exif\0\0MM\0*" + b"\xff" * 40)


def outside(path: Path) -> Path:
    target = path.parent.parent / "outside.jpg"
    target.write_bytes(encoded("JPEG"))
    return target


def listen(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(path.parent)  # the kernel takes no long name here
    server.bind(path.name)
    os.chdir(here)
    server.close()


READABLE: dict[str, Make] = {
    "16-bit grey.png": holds(encoded("PNG", noise(40, 50, dtype=np.uint16))),
    "16-bit colour.png": holds(png(2, 2, (b"\0" + bytes(12)) * 2, bits=16)),
    "CMYK.jpg": lambda path: Image.fromarray(noise(40, 50, 4), "CMYK").save(path),
    "animated.gif": holds(animated("GIF")),
    "animated.webp": holds(animated("WEBP")),
    "animated.png": holds(animated("PNG")),
    "transparent.png": holds(encoded("PNG", noise(40, 50, 4))),
    "one bit.png": lambda path: Image.fromarray(noise(40, 50)).convert("1").save(path),
    "one pixel.png": holds(encoded("PNG", noise(1, 1, 3))),
    "strip.png": holds(encoded("PNG", noise(1, 5000, 3))),
    "one colour.png": holds(encoded("PNG", np.zeros((40, 50, 3), np.uint8))),
    "broken exif.jpg": holds(broken_exif()),
    "png inside.jpg": holds(encoded("PNG")),
    "bytes after the end.jpg": holds(encoded("JPEG") + b"PK\3\4" * 100),
    os.fsdecode(b"not utf-8 \xe9\xff.jpg"): holds(encoded("JPEG")),
    "emoji 😷🎭.jpg": holds(encoded("JPEG")),
    "line\nbreak, \"quotes\" and 'more'.jpg": holds(encoded("JPEG")),
    "n" * 240 + ".jpg": holds(encoded("JPEG")),
    "link out of the folder.jpg": lambda path: path.symlink_to(outside(path)),
}
UNREADABLE: dict[str, Make] = {
    "truncated.jpg": holds(encoded("JPEG")[:-700]),
    "truncated.png": holds(encoded("PNG")[:-700]),
    "header only.jpg": holds(encoded("JPEG")[:20]),
    "bomb.png": holds(png(20_000, 20_000, bytes(20_000))),
    "huge header.png": holds(png(2**31 - 1, 2**31 - 1)),
    "huge header.jpg": holds(huge_jpeg()),
    "no width.png": holds(png(0, 10)),
    "empty.jpg": holds(b""),
    "text.jpg": holds(b"not an image\n"),
    "page.jpg": holds(b"<!DOCTYPE html><title>404</title>"),
    "script.svg.jpg": holds(b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>"),
    "folder.jpg": Path.mkdir,
    "pipe.jpg": os.mkfifo,
    "socket.jpg": listen,
    "endless.jpg": lambda path: path.symlink_to("/dev/zero"),
    "loop.jpg": lambda path: path.symlink_to(path),
    "link to nothing.jpg": lambda path: path.symlink_to(path.with_name("nothing")),
    "missing.jpg": lambda _: None,
    "nul\0.jpg": lambda _: None,
    "too long " + "n" * 300 + ".jpg": lambda _: None,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pool"
    made.mkdir()
    for name, make in (READABLE | UNREADABLE).items():
        make(made / name)
    return made


def contents(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Mode, time of change, and bytes of every regular file; links are not followed."""
    found = {}
    for path in folder.iterdir():
        status = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        found[path.name] = status.st_mode, status.st_mtime_ns, data
    return found


@pytest.mark.timeout(20, method="thread")
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("cached", [False, True])
def test_every_file_is_fingerprinted_or_counted(folder: Path, tmp_path: Path, cached: bool, processes: int) -> None:
    names, before = [*READABLE, *UNREADABLE], contents(folder)
    cache = tmp_path / "cache" if cached else None
    for _ in range(2):  # the second time from the cache
        found = fingerprint([folder / name for name in names], cache=cache, processes=processes)
        assert {names[position] for position in found.unreadable} == set(UNREADABLE)
        check_shapes(found, len(names))
        assert contents(folder) == before


def check_shapes(found: Fingerprints, count: int) -> None:
    bad = found.unreadable
    assert len(found) == len(found.digests) == len(found.pixels) == len(found.thumbs) == count
    assert all(reason.strip() for reason in bad.values())
    for position in range(count):
        lengths = len(found.digests[position]), len(found.pixels[position])
        assert lengths == ((0, 0) if position in bad else (64, 64))
    assert np.isfinite(np.asarray(found.hog, np.float32)).all()


@pytest.mark.timeout(20, method="thread")
def test_what_cannot_be_read_matches_nothing(folder: Path) -> None:
    names = [*READABLE, *UNREADABLE]
    found = fingerprint([folder / name for name in names], cache=None)
    for pair in match(found, found, cache=None):
        assert not {pair.first, pair.second} & set(found.unreadable)


@pytest.mark.timeout(20, method="thread")
def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("PNG", noise(40, 50, 3)))
    assert not fingerprint([tmp_path / "a.png"], cache=None, max_pixels=2000).unreadable
    assert "limit of 1999" in fingerprint([tmp_path / "a.png"], cache=None, max_pixels=1999).unreadable[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded("JPEG"))
    path.chmod(0)
    assert "cannot be read" in fingerprint([path], cache=None).unreadable[0]


@pytest.mark.timeout(20, method="thread")
def test_no_files_at_all() -> None:
    found = fingerprint([], cache=None)
    assert len(found) == 0
    assert match(found, found, cache=None) == []


def test_the_bits_in_use_of_16_bit_images_are_those_that_training_sees(tmp_path: Path) -> None:
    """At 16 bits both are black, so one would be a copy of the other; what is stored for one depth is not taken."""
    for seed in (0, 1):
        values = np.random.default_rng(seed).integers(0, 250, (40, 50), dtype=np.uint16)
        Image.fromarray(values).save(tmp_path / f"{seed}.png")
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    for _ in range(2):
        black = fingerprint(files, cache=tmp_path / "c")
        assert len(set(black.pixels)) == 1 and not np.asarray(black.thumbs).any()
        assert len(set(fingerprint(files, cache=tmp_path / "c", depth=8).pixels)) == 2
