"""What a checkpoint has seen, and what that means for the images it predicts or is scored on.

Everything a run trained on or chose by, and everything its teachers did, is kept beside the checkpoint as fingerprints.
So the question is asked anew for every pool, also for one that did not exist when the run was trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import MismatchError
from ssl_mask.guard.check import check
from ssl_mask.guard.copies.fingerprints import Fingerprints
from ssl_mask.guard.findings import COPIES, Findings, Pool, Role
from ssl_mask.guard.gate import GateResult, print_cache, processes
from ssl_mask.guard.pools import pool_of
from ssl_mask.guard.seen import load_seen, save_seen
from ssl_mask.guard.status import Status, worst
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.records import CheckpointMetadata, DeclarationRecord, LeakageRecord, SeenRecord
from ssl_mask.runs.run import RunDir

SEEN_ROLES: tuple[Role, ...] = ("train", "val", "unlabeled")
MEANS: dict[Role, Status] = {"train": "leaked-declared", "val": "leaked-declared", "unlabeled": "transductive-test"}
"""What it means for a score that its images were seen in a role."""
SAID: dict[Role, str] = {
    "train": "trained on with its label",
    "val": "weights and temperatures were chosen on it",
    "unlabeled": "trained on without its label",
}
Seen = dict[Role, Fingerprints]


def union(*parts: Fingerprints) -> Fingerprints:
    """All images of several sets, each once."""
    place: dict[str, tuple[int, int]] = {}
    for number, part in enumerate(parts):
        for row, digest in enumerate(part.digests):
            if digest:
                place.setdefault(digest, (number, row))
    rows = list(place.values())
    return Fingerprints(
        digests=tuple(place),
        pixels=tuple(parts[n].pixels[r] for n, r in rows),
        pdq=np.stack([parts[n].pdq[r] for n, r in rows]),
        hog=np.stack([parts[n].hog[r] for n, r in rows]),
        thumbs=np.stack([parts[n].thumbs[r] for n, r in rows]),
        unreadable={},
        compressed=any(p.compressed for p in parts),
    )


# ---- at training time ----


def seen_of(guarded: GateResult, ancestors: Iterable[RunDir | None]) -> Seen | None:
    """What a run and the runs it came from have seen; None where one of them is not known or did not keep it."""
    if guarded.findings is None:
        return None
    parts: dict[Role, list[Fingerprints]] = {role: [] for role in SEEN_ROLES}
    for pool in guarded.pools:
        if pool.role in parts:
            dropped = guarded.dropped(pool.name)
            prints = guarded.prints[pool.name]
            parts[pool.role].append(prints.at([i for i, d in enumerate(prints.digests) if d and d not in dropped]))
    for run in ancestors:
        before = read_seen(run, read_metadata(run.best)) if run is not None else None
        if before is None:
            return None
        for role, prints in before.items():
            parts[role].append(prints)
    return {role: union(*sets) for role, sets in parts.items() if any(len(s) for s in sets)}


def keep_seen(run: RunDir, seen: Seen | None) -> dict[Role, SeenRecord] | None:
    """Write the seen-sets beside the checkpoint; returns what binds them to it."""
    if seen is None:
        return None
    bound: dict[Role, SeenRecord] = {}
    for role, prints in seen.items():
        save_seen(run.seen(role), prints)
        bound[role] = SeenRecord(images=len(prints), sha256=file_digest(run.seen(role)))
    return bound


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def inherited(guarded: GateResult, ancestors: Iterable[RunDir | None]) -> dict[str, Status]:
    """Marks of a run: its own, and those of the runs it came from; worst wins.

    A pool that only an ancestor knew keeps its mark; a pool that only this run knows has this run's: the ancestor's
    images are in the seen-set, and the pool is compared with them when it is predicted.
    """
    marks = dict(guarded.marks)
    for run in ancestors:
        metadata = read_metadata(run.best) if run is not None else None
        for digest, status in (metadata.marks if metadata is not None else {}).items():
            marks[digest] = worst(marks.get(digest, "clean"), status)
        # Its guard was off, or it is not known: nobody knows what it has seen.
        if metadata is None or metadata.seen is None:
            marks = {digest: worst(status, "not-checked") for digest, status in marks.items()}
    return marks


def leakage_record(guarded: GateResult, ancestors: Sequence[RunDir | None], run: RunDir) -> LeakageRecord:
    """What a run's status and its checkpoint say of the guard; keeps what was seen beside the checkpoint."""
    marks = inherited(guarded, ancestors) if guarded.findings is not None else {}
    declared = guarded.declared
    return LeakageRecord(
        leakage=worst(*marks.values()) if marks else "not-checked",
        marks=marks,
        declaration=declared and DeclarationRecord(reason=declared.reason, allowed_by=declared.allowed_by),
        seen=keep_seen(run, seen_of(guarded, ancestors)),
        ancestors=tuple("unknown" if r is None else str(r.path) for r in ancestors),
    )


