"""Which images of a pool some weights have seen before: the pool against the seen-sets that are kept beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.devices import cores
from ssl_mask.guard.check import check
from ssl_mask.guard.copies.fingerprints import Fingerprints
from ssl_mask.guard.findings import COPIES, ROLES, Kind, Pool, PoolRecord, Role
from ssl_mask.guard.pools import cache_of
from ssl_mask.runs.records import LeakageStatus

Seen = dict[Role, Fingerprints]
"""In which role images were seen: trained on with or without labels, or chosen on."""
MEANS: dict[Role, dict[Role, LeakageStatus]] = {
    "test": {"train": "leaked-declared", "val": "leaked-declared", "unlabeled": "transductive-test"},
    "val": {"train": "leaked-declared", "unlabeled": "transductive-val"},
}
"""Role of an evaluation pool -> what it means for a score on it that its images were seen in a role."""


class Sighting(NamedTuple):
    """An image that was seen before."""

    role: Role
    kind: Kind
    score: float


def sightings(
    pool: Pool, seen: Mapping[Role, Fingerprints], config: DataConfig, console: Console,
    *, prints: Fingerprints | None = None,
) -> tuple[PoolRecord, dict[str, list[Sighting]]]:  # fmt: skip
    """The pool as it was compared, and the path of each of its images that is a copy of a seen one -> how.

    Args:
        pool: of role test or val.
        prints: of the pool, in the order of its paths, where they are known already.
    """
    # As one pool that is protected and others that are not, nothing but the pool with each seen-set is compared.
    pools = [replace(pool, role="test")]
    known = {pool.name: prints} if prints is not None else {}
    for role in seen:
        blank = ("",) * len(seen[role])
        pools.append(Pool(f"seen {role}", "unlabeled", Path(), seen[role].digests, blank, blank))
        known[f"seen {role}"] = seen[role]
    findings = check(pools, cache=cache_of(config, [pool]), processes=cores(), known=known,
                     max_pixels=config.max_pixels, depth=config.depth, counting=console.counting)  # fmt: skip
    found: dict[str, list[Sighting]] = {}
    for role in ROLES:
        for pair in findings.pairs:
            if pair.second_pool == f"seen {role}" and pair.kind in COPIES and role in MEANS[pool.role]:
                found.setdefault(pair.first, []).append(Sighting(role, pair.kind, pair.score))
    return replace(findings.pool(pool.name), role=pool.role), found
