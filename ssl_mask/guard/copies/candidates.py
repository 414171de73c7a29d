"""Which pairs of two pools are worth a look at their pixels: near PDQ hashes, or like whitened HOG descriptors.

PDQ finds copies that were re-encoded, scaled, recoloured, inverted, mirrored or turned by quarters. A crop moves every
bit of it; there the HOG of one picture's full frame is like that of a window in the other. HOGs of aligned faces are
all alike, so they are whitened (Hariharan et al. 2012): what all pictures share counts little, what tells them apart
counts much.

Everything works in blocks: memory grows with the pairs that are found, not with those that are looked at.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.guard.copies.memory import release
from ssl_mask.guard.copies.pdq import near

PDQ_RADIUS = 60
HOG_COSINE = 0.45

_DIMENSIONS = 256
_NEAREST = 2
"""So many of each picture are verified, however unlike they are: in small pools a copy may stay below the threshold."""
_RIDGE = 0.03, 100
"""Of n images, 0.03 + (100 / n)² times the largest variance is added to each: else directions that only noise fills,
which are most of them in a small pool, would count as much as the others."""
_UPRIGHT = 0b00010001  # bits of the variants 0 and 4: as it is, and mirrored
_SWAPPED = np.array([(v & 0b11110101) | (v & 0b10) << 2 | (v & 0b1000) >> 2 for v in range(256)], np.uint8)
_BLOCK = 1024
_FULL, _MIRRORED, _WINDOWS = 0, 6, 6

Project = Callable[[NDArray[np.float16]], NDArray[np.float32]]
Progress = Callable[[int, int], None]


class Descriptors(NamedTuple):
    """Those of some rows of a pool. The order of `rows` decides how sums are rounded, so it should not be chance."""

    pdq: NDArray[np.uint8]
    """(n, 8, 32)."""
    hog: NDArray[np.float16]
    """(n, 7, 324)."""
    rows: NDArray[np.int64]
    """(m,)."""

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float16]]]:
        """Place in `rows` and HOGs of a thousand images at a time."""
        for start in range(0, len(self.rows), _BLOCK):
            yield start, self.hog[self.rows[start : start + _BLOCK]]
        release(self.hog)


class Hits(NamedTuple):
    first: NDArray[np.int64]
    """(pairs,) places in the rows of the first pool."""
    second: NDArray[np.int64]
    """(pairs,) places in the rows of the second pool."""
    variants: NDArray[np.uint8]
    """(pairs,) bit v is set where `variant(second, v)` may be like the first."""

    def at(self, rows: NDArray[Any] | slice) -> Hits:
        return Hits(self.first[rows], self.second[rows], self.variants[rows])

    def swapped(self) -> Hits:
        """The same pairs the other way round: a quarter turn to the left becomes one to the right."""
        return Hits(self.second, self.first, _SWAPPED[self.variants])


def candidates(first: Descriptors, second: Descriptors, on_progress: Progress | None = None) -> Hits:
    """Each pair once, sorted. With `first is second`, only pairs of a lower row with a higher one.

    `on_progress` is told (done, total) of the blocks of HOGs, which take nearly all of the time.
    """
    within = first is second
    pools = [(first, second)] if within else [(first, second), (second, first)]
    total = sum(-(-len(queries.rows) // _BLOCK) for queries, _ in pools)
    done = itertools.count(1)
    if on_progress:
        on_progress(0, total)
    hits = list(_near_hashes(first, second))
    project = whitening([first] if within else [first, second])
    for queries, images in pools:
        for found in _alike(queries, images, project):
            hits.append(found if queries is first else found.swapped())
            if on_progress:
                on_progress(next(done), total)
    if within:
        hits = [part for found in hits for part in _ascending(found)]
    return _merged(hits, len(second.rows))


def _near_hashes(first: Descriptors, second: Descriptors) -> Iterator[Hits]:
    upright = np.ascontiguousarray(first.pdq[first.rows, 0])
    for number in range(8):
        turned = np.ascontiguousarray(second.pdq[second.rows, number])
        # In the hash of a picture's negative every bit is another one.
        for hashes in (turned, ~turned):
            for i, j in near(upright, hashes, PDQ_RADIUS):
                yield Hits(i, j, np.full(len(i), 1 << number, np.uint8))


def _alike(queries: Descriptors, images: Descriptors, project: Project) -> Iterator[Hits]:
    """Full frames of the one, as they are or mirrored, that are like a window of the other, block by block."""
    for start, frames in queries.blocks():
        wanted = _stacked(project(frames[:, [_FULL, _MIRRORED]]))
        codes = [np.empty(0, np.int64)]
        nearest: list[tuple[NDArray[np.float32], NDArray[np.int64]]] = []
        for place, hogs in images.blocks():
            cosines = wanted @ _stacked(project(hogs[:, :_WINDOWS])).T
            best = cosines.reshape(2, len(frames), _WINDOWS, len(hogs)).max(axis=(0, 2))
            row, column = np.divmod(np.flatnonzero(best >= HOG_COSINE), len(hogs))
            codes.append((start + row) * len(images.rows) + place + column)
            nearest = [_strongest([*nearest, (best, np.broadcast_to(place + np.arange(len(hogs)), best.shape))])]
        for _, column in nearest:
            codes.append(((start + np.arange(len(frames)))[:, None] * len(images.rows) + column).ravel())
        i, j = np.divmod(np.concatenate(codes), max(1, len(images.rows)))
        yield Hits(i, j, np.full(len(i), _UPRIGHT, np.uint8))


def _stacked(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(images, kinds, 256) to (kinds * images, 256): maxima over kinds are then of whole lines, which is quick."""
    return np.ascontiguousarray(descriptors.swapaxes(0, 1)).reshape(-1, descriptors.shape[-1])


