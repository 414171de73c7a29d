"""Honest teachers: those that have learned from no image and no person (group) that their student is validated on.

A model that was trained with the labels of validation images hands them on in its pseudo-labels and in its weights. A
student's score on these images then means nothing: the trap of pseudo-labels from an ensemble of all folds. What a run
has learned from is what it was trained on with labels, and what all the runs that it builds on were.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ssl_mask.data.manifest import Manifest
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import MismatchError
from ssl_mask.guard.ancestors import UNKNOWN, unknown_sight
from ssl_mask.guard.seen import seen_digests
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.records import CheckpointMetadata
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seal import file_digest


class Learned(NamedTuple):
    """What a run, and all that it builds on, was trained on with labels."""

    digests: frozenset[str]
    """SHA-256 of each image."""
    groups: frozenset[str]
    """Named groups (persons)."""
    unknown: str = ""
    """Why nobody knows all of it, in words; "" where it is known."""


class HeldOut(NamedTuple):
    """What a student is validated on."""

    images: Mapping[str, str]
    """SHA-256 of each image -> its path."""
    groups: frozenset[str]
    """Named groups (persons)."""

    @classmethod
    def of(cls, val: Manifest) -> HeldOut:
        """Of validation rows with digests."""
        named = frozenset(r.group for r in val.rows if r.group) if val.grouped else frozenset()
        return cls({r.digest: r.path for r in val.rows}, named)


def dishonest(learned: Learned, held_out: HeldOut) -> str:
    """Why a run must not teach a student that is validated on these images, in words; "" where it may.

    Unknown is not honest: nobody can say that it has not seen them.
    """
    images = sorted(held_out.images[d] for d in held_out.images.keys() & learned.digests)
    groups = sorted(held_out.groups & learned.groups)
    if images:
        count = f"{len(images)} of these {len(held_out.images)} images"
        return f"it was trained with the labels of {count}, such as {images[0]}"
    if groups:
        count = f"{len(groups)} of these {len(held_out.groups)} groups"
        return f"it was trained with labels of {count}, such as {groups[0]}"
    return learned.unknown


def learned_by(run: RunDir, heirs: frozenset[Path] = frozenset()) -> Learned:
    """What a run and its ancestors were trained on with labels: by their manifests, and the seen-set that is kept.

    Args:
        heirs: runs that build on this one, which are not asked again.

    Raises:
        ModelError: no checkpoint, or a damaged one. DataError: no manifest, or a damaged one.
        MismatchError: the seen-set is not the one that the checkpoint was saved with.
    """
    metadata = read_metadata(run.best)
    rows = [cells for _, cells in read_csv(run.manifest, columns=("group", "split", "sha256"))]
    trained = [cells for cells in rows if cells["split"] == "train"]
    digests = {cells["sha256"] for cells in trained} | _kept(run, metadata)
    groups = {cells["group"] for cells in trained if cells["group"] and metadata.data.grouped}
    unknown = ""
    for name in metadata.ancestors:
        ancestor = RunDir(Path(name))
        if name != UNKNOWN and ancestor.best.is_file() and ancestor.path.resolve() not in heirs:
            more = learned_by(ancestor, heirs | {run.path.resolve()})
            digests |= more.digests
            groups |= more.groups
            unknown = unknown or more.unknown
        elif metadata.seen is None:  # with a seen-set, the images of an ancestor that is gone are known
            unknown = unknown_sight(run)
    return Learned(frozenset(digests), frozenset(groups), unknown)


def _kept(run: RunDir, metadata: CheckpointMetadata) -> frozenset[str]:
    """Digests of the labeled images in the seen-set of a checkpoint; of none where the guard was off."""
    if metadata.seen is None or "train" not in metadata.seen:
        return frozenset()
    path = run.seen("train")
    if not path.is_file() or file_digest(path) != metadata.seen["train"].sha256:
        raise MismatchError(f"{path} is not what the checkpoint was saved with.", hint="Restore it, or train again.")
    return seen_digests(path)
