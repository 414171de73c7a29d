"""What a run builds on: weights that it starts from, pseudo-labels that it trains on, and the runs that made them.

What a run learned travels with both. So each is traced to the run that made it, by the digests that the files hold; of
what cannot be traced nobody knows what it has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_mask.errors import MismatchError
from ssl_mask.reading import parse_json, read_text
from ssl_mask.runs.checkpoint import is_checkpoint, read_metadata
from ssl_mask.runs.exported import ExportedModel
from ssl_mask.runs.gallery import GalleryDir
from ssl_mask.runs.records import CheckpointMetadata
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seal import file_digest, is_whole
from ssl_mask.runs.selected import TeacherRecord

UNKNOWN = "unknown"
"""The name of an ancestor that nobody knows."""


@dataclass(frozen=True)
class Ancestor:
    """A run whose weights or pseudo-labels another one builds on."""

    name: str
    """Path of the run, or `unknown`."""
    metadata: CheckpointMetadata | None
    """None: nothing is known."""
    run: RunDir | None
    """Where its seen-sets are; None: nowhere."""
    unknown: str
    """Why nobody knows all that it has seen, in words; "" where it is known."""


def run_ancestor(run: RunDir) -> Ancestor:
    """A run that is there.

    Raises:
        ModelError: no checkpoint, or a damaged one.
        MismatchError: its header was changed.
    """
    metadata = read_metadata(run.best)
    return Ancestor(str(run.path), metadata, run, unknown_sight(run) if metadata.seen is None else "")


def weights_ancestor(path: Path) -> Ancestor:
    """The run that a weight file comes from, which the header of our own files names.

    Raises:
        MismatchError: the header was changed.
    """
    if not is_checkpoint(path):
        return _unknown(f"nobody knows what the weights in {path} were trained on")
    run = RunDir(path.resolve().parent.parent)
    if run.best == path.resolve():
        return run_ancestor(run)
    metadata = read_metadata(path)
    why = f"{path} is a copy of the weights of {metadata.run}, without what that run has seen beside it"
    return Ancestor(UNKNOWN, metadata, None, why)


def labels_ancestors(table: Path) -> tuple[Ancestor, ...]:
    """The runs that made a table of pseudo-labels, which the selection.json beside it names.

    Raises:
        DataError: selection.json is damaged.
        MismatchError: it was changed, or a run has other weights now.
    """
    beside = RunDir(table.parent)
    if not beside.selection.is_file():
        return (_unknown(f"nobody knows which run made the pseudo-labels in {table}, so nor what that run has seen"),)
    record = beside.selection_record()
    if not is_whole(parse_json(read_text(beside.selection))):
        raise MismatchError(
            f"{beside.selection} has changed since it was written.",
            hint="Restore it, or select pseudo-labels again: sslmask pseudo",
        )
    if record.labels_sha256 != file_digest(table):
        why = f"{table} was changed since it was selected, so nobody knows where its pseudo-labels come from"
        return (_unknown(why),)
    return tuple(_teacher(teacher, table) for teacher in record.teachers)


def _teacher(record: TeacherRecord, table: Path) -> Ancestor:
    """A run that made a table of pseudo-labels, where it is still there. Raises MismatchError: it has other weights."""
    teacher = RunDir(Path(record.run))
    if not teacher.best.is_file():
        return _unknown(f"{teacher.path}, which made its pseudo-labels, is not there any more")
    if record.checkpoint_sha256 != file_digest(teacher.best):
        raise MismatchError(
            f"The weights of {teacher.path} are not those that made {table}.",
            hint=f"Restore {teacher.best}, or select pseudo-labels again: sslmask pseudo",
        )
    return run_ancestor(teacher)


def unknown_sight(run: RunDir | GalleryDir | ExportedModel) -> str:
    """Why nothing can be said of a run, a gallery or an exported network whose seen-set was not kept."""
    if isinstance(run, ExportedModel):
        lost = f"{run.seen('*').name}, which were exported with it, are not beside it"
        return f"nobody knows all that {run.name} has seen: {lost}, or its runs do not know it"
    return f"nobody knows all that {run.name} has seen: its guard was off, or what it builds on is not known"


def _unknown(why: str) -> Ancestor:
    return Ancestor(UNKNOWN, None, None, why)
