"""Fingerprints of a pool of images: all that the guard needs to know of them, whatever they are compared with."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.cache import Adding
from ssl_mask.data.depth import FULL
from ssl_mask.data.digests import DigestMemo
from ssl_mask.data.images import MAX_PIXELS, Resize
from ssl_mask.guard.copies import store
from ssl_mask.guard.copies.columns import Column, Rows, some
from ssl_mask.guard.copies.describe import Described, Task, describe
from ssl_mask.guard.copies.store import Records, Segment, Stored, made
from ssl_mask.guard.copies.workers import spread

FOLDER = "guard-v2"
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
    pdq: Rows
    """(n, 8, 32) uint8: the packed bits of the eight variants."""
    hog: Rows
    """(n, 6, 324) uint8: full frame and five windows, see `hogs`."""
    thumbs: Rows
    """(n, 128, 128) uint8: the whole picture in grey, squashed into a square; with the losses of a JPEG."""
    unreadable: dict[int, str]
    """Position of each file that is no readable image, and why."""

    def __len__(self) -> int:
        return len(self.digests)

    def at(self, positions: Sequence[int] | NDArray[np.int64]) -> Fingerprints:
        """Those of some files, in a new order."""
        rows = np.asarray(positions, np.int64)
        return Fingerprints(
            digests=tuple(self.digests[row] for row in rows),
            pixels=tuple(self.pixels[row] for row in rows),
            pdq=some(self.pdq, rows),
            hog=some(self.hog, rows),
            thumbs=some(self.thumbs, rows),
            unreadable={new: self.unreadable[row] for new, row in enumerate(rows.tolist()) if row in self.unreadable},
        )

    @property
    def content_digest(self) -> str:
        """SHA-256 over the sorted digests of the readable files, one a line: the same in any order of the files."""
        return hashlib.sha256("\n".join(sorted(d for d in self.digests if d)).encode()).hexdigest()


class Fitted(NamedTuple):
    """Who wants each picture that is decoded fitted into a square."""

    size: int
    """Its side in pixels."""
    resize: Resize
    add: Adding


def fingerprint(
    files: Sequence[Path],
    *,
    cache: Path | None,
    digests: Sequence[str] = (),
    processes: int = 1,
    max_pixels: int = MAX_PIXELS,
    depth: int = FULL,
    on_progress: Callable[[int, int], None] | None = None,
    fitted: Fitted | None = None,
) -> Fingerprints:
    """Read each image once; with a cache, once for ever.

    Args:
        cache: the project's cache folder, or None to keep nothing.
        digests: SHA-256 of each file, or "", where they are known already; a file with other bytes is unreadable then.
        max_pixels: larger pictures are unreadable.
        depth: bits in use of 16-bit images.
        on_progress: told (done, total) of the files that have to be read, (0, total) before the first.
        fitted: gets the small picture of each file that is decoded.

    Raises:
        StorageError: the cache cannot be written. A bad image raises nothing; it is listed in `unreadable`.
    """
    folder = images_folder(cache, depth) if cache else None
    how = _How(max_pixels, depth, fitted and (fitted.size, fitted.resize))
    with DigestMemo(cache) as memo:
        known = [digest or memo.recall(path) for digest, path in zip(digests or [""] * len(files), files, strict=True)]
        table = _Table(known, folder)
        groups = table.recall(range(len(files)))
        stored = store.segments(folder) if folder and not all(known) else ()
        if on_progress and groups:
            on_progress(0, len(groups))
        in_store: list[int] = []
        done = 0
        with table:
            for part, records, found in _described(files, known, groups, stored, processes, how):
                in_store += table.take(part, records, found)
                for positions, each in zip(part, found, strict=True):
                    memo.note(files[positions[0]], each.digest, each.state)
                    if fitted and each.fitted:
                        fitted.add(each.digest, *each.fitted)
                    done += 1
                    if on_progress:
                        on_progress(done, len(groups))
    with table:
        lost = table.recall(in_store)  # somebody emptied the store meanwhile
        for part, records, found in _described(files, known, lost, (), processes, how):
            table.take(part, records, found)
    return table.fingerprints()


class _How(NamedTuple):
    max_pixels: int
    depth: int
    square: tuple[int, Resize] | None

    @property
    def images_per_task(self) -> int:
        """Squares come back from the processes, not more than 4 MB at a time."""
        squares = 2**22 // (3 * self.square[0] ** 2) if self.square else _IMAGES_PER_TASK
        return max(1, min(_IMAGES_PER_TASK, squares))


def images_folder(cache: Path, depth: int) -> Path:
    """Where the fingerprints of images are kept, see `ssl_mask.guard.copies.store`."""
    return cache / FOLDER / ("images" if depth == FULL else f"images-depth{depth}")


class _Table:
    """What is known of each file so far. Leaving the `with` block keeps what is new."""

    def __init__(self, known: list[str], folder: Path | None) -> None:
        self._digests, self._pixels, self._unreadable = known, [""] * len(known), dict[int, str]()
        self._places = np.full((len(known), 2), -1, np.int64)
        self._segments: list[Segment | Stored] = []
        self._folder = folder
        self._new: list[tuple[list[int], NDArray[np.void], bytes]] = []

    def recall(self, positions: Sequence[int]) -> list[list[int]]:
        """Fill in what the store holds of these files; returns the others, those of one digest together."""
        rest = dict.fromkeys(positions)
        if self._folder:
            for found in store.recall(self._folder, [self._digests[position] for position in positions]):
                places = np.asarray(positions, np.int64)[found.positions]
                self._put(places, found.rows, found.segment)
                for position, pixels in zip(places.tolist(), found.pixels, strict=True):
                    self._pixels[position] = pixels
                    del rest[position]
        groups: dict[str | int, list[int]] = {}
        for position in rest:
            groups.setdefault(self._digests[position] or position, []).append(position)
        return list(groups.values())

    def take(self, part: Sequence[list[int]], records: Records, found: Sequence[Described]) -> list[int]:
        """Fill in what was read, a record for some equal files each; returns those whose record the store holds."""
        in_store: list[int] = []
        for positions, record, each in zip(part, records[:, None], found, strict=True):
            for position in positions:
                self._digests[position] = each.digest
            if each.why:
                self._unreadable.update(dict.fromkeys(positions, each.why))
            elif each.is_stored:
                in_store += positions
            else:
                self._new.append((positions, record, each.thumb))
        if len(self._new) >= _IMAGES_PER_SEGMENT:
            self._keep()
        return in_store

    def fingerprints(self) -> Fingerprints:
        for position in self._unreadable:
            self._digests[position] = self._pixels[position] = ""
        pdq, hog, thumbs = (Column(name, self._segments, self._places) for name in ("pdq", "hog", "thumb"))
        unreadable = dict(sorted(self._unreadable.items()))
        return Fingerprints(tuple(self._digests), tuple(self._pixels), pdq, hog, thumbs, unreadable)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._keep()

    def _keep(self) -> None:
        if not self._new:
            return
        # Equal files whose digest nobody knew are described each; one is kept.
        new = {self._digests[positions[0]]: (record, thumb) for positions, record, thumb in self._new}
        row_of = {digest: row for row, digest in enumerate(new)}
        places = [(position, row_of[self._digests[p[0]]]) for p, _, _ in self._new for position in p]
        self._new.clear()
        segment = made(np.concatenate([record for record, _ in new.values()]), [thumb for _, thumb in new.values()])
        positions, rows = np.array(places, np.int64).T
        for position, pixels in zip(positions.tolist(), segment.records["pixels"][rows], strict=True):
            self._pixels[position] = pixels.tobytes().hex()
        if self._folder:
            self._put(positions, rows, store.add(self._folder, segment))
        elif len(new) < _IMAGES_PER_SEGMENT:
            self._put(positions, rows, segment)
        else:  # many of them are more than the memory holds; mapped, they are there without a name
            with tempfile.TemporaryDirectory() as folder:
                self._put(positions, rows, store.mapped(store.add(Path(folder), segment).path))

    def _put(self, positions: NDArray[np.int64], rows: NDArray[np.int64], segment: Segment | Stored) -> None:
        self._places[positions] = np.stack([np.full(len(rows), len(self._segments)), rows], axis=1)
        self._segments.append(segment)


def _described(
    files: Sequence[Path], digests: Sequence[str], groups: Sequence[list[int]], stored: tuple[Path, ...],
    processes: int, how: _How,
) -> Iterator[tuple[Sequence[list[int]], Records, list[Described]]]:  # fmt: skip
    """The first file of each group, some at a time, in order."""
    each = how.images_per_task
    parts = [groups[start : start + each] for start in range(0, len(groups), each)]
    tasks = [
        Task([files[group[0]] for group in part], [digests[group[0]] for group in part], how.max_pixels, how.depth,
             stored, how.square)
        for part in parts
    ]  # fmt: skip
    described = spread(describe, tasks, min(processes, len(tasks)))
    for part, (records, found) in zip(parts, described, strict=True):
        yield part, records, found
