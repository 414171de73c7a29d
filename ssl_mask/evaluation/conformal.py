"""How strange a new image is among images that a model was not trained on, and the classes that hold its truth.

    p(x) = (1 + Σ_g mean over g's images i and the models m that were not trained on i of [s_m(i) ≥ s_m(x)]) / (G + 1)

s is a score that grows with strangeness; G is the number of groups. Each group counts once, however many images it has:
seven images of a person are not seven witnesses (Lee, Barber & Willett 2023, "Distribution-free inference with
hierarchical data"). With one model, and groups that were drawn like those of the new images, p(x) ≤ α in at most α of
all cases. With several models (folds) this is cross-conformal prediction (Vovk 2015): close to α, proven for 2α alone
(Barber et al. 2021, "Predictive inference with the jackknife+", theorem 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.evaluation.ensemble import nested_parts
from ssl_mask.evaluation.metrics import Interval, accuracy_interval


@dataclass(frozen=True)
class Judged:
    """Scores of labeled images by models that were not trained on their groups. One row an image and model."""

    score: NDArray[np.floating[Any]]
    """(n,) the higher, the stranger."""
    group: NDArray[np.str_]
    model: NDArray[np.int64]
    """(n,) number of the model, from 0: of folds, the fold."""

    @classmethod
    def joined(cls, scores: Sequence[NDArray[np.floating[Any]]], groups: Sequence[NDArray[np.str_]]) -> Judged:
        """What several models say, each of its own images."""
        model = np.repeat(np.arange(len(scores)), [len(score) for score in scores])
        return cls(np.concatenate(scores), np.concatenate(groups), model)

    @property
    def groups(self) -> int:
        return len(np.unique(self.group))

    def at(self, rows: NDArray[np.bool_]) -> Judged:
        return Judged(self.score[rows], self.group[rows], self.model[rows])


def p_values(judged: Judged, new: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """p(x) of new images.

    Args:
        new: (models, …) their scores by each model; NaN where there is none.

    Returns:
        (…) from 1 / (G + 1) to 1; NaN where a score is.
    """
    _, of_row, rows = np.unique(judged.group, return_inverse=True, return_counts=True)
    weight = 1 / rows[of_row]
    above = np.zeros(new.shape[1:])
    for model, scores in enumerate(new):
        own = judged.model == model
        order = np.argsort(judged.score[own], kind="stable")
        as_strange = np.append(np.cumsum(weight[own][order][::-1])[::-1], 0.0)
        above += as_strange[np.searchsorted(judged.score[own][order], scores)]
    p = np.round((1 + above) / (len(rows) + 1), 12)  # sums of sevenths are not exact, and p is compared with a rate
    return np.where(np.isnan(new).any(axis=0), np.nan, p)


def held_out_p_values(judged: Judged) -> NDArray[np.float64]:
    """(n,) p of each row among those of the other folds.

    Where there is one model, or several judge the same groups, among the other of up to five parts of whole groups.

    Raises:
        DataError: all images are of one group, so nothing can be held out.
    """
    once = len(set(zip(judged.group.tolist(), judged.model.tolist(), strict=True))) == judged.groups
    parts = nested_parts(judged.model if once else np.zeros_like(judged.model), judged.group, hint=MORE_GROUPS)
    p = np.empty(len(judged.score))
    for part in np.unique(parts):
        own = parts == part
        others = judged.at(~own)  # by whichever model: the images of a fold are judged by its own alone
        alike = Judged(others.score, others.group, np.zeros_like(others.model))
        p[own] = p_values(alike, judged.score[own][None])
    return p


MORE_GROUPS = "Train with more groups in validation (data.folds), or predict with a study of folds (--folds)."


def share(cases: NDArray[np.bool_], group: NDArray[np.str_]) -> Interval:
    """The share of images of which something holds, with its 95 % interval; whole groups are drawn."""
    return accuracy_interval(cases.astype(np.int64), np.ones(len(cases), np.int64), group)


def least_groups(rate: float) -> int:
    """So many groups are needed for p ≤ rate to be possible: 1 / (G + 1) ≤ rate."""
    return int(np.ceil(np.round(1 / rate, 9))) - 1


def sets(p: NDArray[np.float64], predicted: NDArray[np.int64], coverage: float) -> NDArray[np.bool_]:
    """(n, classes) whether a class is in the set: it is less strange than rare (p > 1 − coverage), or predicted.

    Args:
        p: (n, classes) of 1 − the probability of each class, among those of the true classes.
        predicted: (n,) class, which is always in: a set is never empty, and coverage only grows.
        coverage: share of images whose set is to hold the true class, in (0, 1).
    """
    held: NDArray[np.bool_] = p > np.round(1 - coverage, 12)
    held[np.arange(len(p)), predicted] = True
    return held
