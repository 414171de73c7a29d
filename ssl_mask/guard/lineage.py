"""What a run has seen, and the marks it takes over from the runs that it builds on.

Everything that a run trained on or was chosen by, and everything its teachers were, is kept beside the checkpoint as
fingerprints. So the question can be asked anew for every pool, also for one that did not exist when it was trained.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_mask.config import GuardConfig, RunConfig
from ssl_mask.console import Console
from ssl_mask.devices import broadcast
from ssl_mask.errors import MismatchError, UndeclaredError
from ssl_mask.guard.ancestors import Ancestor
from ssl_mask.guard.copies.sketches import Sketches, joined, sketched
from ssl_mask.guard.findings import Role
from ssl_mask.guard.gate import GateResult
from ssl_mask.guard.places import places_of
from ssl_mask.guard.policy import called
from ssl_mask.guard.seen import load_seen, save_seen
from ssl_mask.guard.sightings import MAY_BE, MEANS, NOT_AT_HAND, Seen, sightings
from ssl_mask.guard.status import NOTHING_SHARED, Mark, worst_mark
from ssl_mask.guard.teachers import learned_by
from ssl_mask.runs.exported import ExportedModel
from ssl_mask.runs.gallery import GalleryDir
from ssl_mask.runs.records import DeclarationRecord, LeakageRecord, SeenRecord
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seal import file_digest
from ssl_mask.text import shown

if TYPE_CHECKING:
    from accelerate import Accelerator

SEEN_ROLES: tuple[Role, ...] = ("train", "val", "unlabeled")
HAS: dict[Role, str] = {
    "train": "was trained with the labels of",
    "val": "was chosen on",
    "unlabeled": "was trained, without labels, on",
}


@dataclass(frozen=True)
class Heritage:
    """What a run takes over from what it builds on."""

    ancestors: tuple[Ancestor, ...] = ()
    before: tuple[Seen | None, ...] = ()
    """What each ancestor has seen; None where nobody knows."""
    marks: Mapping[str, Mark] = field(default_factory=dict)
    """Digest of each evaluation pool -> mark: the run's own, and those that it takes over."""


def heritage_of(
    gate: GateResult, ancestors: Sequence[Ancestor], config: RunConfig, accelerator: Accelerator, console: Console
) -> Heritage:
    """What a run takes over; nothing on all processes but the first, which alone keeps what was seen.

    Args:
        gate: of the run's own data.
        ancestors: what it starts from, weights or pseudo-labels.

    Raises:
        UndeclaredError: an ancestor was trained with labels of the run's validation or test images.
    """
    found: list[Heritage] = []

    def decide() -> None:
        before = tuple(seen_by(ancestor) for ancestor in ancestors)
        found.append(Heritage(tuple(ancestors), before, inherited(gate, ancestors, before, config, console)))

    broadcast(accelerator, decide)
    return found[0] if found else Heritage()


def leakage_record(gate: GateResult, heritage: Heritage, run: RunDir, asked: GuardConfig) -> LeakageRecord:
    """What a run's status and its checkpoint say of leakage; keeps what was seen beside the checkpoint."""
    mark = worst_mark([*heritage.marks.values(), gate.mark])
    declared = DeclarationRecord(reason=asked.reason or "", allowed_by=asked.allowed_by or "")
    return LeakageRecord(
        leakage=mark.status,
        leakage_reason=mark.reason,
        marks={digest: each.status for digest, each in heritage.marks.items()},
        declaration=declared if asked.transductive or asked.leaked else None,
        seen=keep_seen(run, seen_of(gate, heritage.before)),
        ancestors=tuple(ancestor.name for ancestor in heritage.ancestors),
    )


def inherited(
    gate: GateResult, ancestors: Sequence[Ancestor], before: Sequence[Seen | None], config: RunConfig, console: Console
) -> dict[str, Mark]:
    """Marks of a run: its own, and those of what it builds on; worst wins.

    A pool that only an ancestor knew keeps its mark. The run's own validation and test images are compared with all
    that an ancestor has seen.

    Raises:
        UndeclaredError: an ancestor was trained with their labels, and nobody declared it.
    """
    marks = dict(gate.marks)
    met = [[*met_again(gate, a, s or {}, config, console)] for a, s in zip(ancestors, before, strict=True)]
    refuse_leaks([mark for each in met for _, mark in each], config.guard)
    for ancestor, again in zip(ancestors, met, strict=True):
        found: list[tuple[str, Mark]] = [*again]
        for _, mark in again:
            console.warn(f"{mark.reason}.")
        if ancestor.metadata is not None:
            for digest, (status, reason) in marks_of(ancestor.metadata).items():
                found.append((digest, Mark(status, f"{ancestor.metadata.run}, which it builds on: {reason}")))
        if ancestor.unknown:
            found += [(digest, Mark("not-checked", ancestor.unknown)) for digest in marks]
        for digest, mark in found:
            marks[digest] = worst_mark([marks[digest], mark]) if digest in marks else mark
    return marks


