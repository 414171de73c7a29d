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
from ssl_mask.guard.copies.pair_store import Scores, hits_name, load_hits, load_rows, save_hits, save_rows
from ssl_mask.guard.copies.parts import Parts, parts_of
from ssl_mask.guard.copies.pictures import Positions, equal, files_of, pictures
from ssl_mask.guard.copies.scoring import Side, scores_of
from ssl_mask.guard.copies.search import HOG_COSINE, is_exact

__all__ = ["HOG_COSINE", "METHOD_VERSION", "NEAR", "PDQ_RADIUS", "REVIEW", "Match", "match", "search_of"]

NEAR, REVIEW = 0.95, 0.92
METHOD_VERSION = f"pdq{PDQ_RADIUS}-hog{HOG_COSINE}-zncc-v9"
"""Changes with whatever changes a candidate or a score."""

_PAIRS_AT_ONCE = 2**20

Kind = Literal["bytes", "pixels", "near", "review"]
_KINDS: tuple[Kind, ...] = ("bytes", "pixels", "near", "review")
Skip = Callable[[Positions, Positions], NDArray[np.bool_]]
Progress = Callable[[int, int], None]


class Match(NamedTuple):
    first: int
    second: int
    kind: Kind
    score: float
    """1 for equal bytes and equal pixels, else the correlation of blocks (see `verify`)."""


def search_of(first: int, second: int) -> str:
    """How candidates of so many images among so many are looked for: `exact` compares each with each. Anything else is
    only honest with the recall of a self-test beside it (see `guard.self_test`)."""
    return "exact" if is_exact(first, second) else "a first pass over the means of windows"


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
    alike = partial(_alike, folder=folder, processes=processes, on_progress=on_progress)
    found = alike(left, right, skip=skip)
    cut = _parts(right, folder)
    if len(cut.owners):
        side, wanted = _side(cut.prints), partial(_skip, skip, None, cut.owners, left is right)
        found += [m._replace(second=int(cut.owners[m.second])) for m in alike(left, side, cut=side, skip=wanted)]
    if left is not right and len((cut := _parts(left, folder)).owners):
        side, wanted = _side(cut.prints), partial(_skip, skip, cut.owners, None, False)
        found += [m._replace(first=int(cut.owners[m.first])) for m in alike(side, right, cut=side, skip=wanted)]
    return _strongest(found, within=left is right)


def _parts(side: Side, folder: Path | None) -> Parts:
    """What is within the pictures of a pool. Which pictures have parts is remembered: to look takes a read of each."""
    path = folder / "parts" / hits_name([side.pictures.digests]) if folder else None
    if path and (remembered := load_rows(path)) is not None:
        return parts_of(side.prints, side.pictures.files(remembered))
    parts = parts_of(side.prints, np.sort(side.pictures.members))
    if path:
        save_rows(path, side.pictures.shown_by(parts.owners))
    return parts


def _side(prints: Fingerprints) -> Side:
    return Side(prints, pictures(prints))


def _skip(
    skip: Skip | None, first: Positions | None, second: Positions | None, one_pool: bool, i: Positions, j: Positions
) -> NDArray[np.bool_]:
    """`skip` of the owners of parts. No picture is compared with its own parts."""
    i, j = i if first is None else first[i], j if second is None else second[j]
    same = (i == j) if one_pool else np.zeros(len(i), np.bool_)
    return same | skip(i, j) if skip else same


def _strongest(found: list[Match], *, within: bool) -> list[Match]:
    """Of each pair the strongest kind, and of that the highest score."""
    best: dict[tuple[int, int], Match] = {}
    for m in found:
        i, j = (min(m.first, m.second), max(m.first, m.second)) if within else (m.first, m.second)
        old = best.get((i, j))
        if old is None or (_KINDS.index(m.kind), -m.score) < (_KINDS.index(old.kind), -old.score):
            best[i, j] = Match(i, j, m.kind, m.score)
    return sorted(best.values())


def _alike(
    left: Side, right: Side, *, folder: Path | None, processes: int, skip: Skip | None, on_progress: Progress | None,
    cut: Side | None = None,
) -> list[Match]:  # fmt: skip
    """Pairs of wholes, or of wholes with parts, which `cut` is one side of; a pair may come twice."""
    known = Scores(folder / "scores" if folder else None)
    hits = _wanted(_candidates(left, right, folder, on_progress, cut), left, right, skip)
    total = len(hits.first)
    found = _matches(equal(left.pictures, right.pictures), left, right, skip, lambda part: np.ones(len(part.first)))
    for start in range(0, total, _PAIRS_AT_ONCE):

        def tell(done: int, start: int = start) -> None:
            if on_progress:
                on_progress(start + done, total)

        score = partial(scores_of, first=left, second=right, known=known, processes=processes, on_progress=tell)
        found += _matches(hits.at(slice(start, start + _PAIRS_AT_ONCE)), left, right, skip, score)
    return found


def _candidates(left: Side, right: Side, folder: Path | None, on_progress: Progress | None, cut: Side | None) -> Hits:
    """Of pictures that are not equal; remembered for as long as both pools hold the same pictures."""
    sides = [left] if left is right else [left, right]
    path = folder / "candidates" / hits_name([side.pictures.digests for side in sides]) if folder else None
    if path and (remembered := load_hits(path)):
        return remembered
    # Of few parts, each whole has two that are nearest: as many pairs as there are wholes, and none of them is a copy.
    pools = [
        Descriptors(side.prints.pdq, side.prints.hog, side.pictures.positions, nearest=cut is None or side is cut)
        for side in sides
    ]
    hits = candidates(pools[0], pools[-1], on_progress)
    differ = left.pictures.digests[hits.first] != right.pictures.digests[hits.second]
    hits = hits.at(differ.any(axis=1))
    if path:
        save_hits(path, hits)
    return hits


def _wanted(hits: Hits, left: Side, right: Side, skip: Skip | None) -> Hits:
    """Without those pairs of pictures of which no pair of files is looked at."""
    if skip is None:
        return hits
    wanted = np.zeros(len(hits.first), np.bool_)
    for start in range(0, len(wanted), _PAIRS_AT_ONCE):
        part = hits.at(slice(start, start + _PAIRS_AT_ONCE))
        i, j, row = files_of(part, left.pictures, right.pictures, within=left is right)
        wanted[start + row[~skip(i, j)]] = True
    return hits.at(wanted)


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
