"""What a network that was never trained on these images sees of them: a map, and how pools differ."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.evaluation.metrics import Interval
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
    halves: Interval | None
    """Where the other pool does not name its groups, a person in it can be recognised: so well two halves of the
    labeled groups are told apart, if those of one half are kept secret. None: groups are known, or of no pool."""

    @property
    def chance(self) -> float:
        """An AUC up to this says nothing."""
        return 0.5 if self.halves is None else max(0.5, self.halves.high)

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
        groups = images.group[rows][chosen]
        made = shift(features[chosen], second, groups)
        if made is not None:
            secret = (groups[~second] != "").all() and (groups[second] == "").any()
            halves = _halves(features[chosen][~second], groups[~second]) if secret else None
            found.append(Difference(images.pools[k], rows[chosen], second, made, halves))
    return Embedding(rows, plane(features), tuple(found))


def _halves(features: NDArray[np.float32], groups: NDArray[np.str_]) -> Interval | None:
    """The AUC of two random halves of the groups, those of one half unknown; None where they are too few."""
    names = np.unique(groups)
    half = np.isin(groups, np.random.default_rng(0).permutation(names)[: len(names) // 2])
    found = shift(features, half, np.where(half, "", groups))
    return None if found is None else found.auc
