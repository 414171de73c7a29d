"""Fingerprints of altered copies that exist in memory alone: none is kept, and no altered picture is written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.depth import FULL
from ssl_mask.data.digests import read_file
from ssl_mask.data.images import MAX_PIXELS, decode
from ssl_mask.errors import DataError, InputError
from ssl_mask.guard.copies.alterations import Alteration, alter
from ssl_mask.guard.copies.columns import Column, after
from ssl_mask.guard.copies.describe import describe_pictures
from ssl_mask.guard.copies.fingerprints import Fingerprints
from ssl_mask.guard.copies.store import Records, made
from ssl_mask.guard.copies.workers import spread


class Planted(NamedTuple):
    """Altered copies, those of one original together."""

    records: Records
    """(copies,)."""
    thumbs: tuple[bytes, ...]
    """(copies,) small grey pictures as JPEG."""
    originals: NDArray[np.int64]
    """(copies,) which of the originals."""
    alterations: NDArray[np.str_]
    """(copies,) the name of the alteration."""

    def of(self, names: Sequence[str]) -> Planted:
        """Those by some alterations."""
        rows = np.isin(self.alterations, names)
        thumbs = tuple(self.thumbs[row] for row in np.flatnonzero(rows))
        return Planted(self.records[rows], thumbs, self.originals[rows], self.alterations[rows])


class _Task(NamedTuple):
    path: Path
    digest: str
    alterations: Mapping[str, Alteration]
    seed: int
    max_pixels: int
    depth: int


def plant(
    files: Sequence[Path], digests: Sequence[str], alterations: Mapping[str, Alteration], *, seed: int,
    processes: int = 1, max_pixels: int = MAX_PIXELS, depth: int = FULL,
    on_progress: Callable[[int, int], None] | None = None,
) -> Planted:  # fmt: skip
    """Every original through every alteration. What cannot be made or read again (a side of 20,000 pixels as WebP, more
    than `max_pixels` at double size) is left out.

    Args:
        digests: SHA-256 of each file, as it was when its pool was read.
        alterations: name -> alteration; their functions must be importable, as worker processes get them.
        on_progress: told (done, total) of the originals.

    Raises:
        DataError: an original cannot be read any more, or was changed.
    """
    tasks = [_Task(*file, alterations, seed, max_pixels, depth) for file in zip(files, digests, strict=True)]
    records, thumbs = [describe_pictures([])[0]], list[bytes]()
    originals, names = [np.empty(0, np.int64)], [np.empty(0, np.str_)]
    if on_progress:
        on_progress(0, len(tasks))
    for original, (known, record, pictures) in enumerate(spread(_copies, tasks, min(processes, len(tasks)))):
        records.append(record)
        thumbs += pictures
        originals.append(np.full(len(known), original))
        names.append(np.array(known, np.str_))
        if on_progress:
            on_progress(original + 1, len(tasks))
    return Planted(np.concatenate(records), tuple(thumbs), np.concatenate(originals), np.concatenate(names))


def _copies(task: _Task) -> tuple[list[str], Records, list[bytes]]:
    """The names of the copies of one original that could be made, and what is kept of them."""
    content, digest, _ = read_file(task.path)
    if digest != task.digest:
        raise DataError(f"{task.path}: it was changed while the audit ran.", hint="Run the audit again.")
    photo = decode(task.path, content, max_pixels=task.max_pixels, depth=task.depth)
    names, pictures = [], []
    for name, alteration in task.alterations.items():
        try:
            data = alter(photo, content, name, alteration, seed=task.seed)
            picture = decode(task.path, data, max_pixels=task.max_pixels)
        except (InputError, OSError, ValueError, MemoryError, cv2.error):  # as PIL and OpenCV refuse what is too large
            continue
        names.append(name)
        pictures.append((hashlib.sha256(data).hexdigest(), picture))
    return names, *describe_pictures(pictures)


def among(planted: Planted, pool: Fingerprints) -> Fingerprints:
    """The copies, and after them the images of a pool, as one pool to search.

    The pool's thumbs are left out (they read as black): only pairs with copies may be verified.
    """
    segment, count = made(planted.records, planted.thumbs), len(planted.records)
    places = np.full((count + len(pool), 2), -1, np.int64)
    places[:count] = np.stack([np.zeros(count, np.int64), np.arange(count)], axis=1)
    return Fingerprints(
        digests=tuple(bytes(row).hex() for row in segment.records["digest"]) + pool.digests,
        # Copies stand first, so that of equal pictures it is the copy's thumb that is looked at.
        pixels=tuple(bytes(row).hex() for row in segment.records["pixels"]) + pool.pixels,
        pdq=after(segment, "pdq", pool.pdq),
        hog=after(segment, "hog", pool.hog),
        thumbs=Column("thumb", [segment], places),
        unreadable={count + row: why for row, why in pool.unreadable.items()},
    )
