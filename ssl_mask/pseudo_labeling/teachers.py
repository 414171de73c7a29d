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

    def with_rows_of(self, *others: Taught) -> Taught:
        """These images, then those of others that as many teachers predicted."""
        all_ = (self, *others)
        rows = tuple(row for each in all_ for row in each.mean.manifest.rows)
        probs = np.concatenate([each.mean.probs for each in all_])
        votes = {name: np.concatenate([each.votes[name] for each in all_], axis=1) for name in self.votes}
        return Taught(PredictedImages(self.mean.manifest.with_rows(rows), probs, {}), votes)


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
