"""Fingerprints kept on disk, found by the SHA-256 of the image's file: an unchanged picture is never decoded again.

    <folder>/
    ├── 5f0c….npy     one RECORD an image: np.load(path, mmap_mode="r")
    └── 5f0c….json    the digests, row by row

Segments are only ever added, and one without its json does not exist: the json comes last, and both appear by an atomic
rename. So there are no locks; two processes that describe the same picture at once waste a little time, nothing else.
Every file may be deleted at any time.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_mask.files import atomic_path, write_text
from ssl_mask.reading import parse_json, regular

RECORD = np.dtype(
    [
        ("digest", "u1", (32,)),  # of the file
        ("pixels", "u1", (32,)),  # of what it shows
        ("pdq", "u1", (8, 32)),
        ("hog", "<f2", (7, 324)),
        ("thumb", "u1", (128, 128)),
    ]
)
Records = NDArray[np.void]


def add(folder: Path, records: Records) -> None:
    """Raises StorageError when the disk refuses."""
    if len(records) == 0:
        return
    path = folder / f"{uuid.uuid4().hex}.npy"
    save_table(path, records)
    write_text(path.with_suffix(".json"), json.dumps([bytes(d).hex() for d in records["digest"]]))


def recall(folder: Path, digests: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Records]]:
    """Positions in `digests` with what is known of each; once for every segment that knows some of them."""
    wanted: dict[str, list[int]] = {}
    for position, digest in enumerate(digests):
        wanted.setdefault(digest, []).append(position)
    for index in segments(folder):
        with suppress(OSError, ValueError, TypeError, IndexError):  # deleted or damaged is as good as absent
            held = [
                (row, digest) for row, digest in enumerate(parse_json(regular(index).read_bytes())) if digest in wanted
            ]
            records = _rows(index.with_suffix(".npy"), [row for row, _ in held])
            if [bytes(digest).hex() for digest in records["digest"]] != [digest for _, digest in held]:
                continue
            positions = [wanted.pop(digest) for _, digest in held]
            repeated = np.repeat(np.arange(len(held)), [len(p) for p in positions])
            yield np.array([p for several in positions for p in several], np.int64), records[repeated]


def segments(folder: Path) -> tuple[Path, ...]:
    """The indices of the segments that are there now."""
    return tuple(sorted(folder.glob("*.json")))


@lru_cache(maxsize=1)
def held(indices: tuple[Path, ...]) -> frozenset[str]:
    """The digests that these segments hold."""
    found: set[str] = set()
    for index in indices:
        with suppress(OSError, ValueError, TypeError):
            found.update(parse_json(regular(index).read_bytes()))
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


def _rows(path: Path, rows: list[int]) -> Records:
    if not rows:
        return np.empty(0, RECORD)
    # A copy: the pages of a mapping would count as this process's memory for as long as it lives.
    return np.array(load_table(path, RECORD, mapped=True)[rows])
