"""Scores on pooled predictions, and their intervals by group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


class Interval(NamedTuple):
    """A score with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def confusion(true: Labels, predicted: Labels, classes: int) -> NDArray[Any]:
    """(classes, classes) counts; rows are true, columns predicted."""
    cells = np.bincount(true * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes)


def f1_per_class(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """(…, classes) F1 from confusion matrices (…, classes, classes); 0 for a class neither true nor predicted."""
    right = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    total = matrix.sum(axis=-2) + matrix.sum(axis=-1)
    f1: NDArray[np.float64] = np.divide(2 * right, total, out=np.zeros_like(right), where=total > 0)
    return f1


def macro_f1(true: Labels, predicted: Labels, classes: int) -> float:
    """Mean F1 over all classes of the schema, on pooled predictions."""
    return float(f1_per_class(confusion(true, predicted, classes)).mean())


def accuracy(true: Labels, predicted: Labels) -> float:
    return float((true == predicted).mean()) if len(true) else float("nan")


def log_loss(true: Labels, probs: NDArray[Any]) -> float:
    """Mean −log p of the true class; p counts as at least 1e-12.

    Args:
        probs: (n, classes).
    """
    return float(-np.log(np.maximum(probs[np.arange(len(true)), true], 1e-12)).mean())


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
    return _intervals(lambda weights: _scores(true, predicted, classes, weights), groups, classes, draws, seed)


def score_draws(
    true: Labels, predicted: Labels, groups: NDArray[Any], classes: int, *, draws: int, seed: int = 0
) -> NDArray[np.float64]:
    """(draws, 2) macro-F1 and accuracy of each draw of `bootstrap`. Of a seed the same groups are drawn for every
    model, so that differences are paired."""
    return np.concatenate([_scores(true, predicted, classes, w) for w in _draws(groups, classes, draws, seed)])


def accuracy_interval(
    true: Labels, predicted: Labels, groups: NDArray[Any], *, draws: int = 1000, seed: int = 0
) -> Interval:
    """The accuracy of `bootstrap` alone, at a hundredth of its cost: all draws are one product of matrices."""
    names, group_of = np.unique(groups, return_inverse=True)
    images = np.bincount(group_of)
    right = np.bincount(group_of, weights=true == predicted)
    rng, share = np.random.default_rng(seed), np.full(len(names), 1 / len(names))
    drawn = rng.multinomial(len(names), share, size=draws)
    low, high = np.percentile((drawn @ right) / (drawn @ images), [2.5, 97.5])
    return Interval(float(right.sum() / images.sum()), float(low), float(high))


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

    def difference(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        before, after = (
            np.mean([_scores(true, run, classes, weights) for run in side], axis=0) for side in (first, second)
        )
        found: NDArray[np.float64] = after - before
        return found

    return _intervals(difference, groups, classes, draws, seed)


def _scores(true: Labels, predicted: Labels, classes: int, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """(draws, 2) macro-F1 and accuracy of (n,) predicted classes, as often as each draw counts each image."""
    matrices = _confusions(true, predicted, classes, weights)
    # A rare class that a draw happens to miss says nothing about the model: it is left out, not counted as 0.
    counted = (matrices.sum(axis=2)[:, :classes] > 0) | (np.bincount(true, minlength=classes)[:classes] == 0)
    f1 = [row[own].mean() for row, own in zip(f1_per_class(matrices)[:, :classes], counted, strict=True)]
    right = np.trace(matrices, axis1=1, axis2=2)
    return np.stack([np.asarray(f1), right / matrices.sum(axis=(1, 2))], axis=1)


def _confusions(true: Labels, predicted: Labels, classes: int, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """(draws, classes + 1, classes + 1): `confusion` of each draw."""
    draws, size = len(weights), classes + 1
    cells = size * size * np.arange(draws)[:, None] + (size * true + predicted)
    counts: NDArray[np.float64] = np.bincount(cells.ravel(), weights=weights.ravel(), minlength=draws * size * size)  # type: ignore[assignment]  # floats, for there are weights
    return counts.reshape(draws, size, size)


def _intervals(
    statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]], groups: NDArray[Any], classes: int, draws: int,
    seed: int,
) -> dict[str, Interval]:  # fmt: skip
    """A statistic of all images, and its spread when whole groups are drawn with replacement."""
    drawn = np.concatenate([statistic(weights) for weights in _draws(groups, classes, draws, seed)])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    whole = statistic(np.ones((1, len(groups)), dtype=np.int64))[0]
    values = zip(("macro_f1", "accuracy"), whole, low, high, strict=True)
    return {key: Interval(float(v), float(lo), float(hi)) for key, v, lo, hi in values}


AT_ONCE = 200_000
"""Counts of images, and of cells of confusion matrices: as many draws as fit are computed together."""


def _draws(groups: NDArray[Any], classes: int, draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """(some draws, n) how often each image counts, when whole groups are drawn with replacement."""
    names, group_of = np.unique(groups, return_inverse=True)
    rng, share = np.random.default_rng(seed), np.full(len(names), 1 / len(names))
    some = max(1, AT_ONCE // max(len(groups), (classes + 1) ** 2))
    for done in range(0, draws, some):
        yield rng.multinomial(len(names), share, size=min(some, draws - done))[:, group_of]


TOO_FEW = 5
"""Of a class with so few true images, an interval of its F1 tells more of chance than of the model."""


def class_f1_intervals(
    true: Labels, predicted: Labels, groups: NDArray[Any], classes: int, *, draws: int = 1000, seed: int = 0
) -> list[Interval | None]:
    """95 % percentile intervals of the F1 of each class; whole groups are drawn with replacement.

    A draw that misses a class says nothing about it and is left out.

    Args:
        true: (n,).
        predicted: (n,) class, or `classes` for an image without a prediction.
        groups: (n,) group of each image; images of one group are drawn together.

    Returns:
        (classes,) value, low and high; None for a class of at most 5 true images.
    """
    parts = []
    for weights in _draws(groups, classes, draws, seed):
        matrices = _confusions(true, predicted, classes, weights)
        parts.append(np.where(matrices.sum(axis=2) > 0, f1_per_class(matrices), np.nan)[:, :classes])
    drawn = np.concatenate(parts)
    values = f1_per_class(confusion(true, predicted, classes + 1))[:classes]
    support = np.bincount(true, minlength=classes)[:classes]
    intervals: list[Interval | None] = []
    for c in range(classes):
        seen = drawn[~np.isnan(drawn[:, c]), c]
        enough = support[c] > TOO_FEW
        low, high = np.percentile(seen, [2.5, 97.5]) if enough else (np.nan, np.nan)
        intervals.append(Interval(float(values[c]), float(low), float(high)) if enough else None)
    return intervals


class ClassScore(NamedTuple):
    """How well one class is told."""

    f1: float
    images: int
    """True images of the class."""
    interval: Interval | None
    """Of F1; None: 1–5 images are too few to say."""


def class_scores(
    true: Labels, predicted: Labels, groups: NDArray[Any], names: Sequence[str], *, seed: int = 0
) -> dict[str, ClassScore]:
    """F1 of each class with its interval by group, as `class_f1_intervals`.

    Args:
        true: (n,).
        predicted: (n,) class, or the number of classes for an image without a prediction.
        groups: (n,) group of each image.
        names: of the classes.
    """
    f1 = f1_per_class(confusion(true, predicted, len(names) + 1))[: len(names)].tolist()
    images = np.bincount(true, minlength=len(names)).tolist()
    intervals = class_f1_intervals(true, predicted, groups, len(names), seed=seed)
    return {name: ClassScore(*found) for name, *found in zip(names, f1, images, intervals, strict=True)}
