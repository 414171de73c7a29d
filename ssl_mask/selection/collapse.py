"""Whether pseudo-labels fall on few classes only. Consistency training makes such a collapse worse."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TOO_FEW = 0.5


def effective_classes(shares: NDArray[Any]) -> float:
    """Effective number of classes: exp of the entropy of (classes,) shares.

    Args:
        shares: (classes,) ≥ 0; they need not sum to 1.

    Returns:
        from 1 (one class only, or all shares are 0) to the number of classes (all shares are equal).
    """
    total = float(shares.sum())
    if total <= 0:
        return 1.0
    p = shares[shares > 0] / total
    return float(np.exp(-(p * np.log(p)).sum()))


def collapsed(selected: NDArray[Any], labeled: NDArray[Any]) -> bool:
    """Whether the effective number of classes of the selected images is below half of that of the labeled ones.

    Args:
        selected: (classes,) share of the pool that is selected as each class; all 0: nothing is selected yet.
        labeled: (classes,) number of labeled images of each class.
    """
    return bool(selected.sum() > 0) and effective_classes(selected) < TOO_FEW * effective_classes(labeled)
