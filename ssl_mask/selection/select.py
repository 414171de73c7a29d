"""Selection per head: a rule applied to a pool, and what the same thresholds are worth on validation."""

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

RANKED = {"top_k", "percentile"}
"""Rules that rank the pool; the others look at each image by itself."""


class Rule(NamedTuple):
    """What is selected, with the settings of all rules; each reads its own."""

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
    """What a rule selects of a head, or of the joint distribution."""

    selected: NDArray[np.bool_]
    """(n,) which images of the pool."""
    thresholds: NDArray[np.float64]
    """(classes,) lowest confidence that is selected; infinite for a class that never is."""
    source: tuple[str, ...]
    """Where the threshold of each class comes from: `class`, `pooled`, `none` (rule precision), or the rule's name."""
    support: NDArray[np.int64]
    """(classes,) validation images that are predicted of the class at or above its threshold."""
    share: float
    """Share of validation at or above the thresholds."""
    precision: float
    """How much of that is right; NaN where it is nothing."""


def select_head(
    probs: NDArray[np.floating], keys: NDArray[np.str_], validation: ValidationPredictions, rule: Rule,
    round_number: int,
) -> HeadSelection:  # fmt: skip
    """Apply a rule to one head (or the joint distribution).

    Args:
        probs: (n, classes) calibrated probabilities of the pool.
        keys: (n,) SHA-256 of each image, which break ties: the order of the pool does not matter.
        round_number: from 1; `percentile` selects more in later rounds.
    """
    pool, classes = top_prediction(probs), probs.shape[1]
    thresholds, source = thresholds_of(pool, keys, validation, rule, round_number)
    selected = _ranked(pool, keys, rule, round_number) if rule.name in RANKED else above(pool, thresholds)
    if rule.cap is not None:
        selected = capped(selected, pool, balanced_limit(selected, pool, classes, rule.cap), keys)
        thresholds = lowest_selected(selected, pool, classes)
    return head_selection(selected, thresholds, source, validation)


def head_selection(
    selected: NDArray[np.bool_], thresholds: NDArray[np.float64], source: tuple[str, ...],
    validation: ValidationPredictions,
) -> HeadSelection:  # fmt: skip
    """A selection with what its thresholds are worth on validation.

    Args:
        selected: (n,) of the pool.
        thresholds: (classes,).
        source: as in `HeadSelection`.
    """
    seen = top_prediction(validation.probs)
    kept = above(seen, thresholds)
    precision = float((seen.predicted == validation.true)[kept].mean()) if kept.any() else float("nan")
    support = np.bincount(seen.predicted[kept], minlength=len(thresholds))
    return HeadSelection(selected, thresholds, source, support, float(kept.mean()), precision)


def thresholds_of(
    pool: TopPrediction, keys: NDArray[np.str_], validation: ValidationPredictions, rule: Rule, round_number: int
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """(classes,) lowest confidence that the rule selects, and where each comes from."""
    classes = validation.probs.shape[1]
    if rule.name == "precision":
        found = precision_thresholds(
            top_prediction(validation.probs), validation.true, classes, rule.target_precision,
            groups=validation.groups,
        )  # fmt: skip
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
