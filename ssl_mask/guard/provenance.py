"""How far predictions of a pool can be trusted: the pool against all that the runs which predict it have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest
from ssl_mask.guard.check import check
from ssl_mask.guard.copies.fingerprints import Fingerprints
from ssl_mask.guard.copies.workers import cores
from ssl_mask.guard.findings import COPIES, Findings, Pool, Role
from ssl_mask.guard.lineage import marks_of, read_seen, unknown_sight
from ssl_mask.guard.pools import cache_of, pool_of
from ssl_mask.guard.status import NOTHING_SHARED, Mark, worst, worst_mark
from ssl_mask.runs.records import CheckpointMetadata, LeakageStatus
from ssl_mask.runs.run import RunDir

MEANS: dict[Role, LeakageStatus] = {
    "train": "leaked-declared",
    "val": "leaked-declared",
    "unlabeled": "transductive-test",
}
"""What it means for a score that its images were seen in a role."""
SAID: dict[Role, str] = {
    "train": "trained on with its label",
    "val": "weights and temperatures were chosen on it",
    "unlabeled": "trained on without its label",
}


@dataclass(frozen=True)
class Provenance:
    """How far predictions of a pool can be trusted."""

    status: LeakageStatus
    digest: str
    """Of the pool; "" where it was not compared."""
    overlap: dict[str, str]
    """Path of each image that was seen before -> how."""
    why: tuple[str, ...]
    """Why the status is no better, in sentences."""

    @property
    def sentence(self) -> str:
        """Status and reasons in one line."""
        return Mark(self.status, "; ".join(self.why)).sentence

    def to_json(self) -> dict[str, Any]:
        return {"verdict": self.status, "pool_digest": self.digest, "overlap": self.overlap, "why": list(self.why)}


class SourceRun(NamedTuple):
    """A run, and what its checkpoint says of itself."""

    run: RunDir
    metadata: CheckpointMetadata


def unchecked(reason: str) -> Provenance:
    """That of predictions which nobody could compare with anything."""
    return Provenance("not-checked", "", {}, (reason,))


def provenance_of(sources: Sequence[SourceRun], pool: Manifest, console: Console, *, mode: str = "on") -> Provenance:
    """Compare a pool with what some runs have seen, and add the marks that they carry; worst wins.

    Args:
        pool: rows that are predicted or scored.
        mode: `off` compares nothing: `not-checked`.
    """
    if mode == "off":
        return unchecked("the guard was off")
    test = pool_of(pool, "test")
    found = [_provenance_of_one(source, pool, test, console) for source in sources]
    overlap = {path: how for one in found for path, how in one.overlap.items()}
    status = worst(*(one.status for one in found))
    why = dict.fromkeys(w for one in found if one.status == status or one.overlap for w in one.why)
    digest = next((one.digest for one in found if one.digest), "")
    return Provenance(status, digest, dict(sorted(overlap.items())), tuple(why))


def _provenance_of_one(source: SourceRun, pool: Manifest, test: Pool, console: Console) -> Provenance:
    run, metadata = source
    config, seen = run.config(), read_seen(run, metadata)
    if seen is None:
        return unchecked(unknown_sight(run))
    pools = [test]
    known: dict[str, Fingerprints] = {}
    for role, prints in seen.items():
        names = prints.digests
        pools.append(Pool(f"seen {role}", role, Path(), names, ("",) * len(names), ("",) * len(names)))
        known[f"seen {role}"] = prints
    findings = check(pools, cache=cache_of(config.data, [test]), processes=cores(), known=known,
                     max_pixels=config.data.max_pixels, counting=console.counting)  # fmt: skip
    return judge_seen(findings, marks_of(metadata), grouped=pool.grouped)


def judge_seen(findings: Findings, marks: Mapping[str, Mark], *, grouped: bool) -> Provenance:
    """Status of a pool named `test` against pools of seen images, and the mark that the run carries for it.

    Args:
        grouped: whether the pool names its persons (groups).
    """
    roles = {p.name: p.role for p in findings.pools}
    test = findings.pool("test")
    overlap: dict[str, str] = {}
    found: list[Mark] = [marks[test.digest]] if test.digest in marks else []
    for pair in findings.pairs:
        role = roles[pair.second_pool]
        if pair.first_pool == "test" and pair.kind in COPIES and role in MEANS:
            found.append(Mark(MEANS[role], ""))
            overlap.setdefault(pair.first, f"{SAID[role]} ({pair.kind}, {pair.score:.2f})")
    if test.unreadable:
        found.append(Mark("not-checked", f"{len(test.unreadable)} images could not be read"))
    if not grouped:
        found.append(Mark("photos-clean", "these images name no persons (groups), so shared ones cannot be ruled out"))
    elif test.digest not in marks:
        found.append(Mark("photos-clean", "runs keep no names of persons (groups), so shared ones cannot be ruled out"))
    mark = worst_mark([*found, Mark("clean", NOTHING_SHARED)])
    why = [f"{len(overlap)} of {len(test.files)} images were seen in training"] if overlap else []
    return Provenance(mark.status, test.digest, overlap, (*why, *([mark.reason] if mark.reason else [])))
