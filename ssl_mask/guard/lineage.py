"""What a run has seen, and the marks it takes over from the runs that it builds on.

Everything that a run trained on or was chosen by, and everything its teachers were, is kept beside the checkpoint as
fingerprints. So the question can be asked anew for every pool, also for one that did not exist when it was trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.errors import MismatchError
from ssl_mask.guard.ancestors import Ancestor
from ssl_mask.guard.copies.fingerprints import Fingerprints
from ssl_mask.guard.findings import Role
from ssl_mask.guard.gate import GateResult
from ssl_mask.guard.policy import called
from ssl_mask.guard.seen import load_seen, save_seen
from ssl_mask.guard.sightings import MEANS, Seen, sightings
from ssl_mask.guard.status import NOTHING_SHARED, Mark, worst_mark
from ssl_mask.runs.records import CheckpointMetadata, DeclarationRecord, LeakageRecord, SeenRecord
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seal import file_digest

SEEN_ROLES: tuple[Role, ...] = ("train", "val", "unlabeled")
HAS: dict[Role, str] = {
    "train": "was trained with the labels of",
    "val": "was chosen on",
    "unlabeled": "was trained, without labels, on",
}


def leakage_record(
    gate: GateResult, ancestors: Sequence[Ancestor], run: RunDir, config: DataConfig, console: Console
) -> LeakageRecord:
    """What a run's status and its checkpoint say of leakage; keeps what was seen beside the checkpoint.

    Args:
        gate: of the run's own data.
        ancestors: what it starts from, weights or pseudo-labels.
    """
    before = [seen_by(ancestor) for ancestor in ancestors]
    marks = inherited(gate, ancestors, before, config, console)
    mark = worst_mark([*marks.values(), gate.mark])
    declared = gate.declared
    return LeakageRecord(
        leakage=mark.status,
        leakage_reason=mark.reason,
        marks={digest: each.status for digest, each in marks.items()},
        declaration=declared and DeclarationRecord(reason=declared.reason, allowed_by=declared.allowed_by),
        seen=keep_seen(run, seen_of(gate, before)),
        ancestors=tuple(ancestor.name for ancestor in ancestors),
    )


def inherited(
    gate: GateResult, ancestors: Sequence[Ancestor], before: Sequence[Seen | None], config: DataConfig, console: Console
) -> dict[str, Mark]:
    """Marks of a run: its own, and those of what it builds on; worst wins.

    A pool that only an ancestor knew keeps its mark. The run's own validation and test images are compared with all
    that an ancestor has seen.
    """
    marks = dict(gate.marks)
    for ancestor, seen in zip(ancestors, before, strict=True):
        found: list[tuple[str, Mark]] = [*met_again(gate, ancestor, seen or {}, config, console)]
        if ancestor.metadata is not None:
            for digest, (status, reason) in marks_of(ancestor.metadata).items():
                found.append((digest, Mark(status, f"{ancestor.metadata.run}, which it builds on: {reason}")))
        if ancestor.unknown:
            found += [(digest, Mark("not-checked", ancestor.unknown)) for digest in marks]
        for digest, mark in found:
            marks[digest] = worst_mark([marks[digest], mark]) if digest in marks else mark
    return marks


def met_again(
    gate: GateResult, ancestor: Ancestor, seen: Seen, config: DataConfig, console: Console
) -> Iterator[tuple[str, Mark]]:
    """Digest and mark of each of the run's own evaluation pools of which an ancestor has seen images.

    What this run reads in the same role, or with labels, the gate has compared already.
    """
    own = own_seen(gate)
    compared = {role: {*own.get(role, ()), *own.get("train", ())} for role in seen}
    rest = {role: prints.at([i for i, d in enumerate(prints.digests) if d not in compared[role]])
            for role, prints in seen.items()}  # fmt: skip
    rest = {role: prints for role, prints in rest.items() if len(prints)}
    for pool in gate.pools if rest else ():
        if pool.role in MEANS:
            record, found = sightings(pool, rest, config, console, prints=gate.prints[pool.name])
            for role, status in MEANS[pool.role].items():
                if number := sum(any(s.role == role for s in how) for how in found.values()):
                    why = f"{ancestor.name}, which it builds on, {HAS[role]} {number} images of {called(record)}"
                    console.warn(f"{why}.")
                    yield record.digest, Mark(status, why)


def own_seen(gate: GateResult) -> dict[Role, set[str]]:
    """Digests of the images that a run reads, by role; without those that the gate leaves out."""
    found: dict[Role, set[str]] = {}
    for pool in gate.pools:
        if pool.role in SEEN_ROLES:
            found.setdefault(pool.role, set()).update({*gate.prints[pool.name].digests} - gate.dropped(pool.name))
    return found


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


def seen_by(ancestor: Ancestor) -> Seen | None:
    """All that an ancestor has seen; None where nobody knows."""
    if ancestor.unknown or ancestor.metadata is None or ancestor.run is None:
        return None
    return read_seen(ancestor.run, ancestor.metadata)


def seen_of(gate: GateResult, before: Sequence[Seen | None]) -> Seen | None:
    """What a run and what it builds on have seen; None where one of them is not known."""
    if gate.findings is None or any(seen is None for seen in before):
        return None
    parts: dict[Role, list[Fingerprints]] = {role: [] for role in SEEN_ROLES}
    for pool in gate.pools:
        if pool.role in parts:
            dropped = gate.dropped(pool.name)
            prints = gate.prints[pool.name]
            parts[pool.role].append(prints.at([i for i, d in enumerate(prints.digests) if d and d not in dropped]))
    for seen in before:
        for role, prints in (seen or {}).items():
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
