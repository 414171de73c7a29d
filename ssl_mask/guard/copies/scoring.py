"""Scores of many candidate pairs: remembered ones are looked up, the others are verified by several processes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.guard.copies.candidates import Hits
from ssl_mask.guard.copies.columns import Kept, kept
from ssl_mask.guard.copies.fingerprints import Fingerprints
from ssl_mask.guard.copies.pair_store import Scores, pair_keys
from ssl_mask.guard.copies.pictures import Pictures
from ssl_mask.guard.copies.verification import View, similarity, view
from ssl_mask.guard.copies.workers import spread

_PAIRS_PER_TASK = 128
_PAIRS_PER_SEGMENT = 2**14  # what a kill can lose: some seconds of work
_TILE = 512  # pictures of the second pool that are kept ready while those of the first pass by
_READY = 768  # pictures, 130 kB each


class _Task(NamedTuple):
    thumbs: list[Kept]
    pairs: NDArray[np.int64]
    """(n, 2) rows of `thumbs`."""
    variants: NDArray[np.uint8]
    """(n,) a bit for each variant of the second that is tried."""


class Side(NamedTuple):
    prints: Fingerprints
    pictures: Pictures


def scores_of(
    hits: Hits, first: Side, second: Side, *, known: Scores, processes: int, on_progress: Callable[[int], None]
) -> NDArray[np.float32]:
    """(pairs,) the similarity of each pair; `on_progress` is told how many are done. New scores are remembered."""
    digests = first.pictures.digests[hits.first], second.pictures.digests[hits.second]
    # A pair has one score, whichever pool is named first: the lower digest is.
    turned = _number(digests[0]) > _number(digests[1])
    variants = np.where(turned, hits.swapped().variants, hits.variants)
    lower, higher = (np.where(turned[:, None], digests[1 - side], digests[side]) for side in (0, 1))
    keys = pair_keys(lower, higher, variants)
    scores = known.find(keys)
    todo = np.flatnonzero(np.isnan(scores))
    # Tile by tile, so that a worker has most pictures ready.
    todo = todo[np.lexsort((hits.second[todo], hits.first[todo], hits.second[todo] // _TILE))]
    parts = [todo[start : start + _PAIRS_PER_TASK] for start in range(0, len(todo), _PAIRS_PER_TASK)]
    tasks = (_task(hits, first, second, turned, variants, part) for part in parts)
    done = saved = 0
    on_progress(len(scores) - len(todo))
    try:
        for part, found in zip(parts, spread(_verify, tasks, min(processes, len(parts))), strict=True):
            scores[part] = found
            done += len(part)
            on_progress(len(scores) - len(todo) + done)
            if done - saved >= _PAIRS_PER_SEGMENT:
                known.add(keys[todo[saved:done]], scores[todo[saved:done]])
                saved = done
    finally:
        _ready.cache_clear()  # of this process, where there is no other
        known.add(keys[todo[saved:done]], scores[todo[saved:done]])
    return scores


def _task(
    hits: Hits,
    first: Side,
    second: Side,
    turned: NDArray[np.bool_],
    variants: NDArray[np.uint8],
    part: NDArray[np.int64],
) -> _Task:
    a, row_a = np.unique(first.pictures.positions[hits.first[part]], return_inverse=True)
    b, row_b = np.unique(second.pictures.positions[hits.second[part]], return_inverse=True)
    thumbs = kept(first.prints.thumbs, a) + kept(second.prints.thumbs, b)
    pairs = np.stack([row_a, row_b + len(a)], axis=1)
    return _Task(thumbs, np.where(turned[part, None], pairs[:, ::-1], pairs), variants[part])


def _verify(task: _Task) -> NDArray[np.float32]:
    ready = [_ready(thumb) for thumb in task.thumbs]
    pairs = zip(task.pairs.tolist(), task.variants.tolist(), strict=True)
    scores = [similarity(ready[i], ready[j], _numbers(bits)) for (i, j), bits in pairs]
    return np.array(scores, np.float32)


@lru_cache(maxsize=_READY)
def _ready(picture: Kept) -> View:
    """Kept from task to task: a picture is in many pairs, and to make it ready takes as long as half a pair."""
    return view(picture.thumb)


def _numbers(bits: int) -> tuple[int, ...]:
    return tuple(number for number in range(8) if bits >> number & 1)


def _number(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first 64 of 256 bits: enough to put two digests in order."""
    return np.ascontiguousarray(digests).view(">u8")[:, 0].astype(np.uint64)
