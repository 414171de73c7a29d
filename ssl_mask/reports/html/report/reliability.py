"""Whether a confidence of 0.8 is right in 80 of 100 cases: before and after the temperatures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.evaluation.calibration import expected_calibration_error, reliability_curve
from ssl_mask.evaluation.metrics import TOO_FEW
from ssl_mask.reports.html.charts import Chart, Line, shares

BINS = 10


def reliability_chart(after: NDArray[Any], before: NDArray[Any] | None, true: NDArray[np.int64]) -> Chart:
    """Accuracy against confidence.

    Args:
        after: (n, classes) calibrated probabilities.
        before: the same at temperature 1, where it is known.
        true: (n,) classes.
    """
    lines, words = [], []
    for name, probs, style in (("before temperatures", before, "c1"), ("after temperatures", after, "c0")):
        if probs is not None:
            error = expected_calibration_error(probs, true)
            lines.append(Line(f"{name} (error {error:.3f})", points(probs, true), style))
            words.append(f"{error:.3f} {name}")
    says = f"Accuracy against confidence. Calibration error: {', '.join(words)}; 0 is best."
    return Chart("Calibration", says, shares("confidence"), shares("accuracy"), lines, diagonal=True)


def points(probs: NDArray[Any], true: NDArray[np.int64]) -> list[tuple[float, float]]:
    """Mean confidence and accuracy of each bin that holds enough images to say anything."""
    curve = reliability_curve(probs, true, BINS)
    filled = np.flatnonzero(curve.images > TOO_FEW)
    return [(float(curve.confidence[i]), float(curve.accuracy[i])) for i in filled]