# ---- at prediction and evaluation time ----


@dataclass(frozen=True)
class Provenance:
    """How far predictions of a pool can be trusted."""

    status: Status
    digest: str
    """Of the pool."""
    overlap: dict[str, str]
    """Path of each image that was seen before -> how."""
    why: tuple[str, ...]
    """Sentences."""

    def to_json(self) -> dict[str, Any]:
        return {"verdict": self.status, "pool_digest": self.digest, "overlap": self.overlap, "why": list(self.why)}


class SourceRun(NamedTuple):
    """A run, and what its checkpoint says of itself."""

    run: RunDir
    metadata: CheckpointMetadata


def provenance_of(sources: Sequence[SourceRun], pool: Manifest, console: Console, *, mode: str = "on") -> Provenance:
    """Compare a pool with what some runs have seen, and add the marks that they carry; worst wins.

    Args:
        pool: rows that are predicted or scored.
        mode: `off` compares nothing: `not-checked`.
    """
    if mode == "off":
        return Provenance("not-checked", "", {}, ("the guard was off",))
    test = pool_of(pool, "test")
    found = [_provenance_of_one(c, pool, test, console) for c in sources]
    overlap = {path: how for one in found for path, how in one.overlap.items()}
    why = tuple(dict.fromkeys(w for one in found for w in one.why))
    digest = next((one.digest for one in found if one.digest), "")
    return Provenance(worst(*(one.status for one in found)), digest, dict(sorted(overlap.items())), why)


def _provenance_of_one(source: SourceRun, pool: Manifest, test: Pool, console: Console) -> Provenance:
    run, metadata = source
    config, seen = run.config(), read_seen(run, metadata)
    if seen is None:
        return Provenance(
            "not-checked",
            "",
            {},
            (f"nobody knows all that {run.name} has seen: its guard was off, or that of a run it came from",),
        )
    pools = [test]
    known: dict[str, Fingerprints] = {}
    for role, prints in seen.items():
        names = prints.digests
        pools.append(Pool(f"seen {role}", role, Path(), names, ("",) * len(names), ("",) * len(names)))
        known[f"seen {role}"] = prints
    findings = check(pools, cache=print_cache(config, [test]), processes=processes(), known=known,
                     max_pixels=config.data.max_pixels, counting=console.counting)  # fmt: skip
    return judge_seen(findings, metadata.marks, grouped=pool.grouped)


def judge_seen(findings: Findings, marks: Mapping[str, Status], *, grouped: bool) -> Provenance:
    """Status of a pool named `test` against pools of seen images, and the mark that the run carries for it."""
    roles = {p.name: p.role for p in findings.pools}
    test = findings.pool("test")
    overlap: dict[str, str] = {}
    statuses: list[Status] = [marks.get(test.digest, "clean")]
    for pair in findings.pairs:
        role = roles[pair.second_pool]
        if pair.first_pool == "test" and pair.kind in COPIES and role in MEANS:
            statuses.append(MEANS[role])
            overlap.setdefault(pair.first, f"{SAID[role]} ({pair.kind}, {pair.score:.2f})")
    why = [f"{len(overlap)} of {len(test.files)} images were seen in training"] if overlap else []
    if test.unreadable:
        statuses.append("not-checked")
        why.append(f"{len(test.unreadable)} images could not be read")
    if not grouped:
        statuses.append("not-checked")
        why.append("images were compared, persons (groups) were not: these images name none")
    return Provenance(worst(*statuses), test.digest, overlap, tuple(why))


def read_seen(run: RunDir, metadata: CheckpointMetadata) -> Seen | None:
    """The seen-sets of a checkpoint, or None where the guard was off.

    Raises:
        MismatchError: a file is missing or not the one that the checkpoint was saved with.
    """
    if metadata.seen is None:
        return None
    seen: Seen = {}
    for role in SEEN_ROLES:
        if role in metadata.seen:
            path = run.seen(role)
            if not path.is_file() or file_digest(path) != metadata.seen[role].sha256:
                raise MismatchError(
                    f"{path} is not what the checkpoint was saved with.",
                    hint="Restore it from where the run was made: without it nobody knows what the weights have seen.",
                )
            seen[role] = load_seen(path)
    return seen
