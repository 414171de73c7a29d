"""Whether two pools of images differ: how well a classifier tells them apart that has not seen the image or its group.

An AUC of 0.5 says that nothing tells them apart, 1 that everything does (a classifier two-sample test; Lopez-Paz and
Oquab, arXiv 1610.06545). The images of the first pool that it takes for the second are those that are most like it.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.evaluation.metrics import Interval
from ssl_mask.evaluation.reference import STRENGTH

FOLDS = 5
FEWEST = 20
"""Images that each pool must have."""
COMPONENTS = 64
"""Of the features: enough to tell pools apart, and a hundred times faster than all of them."""
DRAWS = 500


class Shift(NamedTuple):
    """How well two pools are told apart."""

    auc: Interval
    probability: NDArray[np.float64]
    """(n,) that an image is of the second pool, by a classifier that has not seen its group; both pools count alike."""


def shift(features: NDArray[Any], second: NDArray[np.bool_], groups: NDArray[np.str_]) -> Shift | None:
    """Tell two pools apart by their features, cross-validated by group.

    Args:
        features: (n, d) of the images of both pools.
        second: (n,) whether an image is of the second pool.
        groups: (n,) "" unknown: the image is a group of its own.

    Returns:
        None where a pool has too few images or groups to say anything.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    unit = _units(groups)
    sides = [len(np.unique(unit[second == side])) for side in (False, True)]
    if min(int(second.sum()), int((~second).sum())) < FEWEST or min(sides) < FOLDS:
        return None
    small = _reduced(features)
    probability = np.full(len(small), np.nan)
    for train, held in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(small, second, unit):
        if len(np.unique(second[train])) == 2:
            probability[held] = _probability(small[train], second[train], small[held])
    if np.isnan(probability).any():
        return None
    return Shift(auc_interval(probability, second, unit), probability)


def auc_interval(
    score: NDArray[np.float64], second: NDArray[np.bool_], unit: NDArray[np.int64], *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """AUC with its 95 % percentile interval; whole groups are drawn with replacement.

    Args:
        score: (n,) higher: rather of the second pool. Equal scores count half.
        second: (n,) which pool it is.
        unit: (n,) numbers of the groups, from 0 on.
    """
    size = int(unit.max()) + 1
    counts = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=draws)
    found = auc(score, second, counts[:, unit].astype(np.float64))
    low, high = np.quantile(found[~np.isnan(found)], [0.025, 0.975])
    return Interval(float(auc(score, second, np.ones((1, len(score))))[0]), float(low), float(high))


def auc(score: NDArray[np.float64], second: NDArray[np.bool_], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted area under the ROC curve.

    Args:
        weights: (draws, n) what each image counts.

    Returns:
        (draws,) NaN where a pool counts nothing.
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    above, below = (
        np.add.reduceat(weights[:, order] * (second[order] == side), starts, axis=1) for side in (True, False)
    )
    beaten = np.cumsum(below, axis=1) - below / 2
    pairs = above.sum(axis=1) * below.sum(axis=1)
    wins = (above * beaten).sum(axis=1)
    found: NDArray[np.float64] = np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return found


def _units(groups: NDArray[np.str_]) -> NDArray[np.int64]:
    """(n,) a number for each group; an image without one gets a number of its own."""
    _, unit = np.unique(groups, return_inverse=True)
    alone = np.flatnonzero(groups == "")
    unit[alone] = len(groups) + np.arange(len(alone))
    return np.unique(unit, return_inverse=True)[1].astype(np.int64)


def _reduced(features: NDArray[Any]) -> NDArray[np.float64]:
    """(n, at most `COMPONENTS`) standardised principal components. No label is used, so nothing leaks into a fold."""
    from sklearn.decomposition import PCA

    components = min(COMPONENTS, *features.shape)
    small = PCA(components, svd_solver="randomized", random_state=0).fit_transform(features.astype(np.float64))
    spread = small.std(axis=0)
    return np.asarray(small / np.where(spread > 0, spread, 1.0), np.float64)


def _probability(seen: NDArray[Any], second: NDArray[np.bool_], asked: NDArray[Any]) -> NDArray[np.float64]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=STRENGTH / seen.shape[1], class_weight="balanced", max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what it has then tells pools apart, too
        model.fit(seen, second)
    return np.asarray(model.predict_proba(asked)[:, 1], np.float64)
