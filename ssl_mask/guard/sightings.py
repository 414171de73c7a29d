"""Which images of a pool some weights have seen before: the pool against the seen-sets that are kept beside them.

A seen-set holds no picture. Where the cache of this machine holds one of an image that was seen, or its file is still
at its place, the pictures are compared as before a training. Else a copy is known by its digests alone: by those of
bytes and pixels for sure; by those of samples of its shape it is `review`, for nobody can look at what was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.prepare.record import Source
from ssl_mask.devices import cores
from ssl_mask.guard.check import check
from ssl_mask.guard.copies.fingerprints import Fingerprints, fingerprint, images_folder
from ssl_mask.guard.copies.sketches import Sketches, alike
from ssl_mask.guard.copies.store import held, segments
from ssl_mask.guard.findings import COPIES, ROLES, Kind, Pool, PoolRecord, Role
from ssl_mask.guard.pools import cache_of
from ssl_mask.runs.records import LeakageStatus

Seen = dict[Role, Sketches]
"""In which role images were seen: trained on with or without labels, or chosen on."""
MEANS: dict[Role, dict[Role, LeakageStatus]] = {
    "test": {"train": "leaked-declared", "val": "leaked-declared", "unlabeled": "transductive-test"},
    "val": {"train": "leaked-declared", "unlabeled": "transductive-val"},
}
"""Role of an evaluation pool -> what it means for a score on it that its images were seen in a role."""
MAY_BE = "may be copies of images that"
NOT_AT_HAND = "their digests are alike, but the seen pictures are neither in the cache nor where they were"


class Sighting(NamedTuple):
    """An image that was seen before; a `review` one may have been."""

    role: Role
    kind: Kind
    score: float
    """Of `review`, the share of the samples of the shape that agree; else see `Pair`."""


class Sightings(NamedTuple):
    """What was found of a pool."""

    pool: PoolRecord
    """As it was compared."""
    copies: dict[str, list[Sighting]]
    """Path of each image that is a copy of a seen one -> how."""
    review: dict[str, list[Sighting]]
    """Path of each image that looks like a seen one whose picture is not at hand -> how."""
    blind: int
    """How many of the seen images are known by their digests alone."""


def sightings(
    pool: Pool, seen: Mapping[Role, Sketches], config: DataConfig, console: Console,
    *, places: Callable[[], Mapping[str, Path]], prints: Fingerprints | None = None,
) -> Sightings:  # fmt: skip
    """Compare a pool with what was seen.

    Args:
        pool: of role test or val.
        places: SHA-256 of images that were seen -> their files, which may be gone; asked for what the cache lacks.
        prints: of the pool, in the order of its paths, where they are known already.
    """
    cache = cache_of(config, [pool])
    if prints is None:
        prints = _prints(pool.name, [pool.root / p for p in pool.paths], pool.digests, cache, config, console)
    # As one pool that is protected and others that are not, nothing but the pool with each seen-set is compared.
    pools, known = [replace(pool, role="test")], {pool.name: prints}
    unknown: dict[Role, Sketches] = {}
    for role, sketches in seen.items():
        there, unknown[role] = _pictures(role, sketches, places, cache, config, console)
        blank = ("",) * len(there)
        pools.append(Pool(f"seen {role}", "unlabeled", Path(), there.digests, blank, blank))
        known[f"seen {role}"] = there
    findings = check(pools, cache=cache, processes=cores(), known=known,
                     max_pixels=config.max_pixels, depth=config.depth, counting=console.counting)  # fmt: skip
    copies: dict[str, list[Sighting]] = {}
    review: dict[str, list[Sighting]] = {}
    for role in (role for role in ROLES if role in MEANS[pool.role]):
        for pair in findings.pairs:
            if pair.second_pool == f"seen {role}" and pair.kind in COPIES:
                copies.setdefault(pair.first, []).append(Sighting(role, pair.kind, pair.score))
        for row, kind, score in _by_digests(prints, unknown[role], pool.sources) if role in unknown else ():
            found = copies if kind in COPIES else review
            found.setdefault(pool.paths[row], []).append(Sighting(role, kind, score))
    record = replace(findings.pool(pool.name), role=pool.role)
    blind = len({digest for sketches in unknown.values() for digest in sketches.digests})
    return Sightings(record, copies, {path: how for path, how in review.items() if path not in copies}, blind)


def _pictures(
    role: Role, seen: Sketches, places: Callable[[], Mapping[str, Path]], cache: Path | None, config: DataConfig,
    console: Console,
) -> tuple[Fingerprints, Sketches]:  # fmt: skip
    """Fingerprints of those images whose picture is in the cache or at its place, and the others."""
    stored = held(segments(images_folder(cache, config.depth))) if cache else frozenset()
    known = places() if any(digest not in stored for digest in seen.digests) else {}
    at_hand = [i for i, d in enumerate(seen.digests) if d in stored or (d in known and known[d].is_file())]
    digests = [seen.digests[i] for i in at_hand]
    # What is stored is found by its digest and not read: a name will do.
    files = [known.get(digest, Path(digest)) for digest in digests]
    prints = _prints(f"seen {role}", files, digests, cache, config, console)
    readable = [row for row in range(len(at_hand)) if row not in prints.unreadable]  # others have changed since
    compared = {at_hand[row] for row in readable}
    return prints.at(readable), seen.at([i for i in range(len(seen)) if i not in compared])


def _prints(
    name: str, files: list[Path], digests: tuple[str, ...] | list[str], cache: Path | None, config: DataConfig,
    console: Console,
) -> Fingerprints:  # fmt: skip
    with console.counting(f"Reading {name}") as tell:
        return fingerprint(
            files, digests=digests, cache=cache, processes=cores(), max_pixels=config.max_pixels, depth=config.depth,
            on_progress=tell,
        )  # fmt: skip


def _by_digests(
    prints: Fingerprints, seen: Sketches, sources: Sequence[Sequence[Source]]
) -> list[tuple[int, Kind, float]]:
    """(row of `prints`, kind, score) of each image that equals a seen one, was made of one, or looks like one; the best
    of each."""
    found: dict[int, tuple[Kind, float]] = {}
    if not len(seen):
        return []
    readable = [row for row, digest in enumerate(prints.digests) if digest]
    for (i, _), share in alike(prints.thumbs[readable], seen.samples, cores()).items():
        row = readable[i]
        found[row] = "review", max(share, found[row][1] if row in found else 0.0)
    files, pixels = frozenset(seen.digests), frozenset(seen.pixels)
    for row in readable:
        if prints.digests[row] in files:
            found[row] = "bytes", 1.0
        elif prints.pixels[row] in pixels:
            found[row] = "pixels", 1.0
        elif sources and any(source.sha256 in files for source in sources[row]):
            found[row] = "source", 1.0
    return [(row, kind, score) for row, (kind, score) in sorted(found.items())]
