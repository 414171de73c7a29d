"""What share of altered copies of the user's own photos does the guard find? A recall measured on other people's faces
says little about X-rays.

Some protected photos are drawn, copies of them are altered in memory and planted into the pool that is read, and the
search that the guard runs looks for them: the same candidates, the same verification, the same thresholds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.depth import FULL
from ssl_mask.data.images import MAX_PIXELS
from ssl_mask.errors import ConfigError, DataError
from ssl_mask.evaluation.metrics import Interval
from ssl_mask.guard.check import Counting, ReadPools
from ssl_mask.guard.copies.alterations import BATTERY, Alteration
from ssl_mask.guard.copies.fingerprints import Fingerprints
from ssl_mask.guard.copies.matching import match, search_of
from ssl_mask.guard.copies.planted import Planted, among, plant
from ssl_mask.guard.findings import ROLES, Role
from ssl_mask.selection.precision import wilson_lower
from ssl_mask.text import shown

_Z = 1.959964  # of a two-sided interval of 95 %
_PLANTED_SHARE = 0.1
"""At most so many of the images of a search are planted, as long as it is one alteration: the whitening of descriptors
is fitted on all of them, and would know copies better than it does in an audit."""


@dataclass(frozen=True)
class AlterationRecall:
    """What was found of the copies by one alteration."""

    alteration: str
    planted: int
    """Fewer than there are photos where some copies could not be made or read again."""
    found: int
    """As bytes, pixels or `near`: what is refused."""
    review: int
    """As `review`: what is warned of."""

    @property
    def recall(self) -> Interval:
        """The share that was found, and Wilson's 95 % interval (doi 10.2307/2276774); NaN where nothing was planted."""
        if not self.planted:
            return Interval(float("nan"), 0.0, 1.0)
        low = float(wilson_lower(self.found, self.planted, _Z))
        high = 1 - float(wilson_lower(self.planted - self.found, self.planted, _Z))
        return Interval(self.found / self.planted, low, high)


@dataclass(frozen=True)
class SelfTest:
    """Altered copies of photos of one pool were planted into another one."""

    pool: str
    """The protected pool."""
    among: str
    """The pool that the copies were planted into."""
    photos: int
    """How many were altered."""
    of: int
    """How many different readable photos the protected pool has."""
    seed: int
    search: str
    """`exact`, or the name of an approximate index."""
    alterations: tuple[AlterationRecall, ...]

    @property
    def planted(self) -> int:
        return sum(each.planted for each in self.alterations)

    @property
    def found(self) -> int:
        return sum(each.found for each in self.alterations)

    @property
    def weakest(self) -> AlterationRecall | None:
        """The alteration with the lowest recall; None where nothing was planted."""
        return min((a for a in self.alterations if a.planted), key=lambda a: a.recall.value, default=None)

    @property
    def sentence(self) -> str:
        weakest = self.weakest
        if weakest is None:
            return f"no photo of {shown(self.pool)} can be read, so no copy of one was planted"
        said = f"of {self.planted:,} altered copies of your photos {self.found:,} were found"
        if self.found == self.planted:
            return f"{said}; {_told(weakest.recall)} for each alteration"
        return f"{said}; weakest: {weakest.alteration} ({_told(weakest.recall)})"

    def to_json(self) -> dict[str, Any]:
        """For `json.dumps`."""
        return {
            "pool": self.pool, "among": self.among, "photos": self.photos, "of": self.of, "seed": self.seed,
            "search": self.search, "planted": self.planted, "found": self.found, "sentence": self.sentence,
            "alterations": [
                {
                    "alteration": a.alteration, "planted": a.planted, "found": a.found, "review": a.review,
                    "recall": dict(zip(("value", "low", "high"), (round(v, 6) for v in a.recall), strict=True))
                    if a.planted else None,
                }
                for a in self.alterations
            ],
        }  # fmt: skip


