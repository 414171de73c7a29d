"""Whether an exported network says what the run says: both on the same photos, from the file to the probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.image_set import open_images
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.errors import MismatchError, ModelError
from ssl_mask.evaluation.metrics import macro_f1
from ssl_mask.guard.findings import content_digest
from ssl_mask.inference.labeled import refuse_changed
from ssl_mask.inference.onnx_predictor import batches, whole_photos
from ssl_mask.inference.onnx_session import OnnxSession, packages
from ssl_mask.runs.exported import LIMIT, PHOTOS, ParityRecord


def probs_of_photos(session: OnnxSession, photos: Manifest, reading: DataConfig, console: Console,
                    what: str) -> NDArray[np.float32]:  # fmt: skip
    """(n, joint classes) what a graph says of photos at their own size, so that it resizes them itself.

    Raises:
        ImageError: an unreadable photo.
    """
    opened = open_images(photos, reading.model_copy(update={"cache": "off"}), 1)
    found: list[NDArray[np.float32]] = []
    with console.counting(what) as tell:
        for batch in batches(whole_photos(opened, reading).images, 1):
            found.append(session.run({PHOTOS: batch}))
            tell(len(found), len(photos))
    return np.concatenate(found)


def parity(run: PredictedImages, exported: NDArray[np.float32], photos: Manifest, *, held_out: bool) -> ParityRecord:
    """Compare what a run and its exported network say of the same photos.

    Args:
        run: of the run, with the digests of the photos.
        photos: the same, as they were when the run was trained, with labels.

    Raises:
        MismatchError: a photo has changed since then.
    """
    refuse_changed(photos, run.manifest)
    classes = len(photos.schema.joint_classes)
    ours, theirs = run.probs.argmax(axis=1), exported.argmax(axis=1)
    return ParityRecord(
        images=len(photos),
        content_hash=content_digest(row.digest for row in run.manifest.rows),
        held_out=held_out,
        largest=float(np.abs(run.probs - exported).max()),
        limit=LIMIT,
        other_class=int((ours != theirs).sum()),
        macro_f1_run=macro_f1(photos.joint, ours, classes),
        macro_f1_exported=macro_f1(photos.joint, theirs, classes),
        versions=packages(),
    )


def refuse_apart(record: ParityRecord, what: str) -> None:
    """Raises MismatchError where an exported network says something else than the run."""
    if not record.largest <= record.limit:  # a NaN is never
        raise MismatchError(
            f"The exported network of {what} differs by up to {record.largest:.1e} in a probability from the run, on "
            f"{record.images} photos; {record.limit:.0e} is the limit. Nothing was written.",
            hint="Another backbone or other versions of torch, onnx and onnxruntime may help; please report it.",
        )


def refuse_no_numbers(probs: NDArray[np.float32], what: str) -> None:
    """Raises ModelError where a graph gives no numbers."""
    if not np.isfinite(probs).all():
        raise ModelError(f"The {what} gives no finite probabilities.", hint="Export it without --int8.")
