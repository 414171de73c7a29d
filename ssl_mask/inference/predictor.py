"""Images in, calibrated probabilities or embeddings out: one trained run, or the mean of several.

Whatever predicts (submissions, shards, pseudo-labels) takes a `Predictor` and knows nothing else of what is behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.image_set import ImageSet, open_images
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.value_range import warn_of_depth
from ssl_mask.errors import ModelError
from ssl_mask.evaluation.scores import mean_probs
from ssl_mask.guard.provenance import SourceRun
from ssl_mask.inference.logits import embed_images, predict_logits, reading_workers
from ssl_mask.models.classifier import Classifier, build_classifier
from ssl_mask.runs.checkpoint import Checkpoint, load_checkpoint
from ssl_mask.runs.run import RunDir

OnBad = Literal["fail", "skip"]
"""An unreadable image raises ImageError, or gets a row of NaN."""


class Predictor(Protocol):
    """What can predict. It opens images by itself, at the size and in the way that it was trained with."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def schema(self) -> LabelSchema: ...

    @property
    def sources(self) -> tuple[SourceRun, ...]:
        """The runs whose weights predict: what they have seen decides how far a score can be trusted."""

    def probs(self, rows: Manifest, *, tta: bool = False, on_bad: OnBad = "fail") -> PredictedImages:
        """Calibrated probabilities of the joint classes, in the order of `rows`.

        Args:
            rows: images to open; digests need not be known.
            tta: average over the plain and the mirrored view.

        Raises:
            ImageError: an unreadable image, with `on_bad` fail.
        """

    def embed(self, rows: Manifest, *, on_bad: OnBad = "fail") -> NDArray[np.float32]:
        """(n, d) embeddings scaled to length 1, so that a dot product is a cosine; arguments as `probs`."""


@dataclass(frozen=True)
class Compute:
    """Where and in which portions a predictor computes."""

    accelerator: Accelerator
    console: Console
    batch_size: int = 64
    workers: int | Literal["auto"] = "auto"
    """Processes that decode; none where the cache of decoded images is used."""


@dataclass(frozen=True)
class RunPredictor:
    """The best weights of one trained run."""

    source: SourceRun
    model: Classifier
    size: int
    """Side of the images in pixels."""
    schema: LabelSchema
    reading: DataConfig
    """How images are read: cache, max_pixels, resize, depth."""
    compute: Compute

    @property
    def name(self) -> str:
        return self.source.run.name

    @property
    def sources(self) -> tuple[SourceRun, ...]:
        return (self.source,)

    def probs(self, rows: Manifest, *, tta: bool = False, on_bad: OnBad = "fail") -> PredictedImages:
        opened, readable = self._open(rows, on_bad)
        probs = np.full((len(rows), len(self.schema.joint_classes)), np.nan, dtype=np.float32)
        if readable:
            with self.compute.console.counting(f"Predicting with {self.name}") as tell:
                views = predict_logits(
                    self.model, opened.images, accelerator=self.compute.accelerator, flip=tta, on_progress=tell,
                    batch_size=self.compute.batch_size, workers=self._workers(opened),
                )  # fmt: skip
            probs[readable] = mean_probs(views, self.source.metadata.temperatures)
        digests = dict(zip(readable, (r.digest for r in opened.manifest.rows), strict=True))
        why = {i: opened.left_out[r.path] for i, r in enumerate(rows.rows) if i not in digests}
        return PredictedImages(rows.with_digests(digests.get(i, "") for i in range(len(rows))), probs, why)

    def embed(self, rows: Manifest, *, on_bad: OnBad = "fail") -> NDArray[np.float32]:
        opened, readable = self._open(rows, on_bad)
        embeddings = np.full((len(rows), self.model.embedding_size), np.nan, dtype=np.float32)
        if readable:
            with self.compute.console.counting(f"Embedding with {self.name}") as tell:
                embeddings[readable] = embed_images(
                    self.model, opened.images, accelerator=self.compute.accelerator, on_progress=tell,
                    batch_size=self.compute.batch_size, workers=self._workers(opened),
                )  # fmt: skip
        return embeddings

    def _open(self, rows: Manifest, on_bad: OnBad) -> tuple[ImageSet, list[int]]:
        """The readable images, and their positions in `rows`."""
        console = self.compute.console
        warn_of_depth(rows.files, self.reading, console)
        # The first process fills the cache; the others come after it and find it full.
        with self.compute.accelerator.main_process_first(), console.counting("Reading images") as tell:
            opened = open_images(rows, self.reading, self.size, tolerant=on_bad == "skip", on_progress=tell)
        return opened, [i for i, r in enumerate(rows.rows) if r.path not in opened.left_out]

    def _workers(self, opened: ImageSet) -> int:
        return reading_workers(opened.images, self.compute.workers, self.compute.accelerator)


