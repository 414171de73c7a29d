"""Scores of a validation set from its logits, calibrated per head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_mask.errors import TrainingError
from ssl_mask.evaluation.calibration import expected_calibration_error, fit_temperature
from ssl_mask.evaluation.metrics import accuracy, log_loss, macro_f1
from ssl_mask.models.joint import predicted_probs

HeadLogits = dict[str, NDArray[np.float32]]


class Scores(NamedTuple):
    macro_f1: float
    accuracy: float
    heads: dict[str, float]
    """Accuracy of each head."""
    nll: float
    """Mean −log p of the true joint class, calibrated."""
    ece: float
    """Expected calibration error of the joint confidence, calibrated."""
    ece_raw: float
    """The same at temperature 1."""
    temperatures: dict[str, float]


def mean_probs(views: Sequence[HeadLogits], temperatures: Mapping[str, float]) -> NDArray[np.float32]:
    """(n, joint classes) calibrated probabilities, averaged over views. Probabilities, not logits, are averaged."""
    total = sum(predicted_probs({k: torch.from_numpy(z) for k, z in v.items()}, temperatures) for v in views)
    return (total / len(views)).numpy()  # type: ignore[union-attr]


def score(logits: HeadLogits, head_labels: NDArray[np.int64], joint: NDArray[np.int64], classes: int) -> Scores:
    """Scores of one view's logits against true labels, with a temperature fitted per head.

    Args:
        head_labels: (n, heads).
        joint: (n,) true joint class.
        classes: number of joint classes; macro-F1 is over all of them.

    Raises:
        TrainingError: logits that are not finite.
    """
    if not all(np.isfinite(z).all() for z in logits.values()):
        raise TrainingError(
            "The validation logits are not finite: training has diverged.",
            hint="Lower optim.lr, or set optim.clip_norm=1. The last good state is kept.",
        )
    temperatures = {name: fit_temperature(z, head_labels[:, i]) for i, (name, z) in enumerate(logits.items())}
    probs, raw = mean_probs([logits], temperatures), mean_probs([logits], {})
    predicted: NDArray[Any] = probs.argmax(axis=1)
    return Scores(
        macro_f1=macro_f1(joint, predicted, classes),
        accuracy=accuracy(joint, predicted),
        heads={n: accuracy(head_labels[:, i], z.argmax(axis=1)) for i, (n, z) in enumerate(logits.items())},
        nll=log_loss(joint, probs),
        ece=expected_calibration_error(probs, joint),
        ece_raw=expected_calibration_error(raw, joint),
        temperatures=temperatures,
    )
