"""Which images of two pools are the same picture: equal bytes, equal pixels, or near copies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.guard.copies.candidates import PDQ_RADIUS, Descriptors, Hits, candidates
from ssl_mask.guard.copies.fingerprints import FOLDER, Fingerprints
from ssl_mask.guard.copies.pair_store import Scores, hits_name, load_hits, save_hits
from ssl_mask.guard.copies.pictures import Positions, equal, files_of, pictures
from ssl_mask.guard.copies.scoring import Side, scores_of
from ssl_mask.guard.copies.search import HOG_COSINE

__all__ = ["HOG_COSINE", "METHOD_VERSION", "NEAR", "PDQ_RADIUS", "REVIEW", "Match", "match"]

NEAR, REVIEW = 0.95, 0.92
METHOD_VERSION = f"pdq{PDQ_RADIUS}-hog{HOG_COSINE}-zncc-v7"
"""Changes with whatever changes a candidate or a score."""

_PAIRS_AT_ONCE = 2**20

Kind = Literal["bytes", "pixels", "near", "review"]
Skip = Callable[[Positions, Positions], NDArray[np.bool_]]
Progress = Callable[[int, int], None]


class Match(NamedTuple):
    first: int
    second: int
    kind: Kind
    score: float
    """1 for equal bytes and equal pixels, else the correlation of blocks (see `verify`)."""


def match(
    first: Fingerprints,
    second: Fingerprints,
    *,
    cache: Path | None,
    processes: int = 1,
    skip: Skip | None = None,
    on_progress: Progress | None = None,
) -> list[Match]:
    """All pairs of an image of the first pool with one of the second that show the same picture.

    Neither the order of the files nor the number of processes changes what is found. Unreadable files match nothing.

    Args:
        first: the protected pool. With `first is second`, a pair is given once, lower position first.
        cache: the project's cache folder, or None to keep nothing.
        skip: given positions (n,) and (n,), True for each pair that need not be looked at.
        on_progress: told (done, total): of the blocks searched for candidates, then of the candidates verified.

    Returns:
        Sorted by positions; of each pair the strongest kind that holds.

    Raises:
        StorageError: the cache cannot be written.
    """
    left = Side(first, pictures(first))
    right = left if first is second else Side(second, pictures(second))
    folder = cache / FOLDER / METHOD_VERSION if cache else None
    known = Scores(folder / "scores" if folder else None)
    hits = _candidates(left, right, folder, on_progress)
    total = len(hits.first)
    found = _matches(equal(left.pictures, right.pictures), left, right, skip, lambda part: np.ones(len(part.first)))
    for start in range(0, total, _PAIRS_AT_ONCE):

        def tell(done: int, start: int = start) -> None:
            if on_progress:
                on_progress(start + done, total)

        score = partial(scores_of, first=left, second=right, known=known, processes=processes, on_progress=tell)
        found += _matches(hits.at(slice(start, start + _PAIRS_AT_ONCE)), left, right, skip, score)
    return sorted(found)


def _candidates(left: Side, right: Side, folder: Path | None, on_progress: Progress | None) -> Hits:
    """Of pictures that are not equal; remembered for as long as both pools hold the same pictures."""
    sides = [left] if left is right else [left, right]
    path = folder / "candidates" / hits_name([side.pictures.digests for side in sides]) if folder else None
    if path and (remembered := load_hits(path)):
        return remembered
    pools = [Descriptors(side.prints.pdq, side.prints.hog, side.pictures.positions) for side in sides]
    hits = candidates(pools[0], pools[-1], on_progress)
    differ = left.pictures.digests[hits.first] != right.pictures.digests[hits.second]
    hits = hits.at(differ.any(axis=1))
    if path:
        save_hits(path, hits)
    return hits


def _matches(
    hits: Hits, left: Side, right: Side, skip: Skip | None, score: Callable[[Hits], NDArray[np.floating[Any]]]
) -> list[Match]:
    """The files that show these pictures, where the pictures are alike."""
    i, j, row = files_of(hits, left.pictures, right.pictures, within=left is right)
    if skip:
        wanted = ~skip(i, j)
        i, j, row = i[wanted], j[wanted], row[wanted]
    needed, place = np.unique(row, return_inverse=True)
    scores = score(hits.at(needed))[place]
    alike = scores >= REVIEW
    found = zip(i[alike].tolist(), j[alike].tolist(), scores[alike].tolist(), strict=True)
    return [Match(a, b, _kind(left.prints, a, right.prints, b, value), value) for a, b, value in found]


def _kind(first: Fingerprints, i: int, second: Fingerprints, j: int, score: float) -> Kind:
    if first.digests[i] == second.digests[j]:
        return "bytes"
    if first.pixels[i] == second.pixels[j]:
        return "pixels"
    return "near" if np.float32(score) >= NEAR else "review"
