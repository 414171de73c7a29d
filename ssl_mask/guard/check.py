"""Compare pools of images with each other: pools in, findings out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.depth import FULL
from ssl_mask.data.images import MAX_PIXELS
from ssl_mask.errors import DataError
from ssl_mask.guard.copies.fingerprints import Fingerprints, fingerprint
from ssl_mask.guard.copies.matching import (
    HOG_COSINE,
    METHOD_VERSION,
    NEAR,
    PDQ_RADIUS,
    REVIEW,
    Match,
    Skip,
    match,
    search_of,
)
from ssl_mask.guard.findings import KINDS, ROLES, File, Findings, Kind, Pair, Pool, PoolRecord, Unchecked, compared
from ssl_mask.guard.origins import Origins, origins_of, same_source

Counting = Callable[..., AbstractContextManager[Callable[[int, int], None]]]
"""Shows the progress of a named piece of work, counted in `unit`s; yields what is told (done, total)."""

METHOD = {
    "version": METHOD_VERSION,
    "near": NEAR,
    "review": REVIEW,
    "pdq_radius": PDQ_RADIUS,
    "hog_cosine": HOG_COSINE,
}


@dataclass(frozen=True)
class ReadPools:
    """Pools whose images have been read, the most protected first."""

    records: tuple[PoolRecord, ...]
    prints: Mapping[str, Fingerprints]
    """By the pool's name, in the order of the record's files."""
    origins: Mapping[str, Origins] = field(default_factory=dict)
    """What they were made of, by the pool's name."""

    def record(self, name: str) -> PoolRecord:
        return next(record for record in self.records if record.name == name)


@contextmanager
def _silent(what: str, *, unit: str = "") -> Iterator[Callable[[int, int], None]]:  # noqa: ARG001 - a Counting
    yield lambda done, total: None  # noqa: ARG005


def check(
    pools: Sequence[Pool],
    *,
    cache: Path | None,
    processes: int = 1,
    max_pixels: int = MAX_PIXELS,
    depth: int = FULL,
    known: Mapping[str, Fingerprints] | None = None,
    counting: Counting = _silent,
) -> Findings:
    """Find copies and shared groups between pools of different roles, and copies within the labeled pools.

    Images of one group are never compared with each other: they may share much of their picture on purpose, and a
    group in two pools is a finding of its own.

    Args:
        cache: folder of fingerprints, or None.
        max_pixels: a larger image counts as unreadable.
        depth: bits in use of 16-bit images.
        known: fingerprints of pools whose files need not be there: by the pool's name, in the order of its paths.

    Raises:
        DataError: two pools have one name, or a pool names an image twice.
    """
    read = read_pools(pools, cache=cache, processes=processes, max_pixels=max_pixels, depth=depth, known=known,
                      counting=counting)  # fmt: skip
    return compare_pools(read, cache=cache, processes=processes, counting=counting)


def read_pools(
    pools: Sequence[Pool], *, cache: Path | None, processes: int = 1, max_pixels: int = MAX_PIXELS, depth: int = FULL,
    known: Mapping[str, Fingerprints] | None = None, counting: Counting = _silent,
) -> ReadPools:  # fmt: skip
    """The first half of `check`: the fingerprints of all images. Arguments and errors are those of `check`."""
    _refuse_doubles(pools)
    read = partial(fingerprint, cache=cache, processes=processes, max_pixels=max_pixels, depth=depth)
    prints: dict[str, Fingerprints] = {}
    origins: dict[str, Origins] = {}
    records: list[PoolRecord] = []
    for pool in sorted(pools, key=lambda p: (ROLES.index(p.role), p.name)):
        # By path, so that nothing depends on the order in which a folder is listed.
        order = sorted(range(len(pool.paths)), key=pool.paths.__getitem__)
        with counting(f"Reading {pool.name}") as tell:
            if known and pool.name in known:
                prints[pool.name] = known[pool.name].at(order)
            else:
                files = [pool.root / pool.paths[i] for i in order]
                digests = [pool.digests[i] for i in order] if pool.digests else ()
                prints[pool.name] = read(files, digests=digests, on_progress=tell)
        with counting(f"Reading sources of {pool.name}") if any(pool.sources) else nullcontext(None) as tell:
            origins[pool.name] = origins_of(pool, order, partial(read, on_progress=tell))
        records.append(_record(pool, order, prints[pool.name]))
    return ReadPools(tuple(records), prints, origins)


def compare_pools(read: ReadPools, *, cache: Path | None, processes: int = 1, counting: Counting = _silent) -> Findings:
    """The second half of `check`."""
    compare = partial(match, cache=cache, processes=processes)
    pairs = tuple(_pairs(read, compare, counting))
    searches = {search_of(len(a.files), len(b.files)) for a, b in compared(read.records)}
    method = {**METHOD, "search": ", ".join(sorted(searches)) or "exact"}
    return Findings(read.records, pairs, tuple(_not_checked(read.records)), method)


def _pairs(read: ReadPools, compare: Callable[..., list[Match]], counting: Counting) -> Iterator[Pair]:
    """All pairs of all pools that are compared; between two pools the surest first."""
    groups, prints = _group_numbers(read.records), read.prints
    for first, second in compared(read.records):
        skip = partial(_same_group, groups[first.name], groups[second.name])
        with counting(f"Comparing {second.name} with {first.name}", unit="pairs") as tell:
            matches = compare(prints[first.name], prints[second.name], skip=skip, on_progress=tell)
            made = _through_sources(read, first.name, second.name, matches, skip, partial(compare, on_progress=tell))
        alone = [m for m in matches if (m.first, m.second) not in made]
        found = [_pair(first, first.files[m.first], second, second.files[m.second], m.kind, m.score) for m in alone]
        found += [_pair(first, first.files[i], second, second.files[j], kind, s) for (i, j), (kind, s) in made.items()]
        found += _shared_groups(first, second)
        yield from sorted(found, key=lambda p: (KINDS.index(p.kind), -p.score, p))


