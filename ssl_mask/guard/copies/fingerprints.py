"""Fingerprints of a pool of images: all that the guard needs to know of them, whatever they are compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.depth import FULL
from ssl_mask.data.digests import DigestMemo
from ssl_mask.data.images import MAX_PIXELS
from ssl_mask.guard.copies import store
from ssl_mask.guard.copies.describe import Described, Task, describe
from ssl_mask.guard.copies.memory import release, zeros
from ssl_mask.guard.copies.store import RECORD, Records
from ssl_mask.guard.copies.workers import spread

FOLDER = "guard-v1"
"""Inside the cache folder; the number changes with whatever changes a fingerprint."""

_IMAGES_PER_TASK = 32
_IMAGES_PER_SEGMENT = 4096  # what a kill can lose


@dataclass(frozen=True)
class Fingerprints:
    """Row by row, in the order of the files. Rows of unreadable files hold zeros."""

    digests: tuple[str, ...]
    """SHA-256 of the file's bytes as 64 hex digits; "" for an unreadable file."""
    pixels: tuple[str, ...]
    """SHA-256 of the decoded picture (RGB, upright) and its shape; "" for an unreadable file."""
    pdq: NDArray[np.uint8]
    """(n, 8, 32): the packed bits of the eight variants."""
    hog: NDArray[np.float16]
    """(n, 7, 324): full frame, five windows, mirrored full frame."""
    thumbs: NDArray[np.uint8]
    """(n, 128, 128): the whole picture in grey, squashed into a square."""
    unreadable: dict[int, str]
    """Position of each file that is no readable image, and why."""
    compressed: bool = False
    """Whether `thumbs` and `hog` went through JPEG, as those of a seen-file did; scores then differ a little."""

    def __len__(self) -> int:
        return len(self.digests)

    def at(self, positions: Sequence[int] | NDArray[np.int64]) -> Fingerprints:
        """Those of some files, in a new order."""
        rows = np.asarray(positions, np.int64)
        return Fingerprints(
            digests=tuple(self.digests[row] for row in rows),
            pixels=tuple(self.pixels[row] for row in rows),
            pdq=self.pdq[rows],
            hog=self.hog[rows],
            thumbs=self.thumbs[rows],
            unreadable={new: self.unreadable[row] for new, row in enumerate(rows.tolist()) if row in self.unreadable},
            compressed=self.compressed,
        )

    @property
    def content_digest(self) -> str:
        """SHA-256 over the sorted digests of the readable files, one a line: the same in any order of the files."""
        return hashlib.sha256("\n".join(sorted(d for d in self.digests if d)).encode()).hexdigest()


def fingerprint(
    files: Sequence[Path],
    *,
    cache: Path | None,
    digests: Sequence[str] = (),
    processes: int = 1,
    max_pixels: int = MAX_PIXELS,
    depth: int = FULL,
    on_progress: Callable[[int, int], None] | None = None,
) -> Fingerprints:
    """Read each image once; with a cache, once for ever.

    Args:
        cache: the project's cache folder, or None to keep nothing.
        digests: SHA-256 of each file, or "", where they are known already; a file with other bytes is unreadable then.
        max_pixels: larger pictures are unreadable.
        depth: bits in use of 16-bit images.
        on_progress: told (done, total) of the files that have to be read, (0, total) before the first.

    Raises:
        StorageError: the cache cannot be written. A bad image raises nothing; it is listed in `unreadable`.
    """
    folder = cache / FOLDER / ("images" if depth == FULL else f"images-depth{depth}") if cache else None
    how = max_pixels, depth
    with DigestMemo(cache) as memo:
        known = [digest or memo.recall(path) for digest, path in zip(digests or [""] * len(files), files, strict=True)]
        table = _Table(known, _blank(len(files), cache), {})
        groups = table.recall(folder, range(len(files)))
        stored = store.segments(folder) if folder and not all(known) else ()
        if on_progress and groups:
            on_progress(0, len(groups))
        in_store: list[int] = []
        for done, (positions, record, found) in enumerate(
            _described(files, known, groups, stored, folder, processes, how), start=1
        ):
            memo.note(files[positions[0]], found.digest, found.state)
            in_store += table.take(positions, record, found)
            if on_progress:
                on_progress(done, len(groups))
    lost = table.recall(folder, in_store)  # somebody emptied the store meanwhile
    for positions, record, found in _described(files, known, lost, (), folder, processes, how):
        table.take(positions, record, found)
    return table.fingerprints()


