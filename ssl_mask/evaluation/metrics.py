"""Scores on pooled predictions, and their intervals by group."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


class Interval(NamedTuple):
    value: float
    low: float
    high: float


def confusion(true: Labels, predicted: Labels, classes: int, weights: NDArray[Any] | None = None) -> NDArray[Any]:
    """(classes, classes) counts; rows are true, columns predicted."""
    cells = np.bincount(true * classes + predicted, weights=weights, minlength=classes * classes)
    return cells.reshape(classes, classes)


def f1_per_class(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """(classes,) F1 from a confusion matrix; 0 for a class that is neither true nor predicted."""
    right = np.diag(matrix).astype(np.float64)
    total = matrix.sum(axis=0) + matrix.sum(axis=1)
    f1: NDArray[np.float64] = np.divide(2 * right, total, out=np.zeros_like(right), where=total > 0)
    return f1


def macro_f1(true: Labels, predicted: Labels, classes: int) -> float:
    """Mean F1 over all classes of the schema, on pooled predictions."""
    return float(f1_per_class(confusion(true, predicted, classes)).mean())


def accuracy(true: Labels, predicted: Labels) -> float:
    return float((true == predicted).mean()) if len(true) else float("nan")


def paired_bootstrap(
    true: Labels, first: Labels, second: Labels, groups: NDArray[Any], classes: int, *, draws: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """95 % percentile intervals of second less first, averaged over runs; the same groups are drawn for both.

    Args:
        true: (n,).
        first: (runs, n) predicted classes.
        second: (runs, n), of the same images.
        groups: (n,) group of each image.

    Returns:
        `macro_f1` and `accuracy`, each (difference, low, high).
    """
    names, group_of = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    supported = np.bincount(true, minlength=classes)[:classes] > 0

    def difference(weights: NDArray[Any] | None) -> tuple[float, float]:
        means: list[tuple[float, float]] = []
        for side in (first, second):
            scores = []
            for predicted in side:
                matrix = confusion(true, predicted, classes + 1, weights=weights)
                counted = (matrix.sum(axis=1)[:classes] > 0) | ~supported
                f1 = f1_per_class(matrix)[:classes]
                scores.append((f1[counted].mean(), np.trace(matrix) / matrix.sum()))
            means.append(tuple(np.mean(scores, axis=0)))
        return means[1][0] - means[0][0], means[1][1] - means[0][1]

    drawn = [
        difference(rng.multinomial(len(names), np.full(len(names), 1 / len(names)))[group_of]) for _ in range(draws)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    values = zip(("macro_f1", "accuracy"), difference(None), low, high, strict=True)
    return {key: Interval(float(v), float(lo), float(hi)) for key, v, lo, hi in values}


def bootstrap(
    true: Labels, predicted: Labels, groups: NDArray[Any], classes: int, *, draws: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """95 % percentile intervals of macro-F1 and accuracy; whole groups are drawn with replacement.

    Args:
        predicted: (n,) class, or `classes` for an image without a prediction.
        groups: (n,) group of each image; images of one group are drawn together.

    Returns:
        `macro_f1` and `accuracy`, each (value, low, high).
    """
    names, group_of = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    supported = np.bincount(true, minlength=classes)[:classes] > 0
    scores = np.empty((draws, 2))
    for draw in range(draws):
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))
        matrix = confusion(true, predicted, classes + 1, weights=times[group_of])
        # A rare class that this draw happens to miss says nothing about the model: it is left out, not counted as 0.
        counted = (matrix.sum(axis=1)[:classes] > 0) | ~supported
        scores[draw] = f1_per_class(matrix)[:classes][counted].mean(), np.trace(matrix) / matrix.sum()
    low, high = np.percentile(scores, [2.5, 97.5], axis=0)
    f1 = f1_per_class(confusion(true, predicted, classes + 1))[:classes]
    values = float(f1.mean()), accuracy(true, predicted)
    keys = ("macro_f1", "accuracy")
    return {k: Interval(v, float(lo), float(hi)) for k, v, lo, hi in zip(keys, values, low, high, strict=True)}
