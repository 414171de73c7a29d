"""A run against others on the images that both predicted: the paired difference, and the images that changed sides."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ssl_mask.data.predictions import PredictionTable
from ssl_mask.errors import DataError
from ssl_mask.evaluation.metrics import Interval, paired_bootstrap


class Versus(NamedTuple):
    """This run less another one."""

    name: str
    images: int
    """That both have predicted."""
    groups: int
    macro_f1: Interval
    accuracy: Interval
    gained: tuple[int, ...]
    """Rows of this run's table that only this run predicts rightly; those of which it is surest first."""
    lost: tuple[int, ...]
    """Rows that only the other run predicts rightly; the surest mistakes of this run first."""
    theirs: dict[int, int]
    """Row -> what the other run predicts."""

    @property
    def verdict(self) -> str:
        """Whether it is better, in a few words."""
        if self.macro_f1.low > 0:
            return "better"
        return "worse" if self.macro_f1.high < 0 else "no difference can be shown"


def versus(ours: PredictionTable, theirs: PredictionTable, name: str) -> Versus:
    """Compare predictions of the same images, matched by SHA-256.

    Args:
        name: of the other run.

    Raises:
        DataError: other classes, no image in common, or one that has another true class there.
    """
    if ours.classes != theirs.classes:
        raise DataError(f"{name} predicts other classes.", hint="Compare runs of one label schema.")
    place = {digest: row for row, digest in enumerate(theirs.sha256.tolist()) if digest}
    rows = np.asarray([i for i, digest in enumerate(ours.sha256.tolist()) if digest in place], dtype=np.int64)
    if not len(rows):
        raise DataError(
            f"{name} has predicted none of these images.",
            hint="Compare studies of folds, or runs with the same data.folds, data.fold and data.split_seed.",
        )
    other = np.asarray([place[ours.sha256[i]] for i in rows])
    true, group = ours.true[rows], ours.group[rows]
    if (differs := true != theirs.true[other]).any():
        where = ours.path[rows[int(differs.argmax())]]
        raise DataError(f"{where} has another label in {name}.", hint="Compare runs that have the same labels.")
    mine, others = ours.predicted[rows], theirs.predicted[other]
    scores = paired_bootstrap(true, others[None], mine[None], group, len(ours.classes))
    right, theirs_right = mine == true, others == true
    surest = np.argsort(-ours.probs[rows].max(axis=1), kind="stable")
    gained, lost = (rows[surest[side[surest]]] for side in (right & ~theirs_right, ~right & theirs_right))
    return Versus(
        name, len(rows), len(np.unique(group)), scores["macro_f1"], scores["accuracy"],
        tuple(map(int, gained)), tuple(map(int, lost)), dict(zip(rows.tolist(), others.tolist(), strict=True)),
    )  # fmt: skip
