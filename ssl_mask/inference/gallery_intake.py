"""Images on their way into a gallery: compared with the test images, as training images are, and described."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from ssl_mask.data.embeddings import EmbeddingTable
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.errors import DataError
from ssl_mask.guard.copies.sketches import sketched
from ssl_mask.guard.gate import GateResult, gate_new_labels
from ssl_mask.guard.seen import save_seen
from ssl_mask.inference.nearest import group_numbers
from ssl_mask.inference.predictor import Compute, Predictor
from ssl_mask.runs.environment import code_version
from ssl_mask.runs.gallery import GalleryDir, GalleryPart
from ssl_mask.runs.sources import Source

Guard = Literal["on", "off"]


def compared(
    table: EmbeddingTable, predictor: Predictor, source: Source, compute: Compute, *, guard: Guard | None,
    drop_overlap: bool,
) -> tuple[EmbeddingTable, GateResult]:  # fmt: skip
    """Compare what is put in with the test images of the data set.

    Args:
        source: the run or the study that embeds; it says which test images.
        guard: None: as the run was configured.
        drop_overlap: leave out images that are also in the test set, instead of refusing all.

    Returns:
        The images that may be put in, and what the guard found.

    Raises:
        GuardError: images of the test set. DataError: no other images are left.
    """
    gate = gate_new_labels(
        source.members[0].trained_config(), as_training_images(table, predictor), compute.accelerator, compute.console,
        mode=guard, drop_overlap=drop_overlap,
    )  # fmt: skip
    dropped = gate.dropped("train")
    left = table.at([i for i, digest in enumerate(table.sha256.tolist()) if digest not in dropped])
    if not len(left):
        raise DataError(f"All {len(table)} images are also in the test set.", hint="Name other images.")
    return left, gate


def as_training_images(table: EmbeddingTable, predictor: Predictor) -> Manifest:
    """The images of a table in the role of training images: what is put in is looked up with its labels."""
    rows = tuple(
        Row(path, group, "train", path, None, digest=digest)
        for path, group, digest in zip(table.path.tolist(), table.group.tolist(), table.sha256.tolist(), strict=True)
    )
    return Manifest(Path(), "gallery", predictor.schema, rows, bool((table.group != "").all()), predictor.submission)


def new_part(
    number: int, name: str, classes: tuple[str, ...], table: EmbeddingTable, data: str, gate: GateResult
) -> GalleryPart:
    """What is written down of images that are put in together.

    Args:
        number: of the part; 0 is what the gallery was built of.
        data: where the images are.
    """
    return GalleryPart(
        number=number, name=name, classes=classes, images=len(table), data=data, code=code_version(),
        checked=gate.findings is not None, leakage=gate.mark.status, leakage_reason=gate.mark.reason,
        marks={digest: mark.status for digest, mark in gate.marks.items()},
    )  # fmt: skip


def new_fingerprints(home: GalleryDir, gate: GateResult) -> list[Path]:
    """The fingerprints of what is put in, as a file; none where the guard was off."""
    prints = gate.prints.get("train")
    if prints is None:
        return []
    path = home.path / "seen-part-new.npz"
    save_seen(path, sketched(prints))
    return [path]


def groups_in(table: EmbeddingTable) -> int:
    """The groups (persons) of the images; one whose group is not known is a group of its own."""
    return len(np.unique(group_numbers(table.group.tolist())))
