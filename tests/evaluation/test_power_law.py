"""The power law of learning curves: against laws that made the data, against scipy's general fit, and its intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from ssl_mask.evaluation.metrics import macro_f1, paired_bootstrap, score_draws
from ssl_mask.evaluation.power_law import EXPONENTS, PowerLaw, fit_power_law, forecast

SIZES = (40, 80, 120, 160)


@pytest.mark.parametrize("law", [PowerLaw(0.2, 3.0, 0.6), PowerLaw(0.0, 1.5, 0.2), PowerLaw(0.35, 8.0, 1.1)])
def test_a_law_is_found_again(law: PowerLaw) -> None:
    found = fit_power_law(SIZES, [law.error(n) for n in SIZES])
    assert found.error(320) == pytest.approx(law.error(320), abs=2e-4)


def test_noisy_errors_are_fitted_as_well_as_by_a_general_solver() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        errors = 0.2 + 3 * np.asarray(SIZES, float) ** -0.6 + rng.normal(0, 0.01, 4)
        ours = fit_power_law(SIZES, errors.tolist())
        (a, b, c), _ = curve_fit(
            lambda n, a, b, c: a + b * n**-c, SIZES, errors, p0=(0.2, 3, 0.6),
            bounds=((0, 0, EXPONENTS[0]), (1, np.inf, EXPONENTS[1])), max_nfev=20_000,
        )  # fmt: skip
        theirs = sum((a + b * n**-c - e) ** 2 for n, e in zip(SIZES, errors, strict=True))
        assert sum((ours.error(n) - e) ** 2 for n, e in zip(SIZES, errors, strict=True)) <= theirs + 1e-7


def test_errors_that_rise_give_a_flat_law() -> None:
    found = fit_power_law(SIZES, [0.3, 0.35, 0.4, 0.45])
    assert found.scale == 0
    assert found.error(320) == pytest.approx(0.375)


def test_no_law_foretells_an_error_below_zero() -> None:
    found = fit_power_law(
        SIZES, [0.9, 0.5, 0.2, 0.02]
    )  # falls faster than any law with a floor: that would be negative
    assert found.floor == 0 and 0 <= found.error(10**6) < 0.02


def predictions(rights: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two classes; each of 100 groups has an ability of its own, the same for all models."""
    true, groups = np.arange(400) % 2, np.repeat(np.arange(100), 4)
    ability = np.random.default_rng(3).random(100).repeat(4)
    return true, np.stack([np.where(ability < right, true, 1 - true) for right in rights]), groups


def test_a_forecast_lies_on_the_law_with_paired_intervals() -> None:
    true, predicted, groups = predictions((0.55, 0.65, 0.70, 0.73))
    found = forecast(SIZES, true, predicted, groups, 2, to=320, draws=200)
    assert found.score.low < found.score.value < found.score.high
    assert found.score.value == pytest.approx(1 - found.law.error(320))
    assert found.gain.value == pytest.approx(found.score.value - macro_f1(true, predicted[-1], 2))
    assert found.gain.high - found.gain.low < found.score.high - found.score.low  # the same groups in both
    assert found.check is not None
    fewer = forecast(SIZES[1:], true, predicted[1:], groups, 2, to=320, draws=20)
    assert fewer.check is None


def test_draws_are_those_of_the_paired_bootstrap() -> None:
    true, predicted, groups = predictions((0.5, 0.8))
    first, second = (score_draws(true, p, groups, 2, draws=1000)[:, 0] for p in predicted)
    low, high = np.percentile(second - first, [2.5, 97.5])
    known = paired_bootstrap(true, predicted[:1], predicted[1:], groups, 2)["macro_f1"]
    assert (low, high) == pytest.approx((known.low, known.high))
