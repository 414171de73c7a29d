"""What a network that was never trained on these images sees of them: a map, and how pools differ."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.evaluation.plane import Plane, plane
from ssl_mask.evaluation.shift import Shift, shift
from ssl_mask.reports.html.explore.images import Images

FEWEST = 3
"""Images that a map needs."""


class Difference(NamedTuple):
    """How the labeled images differ from those of another pool."""

    other: str
    rows: NDArray[np.int64]
    """Of the images that were compared, both kinds."""
    second: NDArray[np.bool_]
    """Whether each is of the other pool."""
    shift: Shift

    def most_alike(self, most: int) -> list[tuple[int, float]]:
        """(row, probability) of the labeled images that are most like those of the other pool."""
        own = np.flatnonzero(~self.second)
        order = own[np.argsort(-self.shift.probability[own], kind="stable")][:most]
        return [(int(self.rows[i]), float(self.shift.probability[i])) for i in order]

    def least_alike(self, most: int) -> list[tuple[int, float]]:
        """(row, probability) of the images of the other pool that are least like the labeled ones."""
        own = np.flatnonzero(self.second)
        order = own[np.argsort(-self.shift.probability[own], kind="stable")][:most]
        return [(int(self.rows[i]), float(self.shift.probability[i])) for i in order]


class Embedding(NamedTuple):
    """Images by their features."""

    rows: NDArray[np.int64]
    plane: Plane
    differences: tuple[Difference, ...]


def embedding_of(images: Images, rows: NDArray[np.int64], features: NDArray[np.float32]) -> Embedding | None:
    """The map of some images, and whether the labeled ones differ from the test and from the unlabeled ones.

    Args:
        rows: (n,) of the images.
        features: (n, d)

    Returns:
        None where there are too few images for a map.
    """
    if len(rows) < FEWEST:
        return None
    found = []
    for k, role in enumerate(images.roles):
        if role not in {"test", "unlabeled"}:
            continue
        chosen = images.labeled[rows] | (images.pool[rows] == k)
        second = images.pool[rows][chosen] == k
        made = shift(features[chosen], second, images.group[rows][chosen])
        if made is not None:
            found.append(Difference(images.pools[k], rows[chosen], second, made))
    return Embedding(rows, plane(features), tuple(found))
