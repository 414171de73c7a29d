"""What the guard found: which images of two pools are the same picture, or show the same group. Facts, no judgement.

Findings are canonical: the same images give byte-equal JSON, whatever the order of the files and the number of
processes. They hold no location of this machine, no time and no version but the method's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ssl_mask.data.prepare.record import Source

Role = Literal["train", "val", "test", "unlabeled"]
Kind = Literal["bytes", "pixels", "source", "near", "review", "group"]

ROLES: tuple[Role, ...] = ("test", "val", "train", "unlabeled")
"""The most protected first: in a pair of pools the first one is to be kept from the second one."""
KINDS: tuple[Kind, ...] = ("bytes", "pixels", "source", "near", "review", "group")
"""The surest first; `source`: one was made of the other, or both of one photo (`sslmask prepare`)."""
COPIES: tuple[Kind, ...] = ("bytes", "pixels", "source", "near")
SCHEMA = 1


@dataclass(frozen=True)
class Pool:
    """Images that a run reads in one role. All tuples have one item an image."""

    name: str
    role: Role
    root: Path
    paths: tuple[str, ...]
    """Relative to `root`, with forward slashes; each once."""
    groups: tuple[str, ...]
    """Group (person) of each image; "" unknown."""
    labels: tuple[str, ...]
    """Class name of each image; "" unknown."""
    group_source: str = ""
    """Where the groups come from, in words; "" none."""
    digests: tuple[str, ...] = ()
    """SHA-256 of each file, "" unknown; empty where nobody has read them yet."""
    sources: tuple[tuple[Source, ...], ...] = ()
    """What each image was made of, see `ssl_mask.guard.origins`; empty where nobody has asked."""

    def at(self, positions: Sequence[int]) -> Pool:
        """Some of its images."""
        digests = tuple(self.digests[i] for i in positions) if self.digests else ()
        paths, groups, labels = (tuple(c[i] for i in positions) for c in (self.paths, self.groups, self.labels))
        sources = tuple(self.sources[i] for i in positions) if self.sources else ()
        return replace(self, paths=paths, groups=groups, labels=labels, digests=digests, sources=sources)


class File(NamedTuple):
    """One image of a pool."""

    path: str
    sha256: str
    """"" for an unreadable file."""
    group: str
    label: str


@dataclass(frozen=True)
class PoolRecord:
    """A pool as it was checked."""

    name: str
    role: Role
    digest: str
    """SHA-256 over the sorted digests of the readable images."""
    files: tuple[File, ...]
    """Sorted by path."""
    unreadable: Mapping[str, str]
    """Path -> reason."""
    group_source: str

    @property
    def grouped(self) -> bool:
        """Whether the group of every image is known."""
        return all(f.group for f in self.files)

    @cached_property
    def by_group(self) -> dict[str, list[File]]:
        """Images of each known group."""
        found: dict[str, list[File]] = {}
        for f in self.files:
            if f.group:
                found.setdefault(f.group, []).append(f)
        return found


class Pair(NamedTuple):
    """Two images that are the same picture, or a group that is in two pools (then one example of each)."""

    first_pool: str
    """The more protected pool."""
    second_pool: str
    kind: Kind
    score: float
    """Median block correlation in [0, 1], of the sources where the images themselves differ; 1 for equal files and
    pixels; 0 for `group`, whose pictures nobody compared."""
    first: str
    """Path in the first pool."""
    second: str
    first_sha256: str
    second_sha256: str
    first_label: str
    second_label: str
    group: str
    """The shared group of a `group` finding, else ""."""
    images: int
    """2, or how many images the group has in both pools together."""

    @property
    def is_conflict(self) -> bool:
        """Copies whose labels differ: at least one of the two labels is wrong."""
        labels = {self.first_label, self.second_label}
        return self.kind in COPIES and len(labels) == 2 and "" not in labels


class Unchecked(NamedTuple):
    """Something between two pools that could not be looked at."""

    first_pool: str
    second_pool: str
    what: str


@dataclass(frozen=True)
class Findings:
    """All that comparing some pools found."""

    pools: tuple[PoolRecord, ...]
    """The most protected first."""
    pairs: tuple[Pair, ...]
    """Sorted. A pair within one pool is never a leak; it is there for conflicting labels."""
    not_checked: tuple[Unchecked, ...]
    method: Mapping[str, Any]
    """Version and thresholds."""

    def pool(self, name: str) -> PoolRecord:
        return next(p for p in self.pools if p.name == name)

    @property
    def conflicts(self) -> tuple[Pair, ...]:
        """Copies with different labels."""
        return tuple(p for p in self.pairs if p.is_conflict)

    def to_json(self) -> dict[str, Any]:
        """For `json.dumps`."""
        return {
            "schema": SCHEMA,
            "method": dict(self.method),
            "pools": [
                {
                    "name": p.name,
                    "role": p.role,
                    "digest": p.digest,
                    "n": len(p.files),
                    "group_source": p.group_source,
                    "unreadable": dict(p.unreadable),
                    "files": [f._asdict() for f in p.files],
                }
                for p in self.pools
            ],
            "pairs": [p._asdict() for p in self.pairs],
            "conflicts": [p._asdict() for p in self.conflicts],
            "not_checked": [u._asdict() for u in self.not_checked],
        }


def compared(pools: Iterable[PoolRecord]) -> Iterator[tuple[PoolRecord, PoolRecord]]:
    """Pairs of pools that matter: of different roles, and the labeled ones with themselves (for their labels)."""
    for first, second in combinations_with_replacement(pools, 2):
        if first.role != second.role or (first is second and first.role in {"train", "val"}):
            yield first, second


def content_digest(digests: Iterable[str]) -> str:
    """SHA-256 over the sorted digests of a pool's readable images: the pool's name, whatever its order or place."""
    return hashlib.sha256("\n".join(sorted(d for d in digests if d)).encode()).hexdigest()


def canonical(content: Any) -> str:
    """JSON text with sorted keys, in ASCII, so that a file name that is not UTF-8 survives too."""
    return json.dumps(content, indent=1, sort_keys=True) + "\n"
