"""An exported network as a predictor. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.digests import read_file
from ssl_mask.data.image_set import ImageSet, asked_for, open_images
from ssl_mask.data.image_source import ImageSource
from ssl_mask.data.images import decode
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.data.value_range import warn_of_depth
from ssl_mask.errors import ImageError, ModelError
from ssl_mask.guard.exported import source_model
from ssl_mask.guard.provenance import SourceModel
from ssl_mask.inference.onnx_session import OnnxSession
from ssl_mask.runs.exported import AGAIN, PHOTOS

_PIXELS_AT_ONCE = 4_000_000  # of photos that the graph resizes: it holds them as 32-bit numbers


@dataclass(frozen=True)
class WholePhotos:
    """Decodes the file at every read, at its own size. Raises ImageError, also for a file that has changed."""

    paths: Sequence[Path]
    digests: Sequence[str]
    max_pixels: int
    depth: int

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, position: int) -> NDArray[np.uint8]:
        path = self.paths[position]
        content, digest, _ = read_file(path)
        if digest != self.digests[position]:
            raise ImageError(f"{path}: it has changed while it was predicted", hint="Predict again.")
        return decode(path, content, max_pixels=self.max_pixels, depth=self.depth)


@dataclass(frozen=True)
class OnnxPredictor:
    """model.onnx, and how it reads images."""

    source: SourceModel
    session: OnnxSession
    console: Console
    reading: DataConfig
    batch_size: int = 64

    @property
    def name(self) -> str:
        return self.source.run.name

    def probs(self, rows: Manifest, *, on_bad: Literal["fail", "skip"] = "fail") -> PredictedImages:
        """Calibrated probabilities of the joint classes, in the order of `rows`; NaN where an image is unreadable.

        Raises:
            ImageError: an unreadable image, with `on_bad` fail.
            ModelError: the graph cannot run, or does not give finite probabilities of these classes.
        """
        warn_of_depth(rows.files, self.reading, self.console)
        opened = self._open(rows, tolerant=on_bad == "skip")
        readable = [i for i, row in enumerate(rows.rows) if row.path not in opened.left_out]
        manifest, why = asked_for(rows, opened, readable)
        probs = np.full((len(rows), len(self.source.metadata.prior)), np.nan, np.float32)
        if readable:
            with self.console.counting(f"Predicting with {self.name}") as tell:
                done = 0
                for batch in batches(opened.images, self.batch_size):
                    probs[readable[done : done + len(batch)]] = self._predict(batch)
                    done += len(batch)
                    tell(done, len(readable))
        return PredictedImages(manifest, probs, why)

    def _predict(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        probs, classes = self.session.run({PHOTOS: batch}), len(self.source.metadata.prior)
        if probs.shape != (len(batch), classes) or not np.isfinite(probs).all():
            told = f"The graph of {self.source.run.path} does not give {classes} finite probabilities for each photo."
            raise ModelError(told, hint=AGAIN)
        return probs

    def _open(self, rows: Manifest, *, tolerant: bool) -> ImageSet:
        """Squares, which are decoded once for all and which the graph leaves as they are; of networks that take several
        kinds of squares the photos themselves."""
        first, *others = self.source.metadata.squares
        reading = self.reading.model_copy(update={"resize": first.resize, **({"cache": "off"} if others else {})})
        with self.console.counting("Reading images") as tell:
            opened = open_images(rows, reading, first.size, tolerant=tolerant, on_progress=tell)
        return whole_photos(opened, reading) if others else opened


def whole_photos(opened: ImageSet, reading: DataConfig) -> ImageSet:
    """The same images at their own size."""
    digests = [row.digest for row in opened.manifest.rows]
    photos = WholePhotos(opened.manifest.files, digests, reading.max_pixels, reading.depth)
    return ImageSet(opened.manifest, photos, opened.left_out)


def batches(images: ImageSource, at_most: int) -> Iterator[NDArray[Any]]:
    """(n, height, width, 3) uint8 of images that follow each other and have one size."""
    waiting: list[NDArray[Any]] = []
    for position in range(len(images)):
        image = images.read(position)
        room = max(1, min(at_most, _PIXELS_AT_ONCE // (image.shape[0] * image.shape[1])))
        if waiting and (len(waiting) >= room or waiting[0].shape != image.shape):
            yield np.stack(waiting)
            waiting = []
        waiting.append(image)
    if waiting:
        yield np.stack(waiting)


def load_onnx_predictor(
    path: Path, console: Console, *, cache: str = "auto", max_pixels: int | None = None, batch_size: int = 64
) -> OnnxPredictor:
    """An exported network, ready to predict.

    Args:
        cache: of decoded images: `off`, a folder, or `auto`: as the runs were configured.
        max_pixels: an image with more pixels is refused; None: as the runs were configured.

    Raises:
        InputError: onnxruntime is not installed. ModelError, MismatchError: not an exported network, or a changed one.
    """
    source = source_model(path)
    given = source.metadata.data
    reading = given.model_copy(
        update={"cache": given.cache if cache == "auto" else cache, "max_pixels": max_pixels or given.max_pixels}
    )
    return OnnxPredictor(source, OnnxSession(path), console, reading, batch_size)
