"""What a run has seen, and the marks it takes over from the runs that it builds on.

Everything that a run trained on or was chosen by, and everything its teachers were, is kept beside the checkpoint as
fingerprints. So the question can be asked anew for every pool, also for one that did not exist when it was trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ssl_mask.errors import MismatchError
from ssl_mask.guard.copies.fingerprints import Fingerprints
from ssl_mask.guard.findings import Role
from ssl_mask.guard.gate import GateResult
from ssl_mask.guard.seen import load_seen, save_seen
from ssl_mask.guard.status import NOTHING_SHARED, Mark, worst_mark
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.records import CheckpointMetadata, DeclarationRecord, LeakageRecord, SeenRecord
from ssl_mask.runs.run import RunDir

SEEN_ROLES: tuple[Role, ...] = ("train", "val", "unlabeled")
Seen = dict[Role, Fingerprints]


def leakage_record(gate: GateResult, ancestors: Sequence[RunDir | None], run: RunDir) -> LeakageRecord:
    """What a run's status and its checkpoint say of leakage; keeps what was seen beside the checkpoint.

    Args:
        gate: of the run's own data.
        ancestors: the runs whose weights or pseudo-labels it starts from; None: nobody knows which run it was.
    """
    marks = inherited(gate, ancestors) if gate.findings is not None else {}
    mark = worst_mark(marks.values()) if marks else gate.mark
    declared = gate.declared
    return LeakageRecord(
        leakage=mark.status,
        leakage_reason=mark.reason,
        marks={digest: each.status for digest, each in marks.items()},
        declaration=declared and DeclarationRecord(reason=declared.reason, allowed_by=declared.allowed_by),
        seen=keep_seen(run, seen_of(gate, ancestors)),
        ancestors=tuple("unknown" if r is None else str(r.path) for r in ancestors),
    )


def inherited(gate: GateResult, ancestors: Iterable[RunDir | None]) -> dict[str, Mark]:
    """Marks of a run: its own, and those of the runs it came from; worst wins.

    A pool that only an ancestor knew keeps its mark; a pool that only this run knows has this run's: the ancestor's
    images are in the seen-set, and the pool is compared with them when it is predicted.
    """
    marks = dict(gate.marks)
    for run in ancestors:
        metadata = read_metadata(run.best) if run is not None else None
        if metadata is not None:
            for digest, (status, reason) in marks_of(metadata).items():
                mark = Mark(status, f"{metadata.run}, which it builds on: {reason}")
                marks[digest] = worst_mark([marks[digest], mark]) if digest in marks else mark
        if metadata is None or metadata.seen is None:
            marks = {digest: worst_mark([mark, _unknown(run)]) for digest, mark in marks.items()}
    return marks


def mark_of(record: LeakageRecord) -> Mark:
    """The worst mark of a run, from its status or its checkpoint."""
    return Mark(record.leakage, record.leakage_reason or "nothing was compared yet")


def marks_of(metadata: CheckpointMetadata) -> dict[str, Mark]:
    """The marks that a run carries; it keeps the reason of the worst one only."""
    others = {"clean": NOTHING_SHARED}
    return {
        digest: Mark(
            status,
            metadata.leakage_reason if status == metadata.leakage else others.get(status, "found when it was trained"),
        )
        for digest, status in metadata.marks.items()
    }


def _unknown(run: RunDir | None) -> Mark:
    if run is None:
        return Mark("not-checked", "nobody knows which run made its pseudo-labels, so nor what that run has seen")
    return Mark("not-checked", unknown_sight(run))


def unknown_sight(run: RunDir) -> str:
    """Why nothing can be said of a run whose seen-set was not kept."""
    return f"nobody knows all that {run.name} has seen: its guard was off, or that of a run it builds on"


def seen_of(gate: GateResult, ancestors: Iterable[RunDir | None]) -> Seen | None:
    """What a run and the runs it came from have seen; None where one of them is not known or did not keep it."""
    if gate.findings is None:
        return None
    parts: dict[Role, list[Fingerprints]] = {role: [] for role in SEEN_ROLES}
    for pool in gate.pools:
        if pool.role in parts:
            dropped = gate.dropped(pool.name)
            prints = gate.prints[pool.name]
            parts[pool.role].append(prints.at([i for i, d in enumerate(prints.digests) if d and d not in dropped]))
    for run in ancestors:
        before = read_seen(run, read_metadata(run.best)) if run is not None else None
        if before is None:
            return None
        for role, prints in before.items():
            parts[role].append(prints)
    return {role: union(*sets) for role, sets in parts.items() if any(len(s) for s in sets)}


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


def keep_seen(run: RunDir, seen: Seen | None) -> dict[Role, SeenRecord] | None:
    """Write the seen-sets beside the checkpoint; returns what binds them to it."""
    if seen is None:
        return None
    bound: dict[Role, SeenRecord] = {}
    for role, prints in seen.items():
        save_seen(run.seen(role), prints)
        bound[role] = SeenRecord(images=len(prints), sha256=file_digest(run.seen(role)))
    return bound


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


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
