"""Whether pseudo-labels fall on few classes only, which consistency training then makes true."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TOO_FEW = 0.5


def effective_classes(shares: NDArray[Any]) -> float:
    """exp of the entropy of (classes,) shares ≥ 0, which need not sum to 1: how many equal classes they are worth.

    1 where all is 0.
    """
    total = float(shares.sum())
    if total <= 0:
        return 1.0
    p = shares[shares > 0] / total
    return float(np.exp(-(p * np.log(p)).sum()))


def collapsed(selected: NDArray[Any], labeled: NDArray[Any]) -> bool:
    """Whether what is selected is worth less than half as many classes as the labeled images are.

    Args:
        selected: (classes,) share of the pool that is selected as each class; all 0: nothing is selected yet.
        labeled: (classes,) labeled images of each class.
    """
    return bool(selected.sum() > 0) and effective_classes(selected) < TOO_FEW * effective_classes(labeled)
