"""A learning curve: the power law that errors follow as labels grow, and what it says of more labels.

error(n) = floor + scale · n^-exponent, as Hestness et al. 2017 (arXiv 1712.00409) measured it and Viering and Loog 2022
(The shape of learning curves, arXiv 2103.10948) review it. They also show curves that no power law fits: the law is an
assumption, and what speaks against it here is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ssl_mask.evaluation.metrics import Interval, Labels, macro_f1, score_draws

EXPONENTS = (0.05, 2.0)
"""Bounds. Hestness et al. measured 0.07 to 0.35 and theory says 0.5 to 1; below 0.05 the law is a straight line."""
LEAST = 3
"""Sizes that a law with three numbers needs."""


class PowerLaw(NamedTuple):
    """error(n) = floor + scale · n^-exponent; floor in [0, 1], scale ≥ 0."""

    floor: float
    scale: float
    exponent: float

    def error(self, size: float) -> float:
        """In [0, 1]."""
        return float(min(self.floor + self.scale * size**-self.exponent, 1.0))


def fit_power_law(sizes: Sequence[float], errors: Sequence[float]) -> PowerLaw:
    """The law with the least squared error. For a given exponent the rest is a line with bounds, which has an exact
    solution, so that no start values are needed.

    Args:
        sizes: (m,) numbers of labels, at least three different ones.
        errors: (m,) in [0, 1].
    """
    relative = np.asarray(sizes, dtype=np.float64) / max(sizes)
    y = np.asarray(errors, dtype=np.float64)

    def loss(exponent: float) -> float:
        floor, scale = _line(relative**-exponent, y)
        return float(np.square(floor + scale * relative**-exponent - y).sum())

    # The loss may have two valleys (a floor of 0, or not): the best of a grid is where the search begins.
    grid = np.geomspace(*EXPONENTS, 25)
    best = int(np.argmin([loss(c) for c in grid]))
    bounds = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    exponent = float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x)
    floor, scale = _line(relative**-exponent, y)
    return PowerLaw(floor, scale * float(max(sizes)) ** exponent, exponent)


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """(floor, scale) ≥ 0 with the least squared error of floor + scale · x."""
    centred = x - x.mean()
    scale = float(centred @ y / (centred @ centred))
    floor = float(y.mean() - scale * x.mean())
    if scale < 0:
        return float(y.mean()), 0.0
    if floor < 0:
        return 0.0, float(x @ y / (x @ x))
    return floor, scale


class Forecast(NamedTuple):
    """What the law says of another number of labels."""

    law: PowerLaw
    score: Interval
    """1 - error there."""
    gain: Interval
    """Less the measured score at the largest size; the same groups are drawn for both."""
    check: float | None
    """What the law of all sizes but the largest says of the score there; None with too few sizes."""


def forecast(
    sizes: Sequence[float], true: Labels, predicted: NDArray[np.int64], groups: NDArray[Any], classes: int, *,
    to: float, draws: int = 400, seed: int = 0,
) -> Forecast:  # fmt: skip
    """Extrapolate macro-F1 to `to` labels, with 95 % percentile intervals: whole groups are drawn with replacement.

    The intervals know which groups were tested. They do not know which ones were drawn to train on.

    Args:
        sizes: (m,) numbers of labels, ascending.
        true: (n,) classes.
        predicted: (m, n) classes by the models of each size.
        groups: (n,) group of each image.
    """
    drawn = np.stack([score_draws(true, one, groups, classes, draws=draws, seed=seed)[:, 0] for one in predicted])
    whole = [macro_f1(true, one, classes) for one in predicted]
    there = np.asarray([1 - fit_power_law(sizes, 1 - scores).error(to) for scores in drawn.T])
    law = fit_power_law(sizes, [1 - s for s in whole])
    value = 1 - law.error(to)
    check = None
    if len(sizes) > LEAST:
        check = 1 - fit_power_law(sizes[:-1], [1 - s for s in whole[:-1]]).error(sizes[-1])
    return Forecast(law, _interval(value, there), _interval(value - whole[-1], there - drawn[-1]), check)


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value, float(low), float(high))
