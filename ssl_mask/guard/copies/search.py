"""Pairs of pictures of two pools of which the one's full frame is like a window of the other, by whitened HOGs.

Each picture is projected once: those of the smaller pool are held in memory, those of the larger one pass by. Time
grows with the product of the pools, memory with the smaller one.

Up to a billion pairs, all cosines of each pair are computed. Beyond, two means stand for the six windows (one of full
frame and middle, which resemble each other, one of the corners), in half of the dimensions; where these are near, the
cosines are computed, and more is asked of them: of faces, 3 in 1,000 pairs reach 0.45, and to verify a pair takes
longer than to compare ten thousand. `guard_scale.py --recall` measures what is lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask import cluster
from ssl_mask.guard.copies.nearest import Nearest, places
from ssl_mask.guard.copies.whitening import Whitening, cosines, unit
from ssl_mask.guard.copies.workers import spread

HOG_COSINE = 0.45

_NEAREST = 2
"""So many of each picture are candidates, however unlike they are: whitening is weak in small pools, where a copy may
stay below the threshold. For a million pictures, to verify two each would take hours."""
_NEAREST_UP_TO = 10_000  # pictures of a pool
_EXACT_UP_TO = 10**9  # pairs
_QUICK_COSINE = 0.52  # in place of HOG_COSINE: loses 3 of 3,120 altered copies of faces, and 14 of 15 other pairs
_SKETCH_DIMENSIONS, _SKETCH_COSINE = 128, 0.40
_GROUPS = (slice(0, 2), slice(2, 6))  # of _ORDER
_ORDER = [0, 5, 1, 2, 3, 4]
_HELD = 2**17  # pictures of the smaller pool at a time: 1 GB
_BLOCK, _TILE = 512, 1024  # pictures of the larger, of the smaller pool: their cosines fit into a processor's cache
_BLOCKS_PER_TASK = 8  # of the larger pool
_PAIRS_AT_ONCE = 2048
_NONE = -2.0  # less than any cosine

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
Cosines = NDArray[np.float32]
_Found = tuple[list[Pairs], Nearest, Nearest]


class Pool(NamedTuple):
    size: int
    hogs: Callable[[slice], NDArray[np.generic]]
    """Those of some pictures, (k, 6, 324): of the full frame and five windows."""
    nearest: bool = True
    """Whether the nearest of each are candidates, however unlike they are."""

    def slices(self, length: int) -> Iterator[slice]:
        return _slices(self.size, length)


def is_exact(first: int, second: int) -> bool:
    """Whether all cosines of so many pictures with so many others are computed."""
    return first * second <= _EXACT_UP_TO


def steps(smaller: Pool, larger: Pool) -> int:
    """How many parts `alike` yields, but for the last one."""
    return -(-smaller.size // _HELD) * -(-larger.size // _BLOCK)


def alike(smaller: Pool, larger: Pool, white: Whitening) -> Iterator[Pairs]:
    """Places in the one and in the other pool, in no special order; a pair may come twice.

    With `smaller is larger`, only pairs of a lower place with a higher one.
    """
    within = smaller is larger
    exact = is_exact(smaller.size, larger.size)
    mine = Nearest(smaller.size if smaller.nearest and smaller.size <= _NEAREST_UP_TO else 0, _NEAREST - within)
    theirs = (
        mine if within else Nearest(larger.size if larger.nearest and larger.size <= _NEAREST_UP_TO else 0, _NEAREST)
    )
    if cluster.in_use() and not within:
        yield from _shared_out(smaller, larger, white, mine, theirs, exact=exact)
    else:
        yield from _passing(smaller, larger, _Way.of(white, exact=exact), mine, theirs)
    yield from _nearest(mine, theirs, within=within)


def _passing(smaller: Pool, larger: Pool, way: _Way, mine: Nearest, theirs: Nearest) -> Iterator[Pairs]:
    """The pairs above the threshold, block by block; what is nearest is noted."""
    within = smaller is larger
    for rows in smaller.slices(_HELD):
        held = way.views(smaller.hogs(rows))
        for columns in larger.slices(_BLOCK):
            if within and columns.stop <= rows.start:
                yield _pairs([])
                continue
            passing, found = way.views(larger.hogs(columns)), []
            for tile in _slices(len(held.windows), _TILE):
                row, column = rows.start + tile.start, columns.start
                best = way.compared(held.at(tile), passing)
                if within:
                    best[np.arange(row, row + len(best))[:, None] >= np.arange(column, column + best.shape[1])] = _NONE
                i, j = places(best >= (HOG_COSINE if way.is_exact else _QUICK_COSINE))
                found.append((i + row, j + column))
                mine.offer(best, row, column)
                theirs.offer(best.T, column, row)
            yield _pairs(found)


def _shared_out(
    smaller: Pool, larger: Pool, white: Whitening, mine: Nearest, theirs: Nearest, *, exact: bool
) -> Iterator[Pairs]:
    """The same by the processes of a cluster; each has whole blocks of the larger pool: the bits are the same."""
    for rows in smaller.slices(_HELD):
        work = partial(_part, white, smaller.hogs(rows), (len(mine), len(theirs)), exact)
        parts = list(larger.slices(_BLOCK * _BLOCKS_PER_TASK))
        each: Iterator[_Found] = spread(work, map(larger.hogs, parts), 1)
        for part, (found, ours, others) in zip(parts, each, strict=True):
            mine.join(ours, rows.start, part.start)
            theirs.join(others, part.start, rows.start)
            yield from ((i + rows.start, j + part.start) for i, j in found)


def _part(
    white: Whitening, held: NDArray[np.generic], noted: tuple[int, int], exact: bool, passing: NDArray[np.generic]
) -> _Found:
    """Compares HOGs of a part of the larger pool with those of some pictures of the smaller one.

    Args:
        noted: whether the nearest of each are, in the smaller and in the larger pool.
    """
    smaller, larger = (Pool(len(hogs), hogs.__getitem__) for hogs in (held, passing))
    mine, theirs = (Nearest(p.size if n else 0, _NEAREST) for p, n in zip((smaller, larger), noted, strict=True))
    return list(_passing(smaller, larger, _Way.of(white, exact=exact), mine, theirs)), mine, theirs


def _nearest(mine: Nearest, theirs: Nearest, *, within: bool) -> Iterator[Pairs]:
    i, j = mine.pairs()
    yield (np.minimum(i, j), np.maximum(i, j)) if within else (i, j)
    if not within:
        yield theirs.pairs()[::-1]


class _Views(NamedTuple):
    """Some pictures, projected."""

    windows: NDArray[np.float32]
    """(n, 6, 256): full frame and middle, then the corners."""
    frame: NDArray[np.float32]
    """(n, 128) of the full frame."""
    groups: NDArray[np.float32]
    """(2, n, 128) means of windows; like `frame` of no length in an exact search."""

    def at(self, tile: slice) -> _Views:
        return _Views(self.windows[tile], self.frame[tile], self.groups[:, tile])


class _Way(NamedTuple):
    """How pictures are compared."""

    white: Whitening
    strongest: NDArray[np.int64]
    """The axes of the first pass; none for an exact search."""
    even: int
    """How many of them are even."""
    memory: NDArray[np.float32]
    """For three times the cosines of a tile: to take new memory each time would cost as much as to compute them."""

    @property
    def is_exact(self) -> bool:
        return len(self.strongest) == 0

    @classmethod
    def of(cls, white: Whitening, *, exact: bool) -> _Way:
        return cls(
            white, *white.strongest(0 if exact else _SKETCH_DIMENSIONS), np.empty(3 * _TILE * _BLOCK, np.float32)
        )

    def views(self, hogs: NDArray[np.generic]) -> _Views:
        windows = self.white.project(hogs[:, _ORDER])
        if self.is_exact:
            return _Views(windows, windows[:, 0, :0], windows[:, :2, :0].swapaxes(0, 1))
        leading = windows[:, :, self.strongest]
        means = np.stack([leading[:, group].sum(axis=1) for group in _GROUPS])
        return _Views(windows, unit(leading[:, 0]), unit(means))

    def compared(self, first: _Views, second: _Views) -> Cosines:
        """(n, m) cosines, the highest of each pair; those that the first pass leaves out are -2.

        Valid until the next call.
        """
        shape = 3, len(first.windows), len(second.windows)
        memory = self.memory[: math.prod(shape)].reshape(shape)
        best: Cosines = memory[0]
        space = memory[1:]
        best[:] = _NONE
        (self._all if self.is_exact else self._near)(first, second, best, space)
        return best

    def _all(self, first: _Views, second: _Views, best: Cosines, space: Cosines) -> None:
        even = self.white.even
        for window in range(len(_ORDER)):
            np.maximum(best, cosines(first.windows[:, 0], second.windows[:, window], even, space), out=best)
            if window:
                np.maximum(best, cosines(first.windows[:, window], second.windows[:, 0], even, space), out=best)

    def _near(self, first: _Views, second: _Views, best: Cosines, space: Cosines) -> None:
        for group, means, others in zip(_GROUPS, first.groups, second.groups, strict=True):
            i, j = places(cosines(first.frame, others, self.even, space) >= _SKETCH_COSINE)
            self._each(first.windows[:, 0], second.windows[:, group], i, j, best)
            i, j = places(cosines(means, second.frame, self.even, space) >= _SKETCH_COSINE)
            self._each(second.windows[:, 0], first.windows[:, group], j, i, best.T)

    def _each(
        self, frames: Cosines, windows: Cosines, i: NDArray[np.int64], j: NDArray[np.int64], best: Cosines
    ) -> None:
        """Of frame i with the windows of picture j."""
        even = self.white.even
        for part in _slices(len(i), _PAIRS_AT_ONCE):
            rows, columns = i[part], j[part]
            frame, window = frames[rows], windows[columns]
            same = np.einsum("nd,nwd->nw", frame[:, :even], window[:, :, :even])
            same += np.abs(np.einsum("nd,nwd->nw", frame[:, even:], window[:, :, even:]))
            best[rows, columns] = np.maximum(best[rows, columns], same.max(axis=1))


def _slices(count: int, length: int) -> Iterator[slice]:
    for start in range(0, count, length):
        yield slice(start, min(start + length, count))


def _pairs(parts: list[Pairs]) -> Pairs:
    none = np.empty(0, np.int64)
    i, j = (np.concatenate(columns) for columns in zip(*parts, (none, none), strict=True))
    return i, j
