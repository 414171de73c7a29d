"""Which pairs of two pools are worth a look at their pixels: near PDQ hashes, or like whitened HOG descriptors.

PDQ finds copies that were re-encoded, scaled, recoloured, inverted, mirrored or turned by quarters. A crop moves every
bit of it; there the HOG of one picture's full frame is like that of a window in the other. HOGs of aligned faces are
all alike, so they are whitened (Hariharan et al. 2012): what all pictures share counts little, what tells them apart
counts much.

Everything works in blocks: memory grows with the pairs that are found and with the smaller pool, not with the pairs
that are looked at.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.guard.copies.columns import Rows
from ssl_mask.guard.copies.pdq import near
from ssl_mask.guard.copies.search import Pool, alike, steps
from ssl_mask.guard.copies.whitening import whitening

PDQ_RADIUS = 60
_FITTED = 2**17  # pictures of each pool, evenly spread, of which the whitening is made
_UPRIGHT = 0b00010001  # bits of the variants 0 and 4: as it is, and mirrored
_SWAPPED = np.array([(v & 0b11110101) | (v & 0b10) << 2 | (v & 0b1000) >> 2 for v in range(256)], np.uint8)
_BLOCK = 1024

Progress = Callable[[int, int], None]


class Descriptors(NamedTuple):
    """Those of some rows of a pool. The order of `rows` decides how sums are rounded, so it should not be chance."""

    pdq: Rows
    """(n, 8, 32)."""
    hog: Rows
    """(n, 6, 324)."""
    rows: NDArray[np.int64]
    """(m,)."""
    nearest: bool = True
    """Whether the nearest of each are candidates, however unlike they are."""

    def pool(self) -> Pool:
        return Pool(len(self.rows), self._hogs, self.nearest)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """HOGs (k, 324) of full frames, some at a time, evenly spread over the pool where it is large."""
        rows = self.rows[:: -(-len(self.rows) // _FITTED) or 1]
        for start in range(0, len(rows), _BLOCK):
            yield self.hog[rows[start : start + _BLOCK]][:, 0]

    def _hogs(self, part: slice) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = self.hog[self.rows[part]]
        return found


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
    turned = len(first.rows) > len(second.rows)
    smaller = (second if turned else first).pool()
    larger = smaller if within else (first if turned else second).pool()
    total = steps(smaller, larger)
    if on_progress:
        on_progress(0, total)
    hits = [Hits(*found) for found in near(first.pdq[first.rows], second.pdq[second.rows], PDQ_RADIUS)]
    if within:
        hits = [part for found in hits for part in _ascending(found)]
    white = whitening(itertools.chain.from_iterable(pool.frames() for pool in ([first] if within else [first, second])))
    for done, (i, j) in enumerate(alike(smaller, larger, white), start=1):
        found = Hits(i, j, np.full(len(i), _UPRIGHT, np.uint8))
        hits.append(found.swapped() if turned else found)
        if on_progress:
            on_progress(min(done, total), total)
    return _merged(hits, len(second.rows))


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
