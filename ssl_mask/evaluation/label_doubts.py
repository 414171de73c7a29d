"""Labels that the predictions contradict: where to look first. They are doubts: a weak model doubts much that is right.

A factor that never differs between the images of a group (the gender of a person, not the mask) is judged once per
group, on the mean over its images: if its label is wrong it is wrong on all of them, and their mean is surer than any.

Doubts are ranked by confident learning (Northcutt et al. 2021, arXiv 1911.00068): a probability is measured against the
mean one t_c of the labels c, so that a class on which the model is never sure is not doubted more than the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.predictions import PredictionTable
from ssl_mask.data.schema import LabelSchema


class Doubt(NamedTuple):
    """A label that the predictions contradict."""

    factor: str
    group: str
    label: int
    """Class of the factor."""
    suggested: int
    """The class that is predicted instead."""
    p_label: float
    """Mean probability of the label."""
    p_suggested: float
    gap: float
    """(p_label - t_label) - (p_suggested - t_suggested): how much less probable the label is than the suggested class,
    each measured against its threshold. The lowest first."""
    confident: bool
    """p_suggested reaches its threshold: a label error by the definition of confident learning."""
    rows: tuple[int, ...]
    """Of the table: the images that have this label."""


def label_doubts(table: PredictionTable, schema: LabelSchema) -> list[Doubt]:
    """Labels whose class is less probable than another one, the most doubtful first.

    Args:
        table: predictions by models that were not trained on these images, all with true classes.
    """
    labels, probs = schema.part(table.true), schema.marginals(table.probs)
    names, group_of = np.unique(table.group, return_inverse=True)
    found: list[Doubt] = []
    for i, factor in enumerate(schema.factors):
        own = labels[:, i]
        unit_of = group_of if constant_in_groups(own, group_of) and len(names) > 1 else np.arange(len(own))
        found += _doubts_of(factor.name, own, probs[factor.name].astype(np.float64), unit_of, table.group)
    return sorted(found, key=lambda d: d.gap)


def constant_in_groups(labels: NDArray[np.int64], group_of: NDArray[np.int64]) -> bool:
    """Whether all images of each group have the same label.

    Args:
        labels: (n,) classes of a factor.
        group_of: (n,) numbers from 0 on.
    """
    groups = int(group_of.max()) + 1
    low, high = np.full(groups, np.iinfo(np.int64).max), np.full(groups, -1)
    np.minimum.at(low, group_of, labels)
    np.maximum.at(high, group_of, labels)
    return bool((low == high).all())


def by_group(doubts: Sequence[Doubt]) -> list[Doubt]:
    """The same, those of a group together, groups in the order of their most doubtful label: who looks at a person
    looks at all that is doubted of this person."""
    first: dict[str, int] = {}
    for place, doubt in enumerate(doubts):
        first.setdefault(doubt.group, place)
    return sorted(doubts, key=lambda d: first[d.group])


def thresholds(labels: NDArray[np.int64], probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """(classes,) the mean probability of each class over what has it as label (equation 2 of the paper); 1 for a class
    that nothing has.

    Args:
        labels: (n,) classes.
        probs: (n, classes).
    """
    classes = probs.shape[1]
    count = np.bincount(labels, minlength=classes)
    total = np.bincount(labels, probs[np.arange(len(labels)), labels], minlength=classes)
    return np.where(count > 0, total / np.maximum(count, 1), 1.0)


def _doubts_of(
    factor: str, labels: NDArray[np.int64], probs: NDArray[np.float64], unit_of: NDArray[np.int64],
    groups: NDArray[np.str_],
) -> list[Doubt]:  # fmt: skip
    """Doubts about one factor; `unit_of` says which images are judged together."""
    order = np.argsort(unit_of, kind="stable")
    starts = np.flatnonzero(np.diff(unit_of[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    mean = np.add.reduceat(probs[order], starts, axis=0) / sizes[:, None]
    label = labels[order[starts]]
    p_label = mean[np.arange(len(starts)), label]
    best = mean.argmax(axis=1)
    p_best = mean.max(axis=1)
    threshold = thresholds(label, mean)
    gap = (p_label - threshold[label]) - (p_best - threshold[best])
    found: list[Doubt] = []
    for u in np.flatnonzero(best != label):
        rows = order[starts[u] : starts[u] + sizes[u]]
        found.append(
            Doubt(factor, str(groups[rows[0]]), int(label[u]), int(best[u]), float(p_label[u]), float(p_best[u]),
                  float(gap[u]), bool(p_best[u] >= threshold[best[u]]), tuple(map(int, rows)))
        )  # fmt: skip
    return found