@dataclass(frozen=True)
class _Table:
    """What is known of each file so far."""

    digests: list[str]
    columns: dict[str, NDArray[Any]]
    unreadable: dict[int, str]

    def recall(self, folder: Path | None, positions: Sequence[int]) -> list[list[int]]:
        """Fill in what the store holds of these files; returns the others, those of one digest together."""
        rest = dict.fromkeys(positions)
        if folder:
            for places, records in store.recall(folder, [self.digests[position] for position in positions]):
                found = np.asarray(positions, np.int64)[places]
                _put(self.columns, found, records)
                for position in found.tolist():
                    del rest[position]
        groups: dict[str | int, list[int]] = {}
        for position in rest:
            groups.setdefault(self.digests[position] or position, []).append(position)
        return list(groups.values())

    def take(self, positions: list[int], record: Records, found: Described) -> list[int]:
        """Fill in what was read of some equal files; returns them where the store holds their record."""
        for position in positions:
            self.digests[position] = found.digest
        if found.why:
            self.unreadable.update(dict.fromkeys(positions, found.why))
        elif not found.is_stored:
            _put(self.columns, np.array(positions), np.repeat(record, len(positions)))
        return positions if found.is_stored else []

    def fingerprints(self) -> Fingerprints:
        pixels = [bytes(row).hex() for row in self.columns["pixels"]]
        for position in self.unreadable:
            self.digests[position] = pixels[position] = ""
        pdq, hog, thumbs = (self.columns[name] for name in ("pdq", "hog", "thumb"))
        unreadable = dict(sorted(self.unreadable.items()))
        return Fingerprints(tuple(self.digests), tuple(pixels), pdq, hog, thumbs, unreadable)


def _described(
    files: Sequence[Path], digests: Sequence[str], groups: Sequence[list[int]], stored: tuple[Path, ...],
    folder: Path | None, processes: int, how: tuple[int, int],
) -> Iterator[tuple[list[int], Records, Described]]:  # fmt: skip
    """The first file of each group described, in order; what is new is stored in `folder`."""
    parts = [groups[start : start + _IMAGES_PER_TASK] for start in range(0, len(groups), _IMAGES_PER_TASK)]
    tasks = [
        Task([files[group[0]] for group in part], [digests[group[0]] for group in part], *how, stored) for part in parts
    ]
    kept: list[Records] = []
    try:
        for part, (records, found) in zip(parts, spread(describe, tasks, min(processes, len(tasks))), strict=True):
            kept.append(records[[not each.why and not each.is_stored for each in found]])
            yield from zip(part, records[:, None], found, strict=True)
            if len(kept) * _IMAGES_PER_TASK >= _IMAGES_PER_SEGMENT:
                _store(folder, kept)
    finally:
        _store(folder, kept)


def _store(folder: Path | None, kept: list[Records]) -> None:
    if folder and kept:
        records = np.concatenate(kept)
        # Equal files whose digest nobody knew are described each; the store holds one.
        _, first = np.unique(records["digest"], axis=0, return_index=True)
        store.add(folder, records[np.sort(first)])
    kept.clear()


def _blank(count: int, cache: Path | None) -> dict[str, NDArray[Any]]:
    """An array of zeros for each field of a record."""
    return {name: zeros((count, *RECORD[name].shape), RECORD[name].base, cache) for name in RECORD.names or ()}


def _put(columns: dict[str, NDArray[Any]], positions: NDArray[np.int64], records: Records) -> None:
    for name, column in columns.items():
        column[positions] = records[name]
        release(column)
