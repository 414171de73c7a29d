"""The best weights of one trained run as a predictor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ssl_mask.config import DataConfig
from ssl_mask.data.image_set import ImageSet, asked_for, open_images
from ssl_mask.data.manifest import Manifest, Submission
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.value_range import warn_of_depth
from ssl_mask.errors import ModelError
from ssl_mask.evaluation.scores import HeadLogits, mean_probs
from ssl_mask.guard.provenance import SourceRun
from ssl_mask.inference.features import frozen_embedding
from ssl_mask.inference.logits import predict_logits, reading_workers
from ssl_mask.inference.predictor import Compute, EmbeddedImages, OnBad
from ssl_mask.models.classifier import Classifier, build_classifier
from ssl_mask.runs.checkpoint import Checkpoint, load_checkpoint
from ssl_mask.runs.run import RunDir


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
    def submission(self) -> Submission:
        return self.source.metadata.submission

    @property
    def prior(self) -> NDArray[np.float64]:
        images = np.asarray(self.source.metadata.prior, np.float64)
        shares: NDArray[np.float64] = images / images.sum()
        return shares

    @property
    def sources(self) -> tuple[SourceRun, ...]:
        return (self.source,)

    def probs(self, rows: Manifest, *, tta: bool = False, on_bad: OnBad = "fail") -> PredictedImages:
        (predicted,) = predict_together([self], rows, tta=tta, on_bad=on_bad)
        return predicted

    def logits(self, rows: Manifest) -> HeadLogits:
        """(n, classes) calibrated logits of each head, of the plain view of images, at least one.

        Raises:
            ImageError: an unreadable image.
        """
        opened, _ = self.open(rows, "fail")
        ((view,),) = _logits([self], opened)
        temperatures = self.source.metadata.temperatures
        return {head: z / np.float32(temperatures.get(head, 1.0)) for head, z in view.items()}

    def reads_as(self, other: RunPredictor) -> bool:
        """Whether both open an image in the same way, so that it need be opened once for both."""
        return self.size == other.size and self.reading == other.reading and self.compute == other.compute

    def embed(self, rows: Manifest, *, mirrored: bool = False, on_bad: OnBad = "fail") -> EmbeddedImages:
        opened, readable = self.open(rows, on_bad)
        vectors = np.full((len(rows), self.model.embedding_size), np.nan, dtype=np.float32)
        if readable:
            network = frozen_embedding(
                self.model, self.source.metadata.model, self.reading, self.size, len(rows), self.compute
            )
            with self.compute.accelerator.main_process_first():
                found = network.features(opened, "mirrored" if mirrored else "plain")
            length = np.linalg.norm(found, axis=1, keepdims=True)
            vectors[readable] = found / np.maximum(length, np.finfo(np.float32).tiny)
        manifest, why = asked_for(rows, opened, readable)
        return EmbeddedImages(manifest, vectors, why)

    def open(self, rows: Manifest, on_bad: OnBad) -> tuple[ImageSet, list[int]]:
        """The readable images, and their positions in `rows`."""
        console = self.compute.console
        warn_of_depth(rows.files, self.reading, console)
        # The first process fills the cache; the others come after it and find it full.
        with self.compute.accelerator.main_process_first(), console.counting("Reading images") as tell:
            opened = open_images(rows, self.reading, self.size, tolerant=on_bad == "skip", on_progress=tell)
        return opened, [i for i, r in enumerate(rows.rows) if r.path not in opened.left_out]

    def workers(self, opened: ImageSet) -> int:
        """Processes that read images which are open."""
        return reading_workers(opened.images, self.compute.workers, self.compute.accelerator)


def predict_together(
    predictors: Sequence[RunPredictor], rows: Manifest, *, tta: bool = False, on_bad: OnBad = "fail"
) -> list[PredictedImages]:
    """What each of some runs that read images alike says of them; each image is opened once for all.

    Args:
        tta, on_bad: as `Predictor.probs`.

    Raises:
        ImageError: an unreadable image, with `on_bad` fail.
    """
    opened, readable = predictors[0].open(rows, on_bad)
    manifest, why = asked_for(rows, opened, readable)
    if 0 < len(readable) < len(rows):  # another image stands in for each: the others stay where they are in their batch
        opened = opened.at(np.clip(np.searchsorted(readable, np.arange(len(rows))), 0, len(readable) - 1).tolist())
    each = _logits(predictors, opened, tta=tta) if readable else []
    found: list[PredictedImages] = []
    for i, predictor in enumerate(predictors):
        probs = np.full((len(rows), len(predictor.schema.joint_classes)), np.nan, dtype=np.float32)
        if readable:
            probs[readable] = mean_probs(each[i], predictor.source.metadata.temperatures)[readable]
        found.append(PredictedImages(manifest, probs, why))
    return found


def _logits(predictors: Sequence[RunPredictor], opened: ImageSet, *, tta: bool = False) -> list[list[HeadLogits]]:
    """Of each run, the logits of each view of images, at least one."""
    first = predictors[0]
    name = first.name if len(predictors) == 1 else f"{len(predictors)} models"
    with first.compute.console.counting(f"Predicting with {name}") as tell:
        views = predict_logits(
            SideBySide(p.model for p in predictors), opened.images, accelerator=first.compute.accelerator,
            batch_size=first.compute.batch_size, workers=first.workers(opened), flip=tta, on_progress=tell,
        )  # fmt: skip
    return [
        [{head: z for (model, head), z in keyed(view) if model == i} for view in views] for i in range(len(predictors))
    ]


class SideBySide(nn.Module):
    """Several networks on the same images: the heads of all, as `<number of the network>/<head>`."""

    def __init__(self, models: Iterable[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {f"{i}/{head}": z for i, model in enumerate(self.models) for head, z in model(images).items()}


def keyed(logits: HeadLogits) -> Iterator[tuple[tuple[int, str], NDArray[np.float32]]]:
    """(number of the network, head) and logits of what `SideBySide` returns."""
    for key, z in logits.items():
        number, _, head = key.partition("/")
        yield (int(number), head), z


def load_run_predictor(
    run: RunDir, compute: Compute, *, cache: str = "auto", max_pixels: int | None = None,
    reading: DataConfig | None = None,
) -> RunPredictor:  # fmt: skip
    """The best weights of one run, on the right device.

    Args:
        cache: of decoded images: `off`, a folder, or `auto`: as the run was configured.
        max_pixels: an image with more pixels is refused; None: as the run was configured.
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
