"""Which predictions become pseudo-labels: pure rules on a model's predictions.

Ties in confidence are broken by a key of each row (the SHA-256 of its photo), so the order of rows changes nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]


class TopPrediction(NamedTuple):
    """Of one head, or of the joint distribution."""

    predicted: NDArray[np.int64]
    """(n,) most probable class; -1: no prediction."""
    confidence: NDArray[np.float64]
    """(n,) its probability, in [0, 1]."""
    margin: NDArray[np.float64]
    """(n,) how far it is ahead of the next class, in [0, 1]."""


def top_prediction(probs: NDArray[Any]) -> TopPrediction:
    """What (n, classes ≥ 2) probabilities say; of equal ones the lowest class wins. A row with NaN says nothing."""
    missing = np.isnan(probs).any(axis=1)
    # In float64, so that float32 confidences meet one threshold and an array of them in the same way.
    second, first = np.partition(np.where(missing[:, None], 0, probs), -2, axis=1)[:, -2:].astype(np.float64).T
    return TopPrediction(np.where(missing, -1, probs.argmax(axis=1)), first, first - second)


def above(tops: TopPrediction, threshold: float | NDArray[Any]) -> Mask:
    """(n,) confidence ≥ threshold, which is one number or (classes,) by predicted class; inf is never met."""
    limits = np.asarray(threshold, dtype=np.float64)
    limit = limits if limits.ndim == 0 else limits[tops.predicted]
    chosen: Mask = (tops.predicted >= 0) & (tops.confidence >= limit)
    return chosen


def top_k(tops: TopPrediction, k: int | Counts, keys: NDArray[Any]) -> Mask:
    """(n,) the k most confident of each predicted class.

    Args:
        k: one number, or (classes,) by predicted class.
        keys: (n,) str or bytes, each one once.
    """
    order = np.lexsort((keys, -tops.confidence))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = running_count(tops.predicted[order])
    limits = np.asarray(k)
    limit = limits if limits.ndim == 0 else limits[tops.predicted]
    chosen: Mask = (tops.predicted >= 0) & (rank < limit)
    return chosen


def percentile(tops: TopPrediction, share: float, keys: NDArray[Any]) -> Mask:
    """(n,) the most confident share of each predicted class, rounded up: curriculum labeling.

    Cascante-Bonilla et al. 2021, arXiv 2001.06001.

    Args:
        share: in [0, 1].
        keys: (n,) str or bytes, each one once.
    """
    return top_k(tops, quotas(class_counts(tops), share), keys)


def curriculum_share(round_: int, step: float = 0.2) -> float:
    """What share round 1, 2, … selects: a step more each round, until all is selected."""
    return min(1.0, round_ * step)


def quotas(counts: Counts, share: float) -> Counts:
    """A share in [0, 1] of (classes,) counts, rounded up."""
    # 3 · 0.2 · 5 is 3.0000000000000004, which must not become 4.
    return np.ceil(np.round(share * counts, 6)).astype(np.int64)


def capped(selected: Mask, tops: TopPrediction, limit: int, keys: NDArray[Any]) -> Mask:
    """(n,) of what is selected, at most `limit` of each predicted class: the most confident.

    Args:
        keys: (n,) str or bytes, each one once.
    """
    return top_k(_only(selected, tops), limit, keys)


def balanced_limit(selected: Mask, tops: TopPrediction, classes: int, ratio: float) -> int:
    """A cap that balances classes: ratio × the median count of the classes that are selected at all; at least 1."""
    counts = class_counts(_only(selected, tops), classes)
    return max(1, int(ratio * np.median(counts[counts > 0]))) if counts.any() else 1


def class_counts(tops: TopPrediction, classes: int = 1) -> Counts:
    """How many rows are predicted of each class; at least `classes` numbers."""
    return np.bincount(tops.predicted[tops.predicted >= 0], minlength=classes)


def running_count(codes: NDArray[np.int64]) -> Counts:
    """(n,) how often each code occurred before: [7, 3, 7, 7] gives [0, 0, 1, 2]."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    counts = np.empty(len(codes), dtype=np.int64)
    counts[order] = np.arange(len(codes)) - np.searchsorted(ordered, ordered)
    return counts


def _only(selected: Mask, tops: TopPrediction) -> TopPrediction:
    return tops._replace(predicted=np.where(selected, tops.predicted, -1))