def _strongest(
    parts: list[tuple[NDArray[np.float32], NDArray[np.int64]]],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The _NEAREST columns of each row: their cosines, and which images they are."""
    cosines, images = (np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True))
    if cosines.shape[1] <= _NEAREST:
        return cosines, images
    place = np.argpartition(cosines, -_NEAREST, axis=1)[:, -_NEAREST:]
    return np.take_along_axis(cosines, place, axis=1), np.take_along_axis(images, place, axis=1)


def whitening(pools: list[Descriptors]) -> Project:
    """What takes (..., 324) descriptors to (..., 256) of length 1, fitted on the full frames of all pools."""
    count, total, products = 0, np.zeros(324), np.zeros((324, 324))
    for pool in pools:
        for _, hogs in pool.blocks():
            frames = hogs[:, _FULL].astype(np.float64)
            count, total, products = count + len(frames), total + frames.sum(axis=0), products + frames.T @ frames
    mean = total / max(1, count)
    variances, axes = np.linalg.eigh(products / max(1, count) - np.outer(mean, mean))
    strongest = slice(-1, -_DIMENSIONS - 1, -1)
    ridge = (_RIDGE[0] + (_RIDGE[1] / max(1, count)) ** 2) * variances[-1]
    spread = np.sqrt(np.maximum(variances[strongest], 0) + ridge + 1e-12)
    matrix, centre = (axes[:, strongest] / spread).astype(np.float32), mean.astype(np.float32)

    def project(hogs: NDArray[np.float16]) -> NDArray[np.float32]:
        white = (hogs.astype(np.float32) - centre) @ matrix
        result: NDArray[np.float32] = white / np.maximum(np.linalg.norm(white, axis=-1, keepdims=True), 1e-6)
        return result

    return project


def _ascending(hits: Hits) -> Iterator[Hits]:
    """Within one pool: no picture with itself, and each pair from its lower row."""
    up, down = hits.first < hits.second, hits.first > hits.second
    yield hits.at(up)
    yield hits.at(down).swapped()


def _merged(hits: list[Hits], width: int) -> Hits:
    none = Hits(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8))
    first, second, variants = (np.concatenate(columns) for columns in zip(*hits, none, strict=True))
    codes, place = np.unique(first * width + second, return_inverse=True)
    merged = np.full(len(codes), _UPRIGHT, np.uint8)
    np.bitwise_or.at(merged, place, variants)
    return Hits(*np.divmod(codes, max(1, width)), merged)