def refuse_leaks(met: Sequence[Mark], asked: GuardConfig) -> None:
    """Raises UndeclaredError where labels of evaluation images reach the run through what it builds on."""
    leaks = [mark.reason for mark in met if mark.status == "leaked-declared"]
    if leaks and not asked.leaked:
        raise UndeclaredError(
            "\n".join(f"{reason}." for reason in leaks) + " Its score on them would not measure new images.",
            hint="Build on models that have not seen them: of those that --teacher names, sslmask pseudo takes only "
            'such ones. To go on, and have it said with every score: --leaked --reason "…" --allowed-by "…"',
        )


def met_again(
    gate: GateResult, ancestor: Ancestor, seen: Seen, config: RunConfig, console: Console
) -> Iterator[tuple[str, Mark]]:
    """Digest and mark of each of the run's own evaluation pools of which an ancestor has seen images.

    What this run reads in the same role, or with labels, the gate has compared already.
    """
    own = own_seen(gate)
    compared = {role: {*own.get(role, ()), *own.get("train", ())} for role in seen}
    rest = {role: sketches.at([i for i, d in enumerate(sketches.digests) if d not in compared[role]])
            for role, sketches in seen.items()}  # fmt: skip
    rest = {role: sketches for role, sketches in rest.items() if len(sketches)}
    leaking = set[str]()
    places = partial(places_of, ancestor.run) if ancestor.run is not None else dict
    for pool in gate.pools if rest else ():
        if pool.role in MEANS:
            found = sightings(pool, rest, config.data, console, places=places, prints=gate.prints[pool.name])
            digest, name = found.pool.digest, called(found.pool)
            for role, status in MEANS[pool.role].items():
                if number := sum(any(s.role == role for s in how) for how in found.copies.values()):
                    why = f"{ancestor.name}, which it builds on, {HAS[role]} {number} images of {name}"
                    leaking |= {pool.name} if status == "leaked-declared" else set()
                    yield digest, Mark(status, why)
            if found.review:
                why = f"{len(found.review)} images of {name} {MAY_BE} {ancestor.name}, which it builds on, has seen"
                yield digest, Mark("not-checked", f"{why}: {NOT_AT_HAND} (review)")
    yield from persons_met_again(gate, ancestor, leaking)


def persons_met_again(
    gate: GateResult, ancestor: Ancestor, leaking: Collection[str] = ()
) -> Iterator[tuple[str, Mark]]:
    """The same for persons (groups), whose names mean something in one data set only.

    Args:
        leaking: names of pools of which images were met already, with their labels.
    """
    if ancestor.run is None or ancestor.metadata is None or gate.findings is None:
        return
    root, learned = Path(ancestor.metadata.data.root).resolve(), None
    for pool in gate.pools:
        if pool.role in MEANS and pool.name not in leaking and pool.root.resolve() == root and any(pool.groups):
            learned = learned or learned_by(ancestor.run)
            if shared := sorted(learned.groups & set(pool.groups)):
                record = gate.findings.pool(pool.name)
                why = f"{ancestor.name}, which it builds on, {HAS['train']} {len(shared)} persons (groups) of "
                yield record.digest, Mark("leaked-declared", f"{why}{called(record)}, such as {shown(shared[0])}")


def own_seen(gate: GateResult) -> dict[Role, set[str]]:
    """Digests of the images that a run reads, by role; without those that the gate leaves out."""
    found: dict[Role, set[str]] = {}
    for pool in gate.pools:
        if pool.role in SEEN_ROLES:
            dropped, prints = gate.dropped(pool.name), gate.prints[pool.name]
            found.setdefault(pool.role, set()).update({*prints.digests} - dropped)
            made = gate.origins[pool.name].made if pool.name in gate.origins else ()
            found[pool.role] |= {m.sha256 for m in made if prints.digests[m.row] not in dropped}
    return found


def mark_of(record: LeakageRecord) -> Mark:
    """The worst mark of a run, from its status or its checkpoint."""
    return Mark(record.leakage, record.leakage_reason or "nothing was compared yet")


def marks_of(metadata: LeakageRecord) -> dict[str, Mark]:
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
    parts: dict[Role, list[Sketches]] = {role: [] for role in SEEN_ROLES}
    for pool in gate.pools:
        if pool.role in parts:
            dropped = gate.dropped(pool.name)
            prints = gate.prints[pool.name]
            kept = [i for i, d in enumerate(prints.digests) if d not in dropped]
            parts[pool.role].append(sketched(prints, kept))
            if pool.name in gate.origins:  # who trains on a part of a photo has seen the photo
                parts[pool.role].append(gate.origins[pool.name].sketches(kept))
    for seen in before:
        for role, sketches in (seen or {}).items():
            parts[role].append(sketches)
    return {role: joined(*sets) for role, sets in parts.items() if any(len(s) for s in sets)}


def keep_seen(run: RunDir, seen: Seen | None) -> dict[Role, SeenRecord] | None:
    """Write the seen-sets beside the checkpoint; returns what binds them to it."""
    if seen is None:
        return None
    bound: dict[Role, SeenRecord] = {}
    for role, sketches in seen.items():
        save_seen(run.seen(role), sketches)
        bound[role] = SeenRecord(images=len(sketches), sha256=file_digest(run.seen(role)))
    return bound


def read_seen(run: RunDir | GalleryDir | ExportedModel, metadata: LeakageRecord) -> Seen | None:
    """The seen-sets of a checkpoint, a gallery or an exported network, or None where the guard was off.

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
