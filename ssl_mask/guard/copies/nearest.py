"""The few most alike of each picture, found while blocks of cosines pass by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Nearest:
    """Of `count` pictures, the `each` others with the highest cosines; of equal ones, those that come first.

    With a count of 0, nothing is kept.
    """

    def __init__(self, count: int, each: int) -> None:
        self._cosines = np.full((count, each), -np.inf, np.float32)
        self._others = np.full((count, each), -1, np.int64)

    def offer(self, cosines: NDArray[np.float32], row: int, column: int) -> None:
        """(n, m) cosines of the pictures from `row` on with the others from `column` on; below -1 stands for none."""
        if len(self._cosines) == 0:
            return
        each = self._cosines.shape[1]
        least = self._cosines[row : row + len(cosines)].min(axis=1, initial=np.inf)
        i, j = places(cosines >= np.maximum(least, -1)[:, None])
        if len(i) > 0.1 * cosines.size and cosines.shape[1] >= each:  # at first, when nothing is known of these rows
            least = np.maximum(least, np.partition(cosines, -each, axis=1)[:, -each])
            i, j = places(cosines >= np.maximum(least, -1)[:, None])
        rows = np.unique(i)
        # What is known of these rows joins what is new, so each has at least `each` entries.
        owners = np.concatenate([i, np.repeat(rows, each)])
        others = np.concatenate([j + column, self._others[row + rows].ravel()])
        values = np.concatenate([cosines[i, j], self._cosines[row + rows].ravel()])
        order = np.lexsort((others, -values, owners))
        starts = np.searchsorted(owners[order], rows)
        best = order[starts[:, None] + np.arange(each)]
        self._cosines[row + rows], self._others[row + rows] = values[best], others[best]

    def __len__(self) -> int:
        return len(self._cosines)

    def join(self, other: Nearest, row: int, column: int) -> None:
        """What was found of the pictures from `row` on among the others from `column` on joins what is known."""
        if len(other) == 0:
            return
        part = slice(row, row + len(other))
        values = np.concatenate([self._cosines[part], other._cosines], axis=1)
        others = np.concatenate([self._others[part], np.where(other._others < 0, -1, other._others + column)], axis=1)
        best = np.lexsort((others, -values), axis=1)[:, : self._cosines.shape[1]]
        self._cosines[part] = np.take_along_axis(values, best, axis=1)
        self._others[part] = np.take_along_axis(others, best, axis=1)

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pictures, and those near them."""
        i, place = np.nonzero(self._others >= 0)
        return i, self._others[i, place]


def places(where: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`np.nonzero` of a matrix, in a tenth of its time."""
    i, j = np.divmod(np.flatnonzero(where), max(1, where.shape[1]))
    return i, j
