"""A trained run, ready to predict: its weights, its classes, its way of reading images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data import image_set
from ssl_mask.data.cache import ImageSource
from ssl_mask.data.image_set import ImageSet
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import ModelError
from ssl_mask.evaluation.scores import mean_probs
from ssl_mask.inference.logits import predict_logits
from ssl_mask.models.classifier import Classifier, build_classifier
from ssl_mask.runs.checkpoint import Checkpoint, load_checkpoint, read_metadata
from ssl_mask.runs.run import RunDir


@dataclass(frozen=True)
class Member:
    """One trained run, ready to predict."""

    run: RunDir
    checkpoint: Checkpoint
    model: Classifier
    size: int
    schema: LabelSchema

    @property
    def resize(self) -> str:
        return self.checkpoint.metadata.resize

    @cached_property
    def sha256(self) -> str:
        """Of the checkpoint's file."""
        return hashlib.sha256(self.run.best.read_bytes()).hexdigest()


def load_member(run: RunDir, accelerator: Accelerator) -> Member:
    """A run's best weights in a classifier on the right device.

    Raises:
        ModelError: no checkpoint, or a damaged one.
    """
    checkpoint = load_checkpoint(run.best)
    metadata = checkpoint.metadata
    schema = metadata.label_schema
    settings = metadata.model.model_dump(exclude={"sync_norm"})
    settings |= {"weights": "none", "image_size": metadata.image_size}
    model, size = build_classifier(schema.heads(metadata.target), **settings)
    _load_weights(model, checkpoint, run.best)
    return Member(run, checkpoint, model.to(accelerator.device).eval(), size, schema)


def load_schema(run: RunDir) -> LabelSchema:
    """The label schema that a run was trained for."""
    return read_metadata(run.best).label_schema


def _load_weights(model: Classifier, checkpoint: Checkpoint, where: Path) -> None:
    try:
        model.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise ModelError(f"{where} does not fit its own description: {str(error).splitlines()[0]}") from error


def open_images(
    member: Member, manifest: Manifest, cache: str, *, tolerant: bool, accelerator: Accelerator, console: Console
) -> ImageSet:
    """The images at the member's size, with digests."""
    config = member.run.config().data
    reading = DataConfig.model_validate(
        {"cache": cache if cache != "auto" else config.cache, "max_pixels": config.max_pixels, "resize": member.resize}
    )
    with accelerator.main_process_first(), console.counting("Reading images") as tell:
        return image_set.open_images(manifest, reading, member.size, tolerant=tolerant, on_progress=tell)


def with_digests_of(rows: Manifest, opened: ImageSet) -> Manifest:
    """All rows that were asked for; an unreadable image has no digest."""
    digests = {r.path: r.digest for r in opened.manifest.rows}
    return rows.with_digests(digests.get(r.path, "") for r in rows.rows)


def readable(rows: Manifest, opened: ImageSet) -> list[int]:
    """Positions of the readable rows."""
    return [i for i, r in enumerate(rows.rows) if r.path not in opened.left_out]


def member_probs(
    member: Member, images: ImageSource, accelerator: Accelerator, batch_size: int, workers: int, tta: bool,
    console: Console,
) -> NDArray[np.float32]:  # fmt: skip
    """(n, joint classes) calibrated probabilities, with `tta` averaged over the plain and the mirrored view."""
    done = 0
    with console.progress(f"Predicting with {member.run.name}", len(images)) as advance:

        def tell(more: int) -> None:
            nonlocal done
            done = min(done + more, len(images))
            advance(done, "")

        views = predict_logits(
            member.model, images, accelerator=accelerator, batch_size=batch_size, workers=workers, flip=tta,
            on_images=tell,
        )  # fmt: skip
    return mean_probs(views, member.checkpoint.metadata.temperatures)
