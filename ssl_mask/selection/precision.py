"""Thresholds from a wanted precision: confidence counts only as far as validation images vouch for it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.selection.rules import TopPrediction, running_count

Z = 1.6449
"""One-sided 95 % of the normal distribution."""

Source = Literal["class", "pooled", "none"]


class PrecisionThresholds(NamedTuple):
    thresholds: NDArray[np.float64]
    """(classes,); inf: never select."""
    source: tuple[Source, ...]
    """What vouches for each threshold: the class's own predictions, those of all classes, or nothing."""


class _Curve(NamedTuple):
    """What selecting down to each distinct confidence gives, from the highest to the lowest."""

    confidence: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


def wilson_lower(right: NDArray[Any] | float, count: NDArray[Any] | float, z: float = Z) -> NDArray[np.float64]:
    """Lower end of Wilson's score interval of right / count; 0 of no trials (Wilson 1927, doi 10.2307/2276774).

    With the default z the true share lies below it in one of twenty cases. Counts need not be whole.
    """
    hits, n = np.asarray(right, dtype=np.float64), np.asarray(count, dtype=np.float64)
    share = np.divide(hits, n, out=np.zeros_like(n), where=n > 0)
    bound = (hits + z * z / 2 - z * np.sqrt(share * (n - hits) + z * z / 4)) / (n + z * z)
    return np.maximum(bound, 0.0)


def precision_thresholds(
    tops: TopPrediction, true: NDArray[np.int64], classes: int, target: float, groups: NDArray[Any] | None = None
) -> PrecisionThresholds:
    """Per class the smallest confidence at which validation vouches for the target precision.

    That is: the smallest observed confidence such that, of the validation predictions of the class that are at least
    that confident, the share of right ones has a Wilson lower bound (one-sided 95 %) ≥ target. A class that never
    gets there has too few predictions or too many errors. It takes the threshold found in the same way on the
    predictions of all classes, or the one at which its own lower bound is highest, whichever is stricter. It is not
    selected at all where its own upper bound is below the target at, or between, those two. A higher target never
    gives a lower threshold.

    The bound holds for one threshold fixed beforehand. Here the luckiest of many is taken, so it holds a little less
    often than in 95 % of cases.

    Photos of one group (person) fail together, so they count as fewer than they are: n / (1 + (m − 1)·ρ) with Kish's
    design effect, where m = Σ size² / Σ size over the groups of the set, and ρ is the correlation of being right
    within a group. ρ is taken from all validation predictions at once, since sets above high thresholds hold too few
    errors to show it. Without any error it is 1: then a group counts as one photo.

    Args:
        tops: top predictions of n validation images.
        true: (n,) their classes.
        target: wanted precision, in (0, 1).
        groups: (n,) str; an empty one is a group of its own. None: all photos are independent.
    """
    rows = tops.predicted >= 0
    predicted, confidence = tops.predicted[rows], tops.confidence[rows]
    right = predicted == true[rows]
    codes = np.arange(len(right)) if groups is None else _codes(groups[rows])
    correlation = _correlation(right, codes)
    pooled = _smallest(_curve(confidence, right, codes, correlation), target)

    thresholds, sources = np.full(classes, np.inf), list[Source]()
    for c in range(classes):
        own = predicted == c
        curve = _curve(confidence[own], right[own], codes[own], correlation)
        thresholds[c], source = _settle(curve, pooled, target)
        sources.append(source)
    return PrecisionThresholds(thresholds, tuple(sources))


def _settle(curve: _Curve, pooled: float, target: float) -> tuple[float, Source]:
    """A class's threshold from its own curve and the threshold of all classes."""
    own = _smallest(curve, target)
    if np.isfinite(own):
        return own, "class"
    if not len(curve.confidence):
        return pooled, "pooled" if np.isfinite(pooled) else "none"
    best = int(np.flatnonzero(curve.lower == curve.lower.max())[-1])
    threshold = max(pooled, float(curve.confidence[best]))
    first = max(_reach(curve, threshold) - 1, 0)
    if np.isinf(threshold) or (curve.upper[first : best + 1] < target).any():
        return np.inf, "none"
    return threshold, "pooled"


def _curve(confidence: NDArray[Any], right: NDArray[Any], codes: NDArray[np.int64], correlation: float) -> _Curve:
    order = np.argsort(-confidence, kind="stable")
    ends = np.flatnonzero(np.diff(confidence[order], append=-np.inf))  # the last row of each distinct confidence
    size = ends + 1
    hits = np.cumsum(right[order])[ends]
    # A group's row number c (from 0) raises the sum of squared group sizes by (c + 1)² − c².
    squares = np.cumsum(2 * running_count(codes[order]) + 1)[ends]
    worth = size / (1 + (squares / size - 1) * correlation)
    share = hits / size
    lower, upper = wilson_lower(share * worth, worth), 1 - wilson_lower((1 - share) * worth, worth)
    return _Curve(confidence[order][ends], lower, upper)


def _smallest(curve: _Curve, target: float) -> float:
    """The smallest confidence whose lower bound reaches the target, though a larger one may miss it; or inf."""
    reached = np.flatnonzero(curve.lower >= target)
    return float(curve.confidence[reached[-1]]) if len(reached) else np.inf


def _reach(curve: _Curve, threshold: float) -> int:
    """How many points of the curve lie at or above a threshold."""
    return int((curve.confidence >= threshold).sum())


def _codes(groups: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) a number a group; rows without a group get one each."""
    codes = np.unique(groups, return_inverse=True)[1]
    alone = groups == ""
    codes[alone] = codes.max(initial=0) + 1 + np.arange(alone.sum())
    return codes


def _correlation(right: NDArray[np.bool_], codes: NDArray[np.int64]) -> float:
    """ρ: the mean product of the residuals of two rows of one group over the variance, kept in [0, 1].

    With groups of one size m, 1 + (m − 1)·ρ is the cluster-robust variance of the mean over the binomial one.
    """
    sizes = np.bincount(codes)
    pairs = int((sizes * (sizes - 1)).sum())
    if not pairs:
        return 0.0
    residual = right - right.mean()
    squares = float((residual**2).sum())
    if squares == 0:
        return 1.0
    products = float((np.bincount(codes, weights=residual) ** 2).sum()) - squares
    return float(np.clip(products / pairs / (squares / len(right)), 0, 1))
