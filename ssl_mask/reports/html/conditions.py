"""Whether the model is worse on dark, blurred or small images: accuracy by what the pixels are like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.depth import FULL
from ssl_mask.data.images import MAX_PIXELS, decode
from ssl_mask.data.predictions import PredictionTable
from ssl_mask.errors import ImageError
from ssl_mask.evaluation.metrics import Interval, accuracy_interval

SAMPLE = 2000
"""Images that are measured; of more a random sample, which is enough for five bins."""
BINS = 5
SHARPNESS_SIDE = 256
"""Pixels of the longer side at which sharpness is measured, so that large images are not sharper by size."""


class Measure(NamedTuple):
    """One thing that pixels say."""

    key: str
    title: str
    unit: str


MEASURES = (
    Measure("brightness", "Brightness", "mean grey value, 0 to 255"),
    Measure("sharpness", "Sharpness", "log10 of the variance of the Laplacian; low: blurred"),
    Measure("size", "Size", "shorter side in pixels"),
)


class Bin(NamedTuple):
    """Images with values from `low` to `high`."""

    low: float
    high: float
    images: int
    groups: int
    accuracy: Interval


def sample(images: int, most: int = SAMPLE) -> NDArray[np.int64]:
    """Which images are measured, in order; always the same ones."""
    if images <= most:
        return np.arange(images)
    return np.sort(np.random.default_rng(0).choice(images, most, replace=False))


def measure(files: Sequence[Path], *, max_pixels: int = MAX_PIXELS, depth: int = FULL) -> NDArray[np.float64]:
    """(n, 3) brightness, sharpness and size; NaN for an image that cannot be read now."""
    found = np.full((len(files), len(MEASURES)), np.nan)
    for row, file in zip(found, files, strict=True):
        try:
            row[:] = measured(decode(file, max_pixels=max_pixels, depth=depth))
        except ImageError:
            continue
    return found


def measured(pixels: NDArray[np.uint8]) -> tuple[float, float, float]:
    """What (H, W, 3) RGB pixels say, in the order of `MEASURES`."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    factor = SHARPNESS_SIDE / max(grey.shape)
    size = max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor))
    even = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    sharpness = float(cv2.Laplacian(even, cv2.CV_64F).var())
    return float(grey.mean()), float(np.log10(max(sharpness, 1e-2))), float(min(grey.shape))


def binned(values: NDArray[np.float64], table: PredictionTable, bins: int = BINS) -> list[Bin]:
    """Accuracy of equally many images each, from low to high values; equal values are never in two bins.

    Args:
        values: (n,) of the images of the table; NaN: not known.

    Returns:
        Nothing where all values are equal.
    """
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return []
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, bins + 1)[1:-1]))
    place = np.searchsorted(edges, values[known], side="left")
    found = []
    for k in np.unique(place):
        rows = known[place == k]
        accuracy = accuracy_interval(table.true[rows], table.predicted[rows], table.group[rows])
        inside = values[rows]
        groups = len(np.unique(table.group[rows]))
        found.append(Bin(float(inside.min()), float(inside.max()), len(rows), groups, accuracy))
    return found if len(found) > 1 else []
