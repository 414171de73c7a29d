"""Copies within and across pools, and groups in two pools, as the guard found them."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ssl_mask.guard.findings import COPIES, Findings, Pair
from ssl_mask.reports.pair_sheet import strongest


class Copies(NamedTuple):
    """What the guard found."""

    kinds: tuple[tuple[str, str, str, int], ...]
    """Pool, other pool, kind, pairs."""
    conflicts: tuple[Pair, ...]
    """Copies with different labels, the surest first."""
    across: tuple[Pair, ...]
    """Copies in two pools, the surest first."""
    within: tuple[Pair, ...]
    """Copies in one pool whose labels agree, the surest first."""
    perhaps: tuple[Pair, ...]
    """Pairs that are perhaps copies: somebody must look."""
    groups: int
    """Groups in two pools."""
    same_files: dict[str, int]
    """Pool -> files of it whose bytes another file of it has too."""
    unreadable: dict[str, tuple[str, ...]]
    """Pool -> each of its images that cannot be read, and why."""

    @property
    def between(self) -> int:
        """Copies in two pools."""
        return len(self.across) + sum(p.first_pool != p.second_pool for p in self.conflicts)


def copies_of(findings: Findings) -> Copies:
    """Facts, no judgement."""
    pairs = findings.pairs
    kinds = Counter((p.first_pool, p.second_pool, p.kind) for p in pairs)
    sure = [p for p in pairs if p.kind in COPIES]
    same = {p.name: len(d := [f.sha256 for f in p.files if f.sha256]) - len(set(d)) for p in findings.pools}
    return Copies(
        tuple((*key, n) for key, n in kinds.items()),
        _sorted(findings.conflicts),
        _sorted([p for p in sure if p.first_pool != p.second_pool and not p.is_conflict]),
        _sorted([p for p in sure if p.first_pool == p.second_pool and not p.is_conflict]),
        _sorted([p for p in pairs if p.kind == "review"]),
        sum(p.kind == "group" for p in pairs),
        {name: n for name, n in same.items() if n},
        {
            p.name: tuple(f"{path}: {why}" for path, why in sorted(p.unreadable.items()))
            for p in findings.pools
            if p.unreadable
        },
    )


def _sorted(pairs: list[Pair] | tuple[Pair, ...]) -> tuple[Pair, ...]:
    return tuple(strongest(pairs, len(pairs)))
