"""Fingerprints of a pool of images: all that the guard needs to know of them, whatever they are compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.digests import digest_file, digest_files
from ssl_mask.data.images import open_regular
from ssl_mask.errors import ImageError
from ssl_mask.guard.copies import store
from ssl_mask.guard.copies.describe import Task, describe, reason
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
    processes: int = 1,
    max_pixels: int = 50_000_000,
    on_progress: Callable[[int, int], None] | None = None,
) -> Fingerprints:
    """Read and decode each image once; with a cache, once for ever.

    Args:
        cache: the project's cache folder, or None to keep nothing.
        max_pixels: larger pictures are unreadable.
        on_progress: told (done, total) of the pictures that have to be decoded.

    Raises:
        StorageError: the cache cannot be written. A bad image raises nothing; it is listed in `unreadable`.
    """
    folder = cache / FOLDER / "images" if cache else None
    digests, unreadable = _digests(files, cache)
    columns = _blank(len(files), cache)
    known: set[str] = {""}
    if folder:
        for positions, records in store.recall(folder, digests):
            _put(columns, positions, records)
            known.update(digests[position] for position in positions)
    places: dict[str, list[int]] = {}
    for position, digest in enumerate(digests):
        if digest not in known:
            places.setdefault(digest, []).append(position)
    for done, (digest, record, why) in enumerate(_described(files, places, folder, processes, max_pixels), start=1):
        if why:
            unreadable.update(dict.fromkeys(places[digest], why))
        else:
            _put(columns, np.array(places[digest]), np.repeat(record, len(places[digest])))
        if on_progress:
            on_progress(done, len(places))
    pixels = [bytes(row).hex() for row in columns["pixels"]]
    for position in unreadable:
        digests[position] = pixels[position] = ""
    unreadable = dict(sorted(unreadable.items()))
    return Fingerprints(tuple(digests), tuple(pixels), columns["pdq"], columns["hog"], columns["thumb"], unreadable)


def _digests(files: Sequence[Path], memo: Path | None) -> tuple[list[str], dict[int, str]]:
    """The digest of each file, "" where it cannot be read, and why."""
    with suppress(ImageError):
        return digest_files(files, memo), {}
    unreadable: dict[int, str] = {}
    for position, path in enumerate(files):
        try:
            open_regular(path).close()
        except ImageError as error:
            unreadable[position] = reason(path, error)
    digests = [""] * len(files)
    readable = [position for position in range(len(files)) if position not in unreadable]
    try:
        found = digest_files([files[position] for position in readable], memo)
    except ImageError:  # a damaged disk, or a file that was there a moment ago: each alone
        found = [_digest_or_reason(files[position], position, unreadable) for position in readable]
    for position, digest in zip(readable, found, strict=True):
        digests[position] = digest
    return digests, unreadable


def _digest_or_reason(path: Path, position: int, unreadable: dict[int, str]) -> str:
    try:
        return digest_file(path)
    except ImageError as error:
        unreadable[position] = reason(path, error)
        return ""


def _described(
    files: Sequence[Path], places: dict[str, list[int]], folder: Path | None, processes: int, max_pixels: int
) -> Iterable[tuple[str, Records, str]]:
    """(digest, record, reason) of each of `places`, in order; what is readable is stored."""
    digests = list(places)
    tasks = []
    for start in range(0, len(digests), _IMAGES_PER_TASK):
        part = digests[start : start + _IMAGES_PER_TASK]
        tasks.append(Task([files[places[digest][0]] for digest in part], part, max_pixels))
    kept: list[Records] = []
    try:
        for task, (records, reasons) in zip(tasks, spread(describe, tasks, min(processes, len(tasks))), strict=True):
            kept.append(records[[not why for why in reasons]])
            yield from zip(task.digests, records[:, None], reasons, strict=True)
            if len(kept) * _IMAGES_PER_TASK >= _IMAGES_PER_SEGMENT:
                _store(folder, kept)
    finally:
        _store(folder, kept)


def _store(folder: Path | None, kept: list[Records]) -> None:
    if folder and kept:
        store.add(folder, np.concatenate(kept))
    kept.clear()


def _blank(count: int, cache: Path | None) -> dict[str, NDArray[Any]]:
    """An array of zeros for each field of a record."""
    return {name: zeros((count, *RECORD[name].shape), RECORD[name].base, cache) for name in RECORD.names or ()}


def _put(columns: dict[str, NDArray[Any]], positions: NDArray[np.int64], records: Records) -> None:
    for name, column in columns.items():
        column[positions] = records[name]
        release(column)
