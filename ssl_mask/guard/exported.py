"""What an exported network has seen: that of all runs it is made of, in files beside it, with the marks they carry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssl_mask.guard.findings import Role
from ssl_mask.guard.lineage import SEEN_ROLES, mark_of, marks_of, read_seen
from ssl_mask.guard.provenance import SourceModel, SourceRun
from ssl_mask.guard.seen import merge_seen
from ssl_mask.guard.sightings import Seen
from ssl_mask.guard.status import Mark, worst_mark
from ssl_mask.runs.exported import ExportedModel, read_exported
from ssl_mask.runs.records import LeakageRecord, SeenRecord
from ssl_mask.runs.seal import file_digest

NOT_ALL = Mark("photos-clean", "not every run of it was compared with the persons (groups) of these images")


def kept_leakage(sources: Sequence[SourceRun], model: ExportedModel) -> LeakageRecord:
    """Write what some runs have seen beside the network that is made of them; the worst of their marks count.

    Raises:
        MismatchError: what a run has seen is not kept as its checkpoint says. StorageError: the disk refuses.
    """
    seen = [read_seen(source.run, source.metadata) for source in sources]
    marks = [marks_of(source.metadata) for source in sources]
    joined: dict[str, Mark] = {}
    for digest in dict.fromkeys(d for own in marks for d in own):
        found = [own[digest] for own in marks if digest in own]
        joined[digest] = worst_mark(found if len(found) == len(marks) else [*found, NOT_ALL])
    worst = worst_mark([*(mark_of(source.metadata) for source in sources), *joined.values()])
    declared = [source.metadata.declaration for source in sources if source.metadata.declaration is not None]
    return LeakageRecord(
        leakage=worst.status,
        leakage_reason=worst.reason,
        marks={digest: mark.status for digest, mark in joined.items()},
        declaration=declared[0] if declared else None,
        seen=_kept(sources, seen, model),
        ancestors=tuple(dict.fromkeys(name for source in sources for name in source.metadata.ancestors)),
    )


def _kept(
    sources: Sequence[SourceRun], seen: Sequence[Seen | None], model: ExportedModel
) -> dict[Role, SeenRecord] | None:
    """A file of each role, or None where nobody knows all that was seen."""
    for role in SEEN_ROLES:
        model.seen(role).unlink(missing_ok=True)  # of an older export
    if any(known is None for known in seen):
        return None
    bound: dict[Role, SeenRecord] = {}
    for role in SEEN_ROLES:
        those = [(source.run.seen(role), known[role]) for source, known in zip(sources, seen, strict=True)
                 if known is not None and role in known]  # fmt: skip
        if those:
            digests = {digest for _, prints in those for digest in prints.digests}
            images = merge_seen(model.seen(role), [path for path, _ in those], digests)
            bound[role] = SeenRecord(images=images, sha256=file_digest(model.seen(role)))
    return bound


def source_model(path: Path) -> SourceModel:
    """An exported network as a source; what it has seen is unknown where the files are not beside it any more.

    Raises:
        ModelError, MismatchError: as `read_exported`.
    """
    model, record = ExportedModel(path), read_exported(path)
    if record.seen is not None and not all(model.seen(role).is_file() for role in record.seen):
        record = record.model_copy(update={"seen": None})
    return SourceModel(model, record)
