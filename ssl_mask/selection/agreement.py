"""Agreement between teachers, beside confidence: a mean can be sure although its teachers are not of one opinion.

Zhang et al., NeurIPS 2025, arXiv 2503.09707: pseudo-labels of an ensemble over backbones and tuning methods.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ssl_mask.selection.rules import top_prediction


def votes_for(votes: NDArray[np.int64], predicted: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) how many teachers predict the class that the mean predicts.

    Args:
        votes: (teachers, n) class that each teacher predicts; -1: none.
        predicted: (n,) class that the mean predicts; -1: none, which nobody votes for.
    """
    return np.asarray(((votes == predicted) & (predicted >= 0)).sum(axis=0), dtype=np.int64)


def agreed_only(
    probs: NDArray[np.float32], votes: NDArray[np.int64], least: float
) -> NDArray[np.float32]:  # fmt: skip
    """The probabilities of rows on which enough teachers agree with the mean; the other rows say nothing (NaN).

    Applied to pool and validation alike before any rule: a threshold is certified on rows that can be selected.

    Args:
        probs: (n, classes) of the mean.
        votes: (teachers, n) class that each teacher predicts.
        least: share of the teachers in [0, 1] that must predict the class of the mean. 0: all rows stay.
    """
    if least == 0:
        return probs
    # 0.6 · 5 is 3.0000000000000004 on other machines: three of five are 60 %.
    needed = math.ceil(round(least * len(votes), 6))
    agreed = votes_for(votes, top_prediction(probs).predicted) >= needed
    return np.where(agreed[:, None], probs, np.float32(np.nan))
