"""Fingerprints kept on disk, found by the SHA-256 of the image's file: an unchanged picture is never decoded again.

    <folder>/
    ├── 5f0c….thumbs   grey pictures as JPEG, one after the other
    ├── 5f0c….npy      one RECORD an image: np.load(path, mmap_mode="r")
    └── 5f0c….json     the digests of files and of pixels, row by row

Segments are only ever added, and one without its json does not exist: the json comes last, and all appear by an atomic
rename. So there are no locks; two processes that describe the same picture at once waste a little time, nothing else.
Every file may be deleted at any time.

To recall a picture, the json alone is read. Records and pictures are mapped, and read where they are asked for: a
second audit of unchanged pools asks for none.
"""

from __future__ import annotations

import json
import mmap
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.errors import StorageError
from ssl_mask.files import atomic_path, write_text
from ssl_mask.reading import parse_json, regular

RECORD = np.dtype(
    [
        ("digest", "u1", (32,)),  # of the file
        ("pixels", "u1", (32,)),  # of what it shows
        ("pdq", "u1", (8, 32)),
        ("hog", "u1", (6, 324)),
        ("end", "<u8"),  # of its picture, in .thumbs
    ]
)
Records = NDArray[np.void]


class Segment(NamedTuple):
    """Some fingerprints, in memory or mapped."""

    records: Records
    thumbs: bytes | mmap.mmap

    def open(self) -> Segment:
        return self

    def thumb(self, row: int) -> bytes:
        """The grey picture as JPEG."""
        start = int(self.records["end"][row - 1]) if row else 0
        return self.thumbs[start : int(self.records["end"][row])]


class Stored(NamedTuple):
    """A segment on disk, mapped while it is used: each takes two of the files that a process may have open."""

    path: Path

    def open(self) -> Segment:
        """Raises StorageError when it is not there any more."""
        return _opened(self.path)


class Recalled(NamedTuple):
    """What one segment knows of some digests."""

    positions: NDArray[np.int64]
    """Whose digests they are."""
    rows: NDArray[np.int64]
    """Where they are in the segment."""
    pixels: list[str]
    """Digests of what they show."""
    segment: Stored


def made(records: Records, thumbs: Sequence[bytes]) -> Segment:
    """A segment of records and the picture of each."""
    records = records.copy()
    records["end"] = np.cumsum([len(thumb) for thumb in thumbs], dtype=np.uint64)
    return Segment(records, b"".join(thumbs))


def add(folder: Path, segment: Segment) -> Stored:
    """Keeps it. Raises StorageError when the disk refuses."""
    path = folder / f"{uuid.uuid4().hex}.npy"
    with atomic_path(path.with_suffix(".thumbs")) as partial, partial.open("wb") as file:
        file.write(segment.thumbs)
    save_table(path, segment.records)
    names = {name: [bytes(d).hex() for d in segment.records[name]] for name in ("digest", "pixels")}
    write_text(path.with_suffix(".json"), json.dumps(names))
    return Stored(path)


def recall(folder: Path, digests: Sequence[str]) -> Iterator[Recalled]:
    """What is known of these digests; once for every segment that knows some of them."""
    wanted: dict[str, list[int]] = {}
    for position, digest in enumerate(digests):
        wanted.setdefault(digest, []).append(position)
    for index in segments(folder):
        with suppress(OSError, ValueError, TypeError, IndexError, KeyError):  # deleted or damaged is as good as absent
            names = parse_json(regular(index).read_bytes())
            segment = mapped(index.with_suffix(".npy"))
            if len(names["digest"]) != len(segment.records) or len(names["pixels"]) != len(segment.records):
                continue
            known = [(row, digest) for row, digest in enumerate(names["digest"]) if digest in wanted]
            places = [(position, row) for row, digest in known for position in wanted[digest]]
            pixels = [names["pixels"][row] for _, row in places]
            if not places or not _holds(segment, known):
                continue
            for _, digest in known:
                del wanted[digest]
            positions, rows = np.array(places, np.int64).T
            yield Recalled(positions, rows, pixels, Stored(index.with_suffix(".npy")))


def segments(folder: Path) -> tuple[Path, ...]:
    """The indices of the segments that are there now."""
    return tuple(sorted(folder.glob("*.json")))


@lru_cache(maxsize=1)
def held(indices: tuple[Path, ...]) -> frozenset[str]:
    """The digests that these segments hold."""
    found: set[str] = set()
    for index in indices:
        with suppress(OSError, ValueError, TypeError, KeyError):
            found.update(parse_json(regular(index).read_bytes())["digest"])
    return frozenset(found)


def save_table(path: Path, table: NDArray[np.void]) -> None:
    """Raises StorageError when the disk refuses."""
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.save(file, table, allow_pickle=False)


def load_table(path: Path, dtype: np.dtype[np.void], *, mapped: bool = False) -> NDArray[np.void]:
    """An array of this type, in memory or mapped. Raises OSError or ValueError when the file holds no such thing."""
    try:
        # Mapped in any case: a header that says more than the file holds is noticed before memory is taken.
        table: NDArray[np.void] = np.load(regular(path), mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # numpy raises many kinds for a damaged header
        raise ValueError("no table") from error
    if getattr(table, "dtype", None) != dtype or table.ndim != 1:
        raise ValueError("another kind of table")
    return table if mapped else np.array(table)


@lru_cache(maxsize=128)
def _opened(path: Path) -> Segment:
    try:
        return mapped(path)
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path} is gone or damaged since fingerprints were found in it.",
            hint="Somebody empties the cache of the leakage guard. Run again: what is missing is made anew.",
        ) from error


def mapped(path: Path) -> Segment:
    """Raises OSError or ValueError where there is no whole segment."""
    records = load_table(path, RECORD, mapped=True)
    with regular(path.with_suffix(".thumbs")).open("rb") as file:
        thumbs = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if len(thumbs) != int(records["end"][-1]):
        raise ValueError("its pictures are not complete")
    return Segment(records, thumbs)


def _holds(segment: Segment, known: Sequence[tuple[int, str]]) -> bool:
    """Whether index and records are of the same pictures, by the first and the last: to read all would take long."""
    return all(bytes(segment.records["digest"][row]).hex() == digest for row, digest in (known[0], known[-1]))