class _Named(Protocol):
    """A pool, before or after it was read."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> Role: ...


def sides(pools: Sequence[_Named]) -> tuple[str, str]:
    """The names of the pool whose photos are altered, which is the most protected one, and of the pool that the copies
    are planted into: unlabeled images, or else training images, or else the validation images.

    Raises:
        DataError: there are no such two pools.
    """
    ordered = sorted(pools, key=lambda p: (ROLES.index(p.role), p.name))
    protected = next((p for p in ordered if p.role in {"test", "val"}), None)
    pool = next((p for p in reversed(ordered) if protected and p.role != protected.role), None)
    if protected is None or pool is None:
        raise DataError(
            "--self-test needs test or validation images, and other images to plant copies of them among.",
            hint="Name both: sslmask audit --test FOLDER --unlabeled FOLDER --self-test 200",
        )
    return protected.name, pool.name


def refuse_self_test(pools: Sequence[_Named], photos: int) -> None:
    """Before anything is read: raises ConfigError for less than one photo, DataError where `sides` does."""
    if photos < 1:
        raise ConfigError(
            f"A self-test of {photos} photos tests nothing.", hint="Give a number from 1 on, such as 200."
        )
    sides(pools)


def self_test(
    read: ReadPools, roots: Mapping[str, Path], *, photos: int, counting: Counting, seed: int = 0,
    processes: int = 1, max_pixels: int = MAX_PIXELS, depth: int = FULL,
    alterations: Mapping[str, Alteration] = BATTERY,
) -> SelfTest:  # fmt: skip
    """Plant altered copies and look for them.

    Nothing is kept. The same photos give the same result, in any order.

    Args:
        roots: pool -> the folder that its paths are relative to.
        photos: how many to alter; all where the pool has fewer.

    Raises:
        DataError: there are no two pools for it, or a photo was changed since it was read.
    """
    protected, pool = sides(read.records)
    first, second = read.prints[protected], read.prints[pool]
    drawn = draw(first.digests, photos, seed)
    files = read.record(protected).files
    with counting(f"Altering {len(drawn)} photos of {protected}") as tell:
        planted = plant(
            [roots[protected] / files[row].path for row in drawn], [first.digests[row] for row in drawn], alterations,
            seed=seed, processes=processes, max_pixels=max_pixels, depth=depth, on_progress=tell,
        )  # fmt: skip
    kinds: dict[str, list[str]] = {name: [] for name in alterations}
    parts = list(_searches(list(alterations), len(drawn), len(first) + len(second)))
    for number, names in enumerate(parts, start=1):
        with counting(f"Searching {pool} for copies, {number} of {len(parts)}", unit="pairs") as tell:
            part = planted.of(names)
            for copy, kind in _found(first, np.array(drawn), part, among(part, second), processes, tell).items():
                kinds[str(part.alterations[copy])].append(kind)
    recalls = tuple(
        AlterationRecall(
            name, int((planted.alterations == name).sum()), sum(kind != "review" for kind in found),
            found.count("review"),
        )
        for name, found in kinds.items()
    )  # fmt: skip
    different = len({digest for digest in first.digests if digest})
    return SelfTest(protected, pool, len(drawn), different, seed, search_of(len(first), len(second)), recalls)


def draw(digests: Sequence[str], count: int, seed: int) -> list[int]:
    """Positions of `count` images with different bytes, or of all; whatever order they are in, the same images.

    Args:
        digests: "" for an unreadable image.
    """
    position: dict[str, int] = {}
    for row, digest in enumerate(digests):
        if digest:
            position.setdefault(digest, row)
    order = sorted(position, key=lambda digest: hashlib.sha256(f"{seed} {digest}".encode()).digest())
    return [position[digest] for digest in order[:count]]


def _searches(names: Sequence[str], photos: int, images: int) -> Iterator[Sequence[str]]:
    """The alterations whose copies are planted together."""
    if not photos:
        return
    together = max(1, int(_PLANTED_SHARE * images / photos))
    for start in range(0, len(names), together):
        yield names[start : start + together]


def _found(
    first: Fingerprints, drawn: NDArray[np.int64], planted: Planted, second: Fingerprints, processes: int, tell: Any
) -> dict[int, str]:
    """Copy -> how it was found as one of its own original."""
    original = np.full(len(second), -1)
    original[: len(planted.originals)] = drawn[planted.originals]

    def others(i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
        different: NDArray[np.bool_] = original[j] != i
        return different

    # Whether a pair is a candidate depends on all images; what its pixels say, on nothing else. The audit has looked at
    # the pairs of the pools themselves. Without a cache nothing is remembered.
    matches = match(first, second, cache=None, processes=processes, skip=others, on_progress=tell)
    return {m.second: m.kind for m in matches}


def _told(recall: Interval) -> str:
    return f"{recall.value:.3f}, {recall.low:.3f} to {recall.high:.3f}"
