"""What several teachers say of images: the mean of their probabilities, and the class that each one predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.data.schema import LabelSchema
from ssl_mask.inference.predictor import Predictor
from ssl_mask.selection.rules import top_prediction

JOINT = "joint"


class Taught(NamedTuple):
    """What teachers say of some images."""

    mean: PredictedImages
    votes: dict[str, NDArray[np.int64]]
    """(teachers, n) class that each predicts, of `joint` and of each factor; -1: none."""


def pooled(parts: Sequence[Taught]) -> Taught:
    """The images of all parts. There are no votes where not all parts have as many teachers.

    Args:
        parts: at least one; no image is in two of them.
    """
    rows = tuple(row for part in parts for row in part.mean.manifest.rows)
    mean = PredictedImages(
        parts[0].mean.manifest.with_rows(rows), np.concatenate([part.mean.probs for part in parts]), {}
    )
    alike = len({len(part.votes[JOINT]) for part in parts}) == 1
    votes = {n: np.concatenate([part.votes[n] for part in parts], axis=1) for n in parts[0].votes if alike}
    return Taught(mean, votes)


def teach(predictors: Sequence[Predictor], rows: Manifest, *, tta: bool) -> Taught:
    """Predict images by all teachers; one alone is its own mean.

    Args:
        tta: average over the plain and the mirrored view.
    """
    each = [predictor.probs(rows, tta=tta) for predictor in predictors]
    mean = each[0]
    if len(each) > 1:
        total = sum(one.probs.astype(np.float64) for one in each)
        mean = replace(mean, probs=np.asarray(total / len(each), dtype=np.float32))
    votes = [classes_of(one.probs, rows.schema) for one in each]
    return Taught(mean, {name: np.stack([one[name] for one in votes]) for name in votes[0]})


def classes_of(probs: NDArray[np.float32], schema: LabelSchema) -> dict[str, NDArray[np.int64]]:
    """(n,) most probable joint class, and most probable class of each factor."""
    parts = schema.marginals(probs)
    return {JOINT: top_prediction(probs).predicted} | {n: top_prediction(p).predicted for n, p in parts.items()}