def _through_sources(
    read: ReadPools, first: str, second: str, matches: Sequence[Match], skip: Skip, compare: Callable[..., list[Match]]
) -> dict[tuple[int, int], tuple[Kind, float]]:
    """Rows of two pools that are the same photo by what they were made of -> how; without what is a copy by itself."""
    ours, theirs = read.origins[first], read.origins[second]
    if first == second or not (ours.made or theirs.made):
        return {}
    copies = {(m.first, m.second) for m in matches if m.kind != "review"}
    review = {(m.first, m.second) for m in matches} - copies
    digests = read.prints[first].digests, read.prints[second].digests
    found: dict[tuple[int, int], tuple[Kind, float]] = {}
    for i, j in same_source((digests[0], ours), (digests[1], theirs)):
        if not skip(np.array([i]), np.array([j]))[0]:
            found[i, j] = "source", 1.0
    sides = [((read.prints[name], np.arange(len(read.prints[name]))), (o.prints, o.owners))
             for name, o in ((first, ours), (second, theirs))]  # fmt: skip
    for one, other in ((sides[0][1], sides[1][0]), (sides[0][0], sides[1][1]), (sides[0][1], sides[1][1])):
        if one[0] is None or other[0] is None:
            continue
        for m in compare(one[0], other[0], skip=partial(_of_owners, skip, one[1], other[1])):
            pair = int(one[1][m.first]), int(other[1][m.second])
            kind: Kind = "review" if m.kind == "review" else "source"
            known = found.get(pair, ("review", 0.0))
            if kind == "source" or pair not in review:
                found[pair] = min(known, (kind, m.score), key=lambda f: (KINDS.index(f[0]), -f[1]))
    return {pair: how for pair, how in found.items() if pair not in copies}


def _of_owners(
    skip: Skip, first: NDArray[np.int64], second: NDArray[np.int64], i: NDArray[np.int64], j: NDArray[np.int64]
) -> NDArray[np.bool_]:
    return skip(first[i], second[j])


def _refuse_doubles(pools: Sequence[Pool]) -> None:
    names = [p.name for p in pools]
    for pool in pools:
        if names.count(pool.name) > 1:
            raise DataError(f"Two pools are called {pool.name!r}.", hint="Give each pool a name of its own.")
        if len(set(pool.paths)) < len(pool.paths):
            raise DataError(f"The pool {pool.name!r} names an image twice.", hint="Name each image once.")


def _record(pool: Pool, order: list[int], prints: Fingerprints) -> PoolRecord:
    files = tuple(
        File(pool.paths[i], digest, pool.groups[i], pool.labels[i])
        for i, digest in zip(order, prints.digests, strict=True)
    )
    unreadable = {files[position].path: why for position, why in sorted(prints.unreadable.items())}
    return PoolRecord(pool.name, pool.role, prints.content_digest, files, unreadable, pool.group_source)


def _group_numbers(pools: Sequence[PoolRecord]) -> dict[str, NDArray[np.int64]]:
    """Pool -> (n,) a number a group, the same in all pools; -1 unknown."""
    numbers = {"": -1}
    return {
        pool.name: np.array([numbers.setdefault(f.group, len(numbers)) for f in pool.files], dtype=np.int64)
        for pool in pools
    }


def _same_group(
    first: NDArray[np.int64], second: NDArray[np.int64], i: NDArray[np.int64], j: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(n,) whether images i of the first pool and j of the second are known to be of one group."""
    same: NDArray[np.bool_] = (first[i] == second[j]) & (first[i] >= 0)
    return same


def _pair(first: PoolRecord, one: File, second: PoolRecord, other: File, kind: Kind, score: float) -> Pair:
    return Pair(
        first.name, second.name, kind, round(score, 4), one.path, other.path, one.sha256, other.sha256, one.label,
        other.label, group="", images=2,
    )  # fmt: skip


def _shared_groups(first: PoolRecord, second: PoolRecord) -> list[Pair]:
    """One finding per group that is in both pools, with its first image of each as the example."""
    shared = first.by_group.keys() & second.by_group.keys() if first.name != second.name else set()
    found: list[Pair] = []
    for group in sorted(shared):
        ours, theirs = first.by_group[group], second.by_group[group]
        pair = _pair(first, ours[0], second, theirs[0], "group", 0.0)
        found.append(pair._replace(group=group, images=len(ours) + len(theirs)))
    return found


def _not_checked(records: Sequence[PoolRecord]) -> Iterator[Unchecked]:
    """Where a group could be in an evaluation pool and in another one without anybody seeing it."""
    for first, second in compared(records):
        if first.role in {"test", "val"} and first.name != second.name:
            lacking = [f"{p.name} names {_named(p)}" for p in (first, second) if not p.grouped]
            if lacking:
                yield Unchecked(first.name, second.name, f"shared groups ({', '.join(lacking)})")


def _named(pool: PoolRecord) -> str:
    known = sum(bool(f.group) for f in pool.files)
    return f"the groups of {known} of its {len(pool.files)} images" if known else "no groups"
