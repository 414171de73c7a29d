"""Temperature scaling, so that confidence is the chance of being right (Guo et al. 2017, arXiv 1706.04599)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST = 0.05, 20.0
FEW = 200
"""With fewer validation images than this, a fitted temperature over-corrects."""


def fit_temperature(logits: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """The T in [0.05, 20] that minimises the mean of −log softmax(z / T)_y.

    Args:
        logits: (n, classes) margin-free logits.
        labels: (n,) class indices; n = 0 gives T = 1.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    if len(labels) == 0:
        return 1.0
    scores = logits.astype(np.float64)

    def nll(log_t: float) -> float:
        log_p = log_softmax(scores / np.exp(log_t), axis=1)
        return float(-log_p[np.arange(len(labels)), labels].mean())

    # The loss is convex in 1/T and so has one minimum in log T.
    found = minimize_scalar(nll, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


class ReliabilityCurve(NamedTuple):
    """One value per equal-width bin of the top probability, from 0 to 1."""

    images: NDArray[np.int64]
    """(bins,) number of images in each bin."""
    confidence: NDArray[np.float64]
    """(bins,) their mean top probability; NaN in an empty bin."""
    accuracy: NDArray[np.float64]
    """(bins,) the share of them that is right; NaN in an empty bin."""


def reliability_curve(probs: NDArray[Any], labels: NDArray[np.int64], bins: int = 15) -> ReliabilityCurve:
    """The share of right predictions for each level of confidence.

    Args:
        probs: (n, classes) probabilities.
        labels: (n,) class indices.
    """
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    images = np.bincount(bin_of, minlength=bins)
    sums = [np.bincount(bin_of, weights=values, minlength=bins) for values in (confidence, right)]
    means = [np.divide(total, images, out=np.full(bins, np.nan), where=images > 0) for total in sums]
    return ReliabilityCurve(images, *means)


def expected_calibration_error(probs: NDArray[Any], labels: NDArray[np.int64], *, bins: int = 15) -> float:
    """Σ_b |b|/n · |accuracy − mean confidence| over equal-width bins of the top probability, in [0, 1]; NaN for n = 0.

    Args:
        probs: (n, classes) probabilities.
        labels: (n,) class indices.
    """
    if len(labels) == 0:
        return float("nan")
    images, confidence, accuracy = reliability_curve(probs, labels, bins)
    return float(np.nansum(images * np.abs(accuracy - confidence)) / len(labels))
