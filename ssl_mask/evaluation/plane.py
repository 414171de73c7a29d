"""Features of many numbers as places on a plane."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Plane(NamedTuple):
    """Where each image is."""

    places: NDArray[np.float64]
    """(n, 2)"""
    explained: float
    """Share of the variance that the plane shows, 0 to 1. The rest cannot be seen on it."""


def plane(features: NDArray[Any]) -> Plane:
    """The two first principal components of features that are scaled to length 1, so that angles count.

    Args:
        features: (n, d), at least three rows.
    """
    from sklearn.decomposition import PCA

    length = np.linalg.norm(features, axis=1, keepdims=True)
    found = PCA(2, svd_solver="randomized", random_state=0)
    with np.errstate(invalid="ignore"):  # of equal images there is no variance to explain
        places = found.fit_transform((features / np.maximum(length, 1e-12)).astype(np.float64))
    explained = float(np.nan_to_num(found.explained_variance_ratio_).sum())
    return Plane(np.asarray(places, np.float64), explained)
