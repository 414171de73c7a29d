"""One head's selection: a rule applied to a pool, and what the same bars are worth on validation."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.selection.precision import precision_thresholds
from ssl_mask.selection.rules import (
    TopPrediction,
    above,
    balanced_limit,
    capped,
    curriculum_share,
    percentile,
    top_k,
    top_prediction,
)

RuleName = Literal["precision", "threshold", "top_k", "percentile"]


class Rule(NamedTuple):
    """What is believed, with the settings of all rules; each reads its own."""

    name: RuleName
    threshold: float
    target_precision: float
    top_k: int
    percentile_step: float
    cap: float | None


class ValidationPredictions(NamedTuple):
    """Validation of the same network, in the same views as the pool."""

    probs: NDArray[np.floating]
    """(m, classes)."""
    true: NDArray[np.int64]
    """(m,)."""
    groups: NDArray[np.str_]
    """(m,)."""


class HeadSelection(NamedTuple):
    selected: NDArray[np.bool_]
    """(n,) which of the pool are believed."""
    thresholds: NDArray[np.float64]
    """(classes,) lowest confidence that is believed; infinite for a class that never is."""
    source: tuple[str, ...]
    """Where each class's bar comes from: `class`, `pooled`, `none` (rule precision), or the rule's name."""
    share: float
    """Share of validation at or above the bars."""
    precision: float
    """How much of that is right; NaN where it is nothing."""


def select_head(
    probs: NDArray[np.floating], keys: NDArray[np.str_], judged: ValidationPredictions, rule: Rule, round_number: int
) -> HeadSelection:
    """Apply a rule to one head (or the joint distribution).

    Args:
        probs: (n, classes) calibrated probabilities of the pool.
        keys: (n,) SHA-256 of each image, which break ties: the order of the pool does not matter.
        judged: validation.
        round_number: from 1; `percentile` believes more in later rounds.
    """
    pool, classes = top_prediction(probs), probs.shape[1]
    thresholds, source = thresholds_of(pool, keys, judged, rule, round_number)
    selected = _ranked(pool, keys, rule, round_number) if rule.name in RANKED else above(pool, thresholds)
    if rule.cap is not None:
        selected = capped(selected, pool, balanced_limit(selected, pool, classes, rule.cap), keys)
        thresholds = lowest_selected(selected, pool, classes)
    seen = top_prediction(judged.probs)
    kept = above(seen, thresholds)
    right = (seen.predicted == judged.true) & kept
    precision = float(right.sum() / kept.sum()) if kept.any() else float("nan")
    return HeadSelection(selected, thresholds, source, float(kept.mean()), precision)


RANKED = {"top_k", "percentile"}
"""Rules that rank the pool; the others look at each image by itself."""


def thresholds_of(
    pool: TopPrediction, keys: NDArray[np.str_], judged: ValidationPredictions, rule: Rule, round_number: int
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """(classes,) lowest confidence that the rule believes, and where each comes from."""
    classes = judged.probs.shape[1]
    if rule.name == "precision":
        found = precision_thresholds(
            top_prediction(judged.probs), judged.true, classes, rule.target_precision, groups=judged.groups
        )
        return found.thresholds, found.source
    if rule.name == "threshold":
        return np.full(classes, rule.threshold), ("threshold",) * classes
    return lowest_selected(_ranked(pool, keys, rule, round_number), pool, classes), (rule.name,) * classes


def _ranked(pool: TopPrediction, keys: NDArray[np.str_], rule: Rule, round_number: int) -> NDArray[np.bool_]:
    if rule.name == "top_k":
        return top_k(pool, rule.top_k, keys)
    return percentile(pool, curriculum_share(round_number, rule.percentile_step), keys)


def lowest_selected(selected: NDArray[np.bool_], pool: TopPrediction, classes: int) -> NDArray[np.float64]:
    """(classes,) lowest confidence that is selected of each predicted class; infinite where none is."""
    thresholds = np.full(classes, np.inf)
    np.minimum.at(thresholds, pool.predicted[selected], pool.confidence[selected])
    return thresholds