@dataclass(frozen=True)
class MeanPredictor:
    """The mean of several predictors of one schema: their calibrated probabilities are averaged.

    They may have different image sizes and backbones.

    Raises:
        ModelError: predictors of different classes.
    """

    predictors: tuple[Predictor, ...]

    def __post_init__(self) -> None:
        for other in self.predictors[1:]:
            if other.schema != self.schema:
                raise ModelError(
                    f"{other.name} was trained for other classes than {self.predictors[0].name}.",
                    hint="Averaging needs runs of one label schema.",
                )

    @property
    def name(self) -> str:
        return "+".join(p.name for p in self.predictors)

    @property
    def schema(self) -> LabelSchema:
        return self.predictors[0].schema

    @property
    def sources(self) -> tuple[SourceRun, ...]:
        return tuple(source for p in self.predictors for source in p.sources)

    def probs(self, rows: Manifest, *, tta: bool = False, on_bad: OnBad = "fail") -> PredictedImages:
        each = [p.probs(rows, tta=tta, on_bad=on_bad) for p in self.predictors]
        mean = sum(p.probs.astype(np.float64) for p in each) / len(each)
        unreadable = {position: why for p in each for position, why in p.unreadable.items()}
        return PredictedImages(each[0].manifest, np.asarray(mean, dtype=np.float32), unreadable)

    def embed(self, rows: Manifest, *, on_bad: OnBad = "fail") -> NDArray[np.float32]:
        """The embeddings side by side: a dot product is then the mean cosine of the predictors."""
        each = [p.embed(rows, on_bad=on_bad) for p in self.predictors]
        return np.concatenate(each, axis=1) / np.float32(np.sqrt(len(each)))


def load_predictor(
    runs: Sequence[RunDir], compute: Compute, *, cache: str = "auto", max_pixels: int | None = None
) -> Predictor:
    """The best weights of a run, or the mean of several runs.

    Args:
        cache: of decoded images: `off`, a folder, or `auto`: as each run was configured.
        max_pixels: an image with more pixels is refused; None: as each run was configured.

    Raises:
        ModelError: no checkpoint, a damaged one, or runs of different classes.
    """
    predictors = [load_run_predictor(run, compute, cache=cache, max_pixels=max_pixels) for run in runs]
    return predictors[0] if len(predictors) == 1 else MeanPredictor(tuple(predictors))


def load_run_predictor(
    run: RunDir, compute: Compute, *, cache: str = "auto", max_pixels: int | None = None,
    reading: DataConfig | None = None,
) -> RunPredictor:  # fmt: skip
    """The best weights of one run, on the right device.

    Args:
        cache, max_pixels: as `load_predictor`.
        reading: how images are read, but for `resize` and `depth`, which belong to the weights. None: as the run was
            configured.

    Raises:
        ModelError: no checkpoint, or a damaged one.
    """
    checkpoint = load_checkpoint(run.best)
    metadata, schema = checkpoint.metadata, checkpoint.metadata.label_schema
    settings = metadata.model.model_dump(exclude={"sync_norm"})
    settings |= {"weights": "none", "image_size": metadata.image_size}
    model, size = build_classifier(schema.heads(metadata.target), **settings)
    _load_weights(model, checkpoint, run.best)
    given = reading or run.config().data
    own = DataConfig.model_validate({
        "cache": given.cache if cache == "auto" else cache, "max_pixels": max_pixels or given.max_pixels,
        "resize": metadata.resize, "depth": metadata.depth,
    })  # fmt: skip
    model = model.to(compute.accelerator.device).eval()
    return RunPredictor(SourceRun(run, metadata), model, size, schema, own, compute)


def _load_weights(model: Classifier, checkpoint: Checkpoint, where: Path) -> None:
    try:
        model.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise ModelError(f"{where} does not fit its own description: {str(error).splitlines()[0]}") from error
