"""Predictions of factor models joined: the product of their probabilities, corrected by how classes go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.predictions import PredictionTable, predicted_class
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.evaluation.folds import with_probs
from ssl_mask.evaluation.metrics import Interval, log_loss, paired_bootstrap

ALPHA = 1.0
"""Images per joint class that are added to the counts as if the factors were independent."""


def join_tables(tables: Mapping[str, PredictionTable], schema: LabelSchema) -> PredictionTable:
    """The predictions of factor models as one table over joint classes, in the order of the first.

    p(a, b, …) = p(a) · p(b) · …, and the true joint class is that of the true classes.

    Args:
        tables: a table per factor of the schema, each over the classes of its factor.

    Raises:
        DataError: the tables are not of the same images, groups and folds.
    """
    first = tables[schema.factors[0].name]
    placed = {name: _in_order_of(first, tables[name], name) for name in schema.sizes}
    true = schema.join(np.stack([placed[name].true for name in schema.sizes], axis=1))
    known = np.min([placed[name].true for name in schema.sizes], axis=0) >= 0
    probs = schema.product({name: placed[name].probs for name in schema.sizes})
    return replace(
        first, classes=schema.joint_classes, true=np.where(known, true, -1), predicted=predicted_class(probs),
        probs=probs, more={},
    )  # fmt: skip


def _in_order_of(first: PredictionTable, table: PredictionTable, name: str) -> PredictionTable:
    place = {path: i for i, path in enumerate(table.path.tolist())}
    rows = [place.get(path, -1) for path in first.path.tolist()]
    if len(table) == len(first) and -1 not in rows:
        columns = {
            key: getattr(table, key)[rows]
            for key in ("id", "path", "sha256", "group", "fold", "true", "predicted", "probs")
        }
        found = replace(table, **columns, more={})
        if all((getattr(found, key) == getattr(first, key)).all() for key in ("sha256", "group", "fold")):
            return found
    raise DataError(
        f"The models of {name!r} were validated on other images, groups or folds than those of the other factors.",
        hint="The data has changed between them: begin a new study.",
    )


def dependence(joint: NDArray[np.int64], schema: LabelSchema, alpha: float = ALPHA) -> NDArray[np.float64]:
    """How many times more often the classes of a joint class go together than if the factors were independent.

    With n images, n_j of joint class j, J joint classes and π_j = Π_f n_f(j) / n, the share of j if its factors were
    independent: r_j = (n_j + α J π_j) / ((n + α J) π_j). So α images per joint class are added where independent
    factors would have them. They pull every r_j to 1, which it is exactly where the labels are independent; it is 1,
    too, where π_j is 0. If what each model sees depends on its own factor alone, p(j | x) is proportional to
    r_j Π_f p(f(j) | x).

    Args:
        joint: (n,) joint classes of labeled images; n > 0.

    Returns:
        (joint classes,) positive numbers.
    """
    size, n = len(schema.joint_classes), len(joint)
    independent = np.ones(1)
    for column, classes in zip(schema.part(joint).T, schema.sizes.values(), strict=True):
        independent = np.outer(independent, np.bincount(column, minlength=classes) / n).ravel()
    added = alpha * size * independent
    ratio = np.ones(size)
    np.divide(np.bincount(joint, minlength=size) + added, n * independent + added, out=ratio, where=independent > 0)
    return ratio


def corrected(probs: NDArray[Any], ratio: NDArray[np.float64]) -> NDArray[np.float32]:
    """(n, joint classes) probabilities times the (joint classes,) ratio, with the sum 1 again; NaN stays NaN."""
    raised = probs.astype(np.float64) * ratio
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float32)


def corrected_by_fold(table: PredictionTable, schema: LabelSchema, alpha: float = ALPHA) -> PredictionTable:
    """The same images with corrected probabilities, those of each fold by the labels of the other folds.

    Args:
        table: out-of-fold predictions of two folds or more, all with true classes.
    """
    probs = np.empty_like(table.probs)
    for fold in np.unique(table.fold):
        own = table.fold == fold
        probs[own] = corrected(table.probs[own], dependence(table.true[~own], schema, alpha))
    return with_probs(table, probs)


@dataclass(frozen=True)
class PriorGain:
    """What the correction does to out-of-fold predictions."""

    macro_f1: Interval
    """Corrected less plain, 95 % interval by group."""
    nll_plain: float
    nll_corrected: float

    @property
    def helps(self) -> bool:
        """Whether the interval lies above zero."""
        return self.macro_f1.low > 0


def gain_of(plain: PredictionTable, other: PredictionTable) -> PriorGain:
    """Corrected predictions against plain ones of the same images; the same groups are drawn for both."""
    both = plain.predicted[None], other.predicted[None]
    gain = paired_bootstrap(plain.true, *both, plain.group, len(plain.classes))["macro_f1"]
    return PriorGain(gain, log_loss(plain.true, plain.probs), log_loss(other.true, other.probs))
