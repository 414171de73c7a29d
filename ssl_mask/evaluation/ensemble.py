"""Weights of an ensemble, chosen on honest predictions (Caruana et al. 2004, "Ensemble selection from libraries of
models").

Greedy forward selection with replacement: the source that helps most joins the mean, again and again, and how often it
joined is its weight. A choice among many fits its own images, so it is judged by nested folds: weights that were chosen
on the other folds predict this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.predictions import PredictionTable
from ssl_mask.errors import DataError
from ssl_mask.evaluation.metrics import Interval, log_loss, macro_f1, paired_bootstrap

ROUNDS = 50
"""So often a source joins; weights are multiples of a fiftieth or coarser."""
PARTS = 5
"""Parts of whole groups where all predictions are of one fold."""


@dataclass(frozen=True)
class JoinedTables:
    """Predictions of several sources for the labeled images that all of them have, by SHA-256."""

    sha256: NDArray[np.str_]
    true: NDArray[np.int64]
    group: NDArray[np.str_]
    fold: NDArray[np.int64]
    probs: NDArray[np.float64]
    """(sources, n, joint classes)."""


@dataclass(frozen=True)
class WeightChoice:
    """Weights that were chosen on all images, and what choosing is worth on images that it does not see."""

    weights: NDArray[np.float64]
    """(sources,) they sum to 1."""
    mean: float
    """Macro-F1 of the plain mean."""
    gain: Interval
    """Macro-F1 with weights chosen on the other folds, less that of the plain mean; paired, by group."""
    images: int
    groups: int

    @property
    def kept(self) -> bool:
        """Whether the weights are better than the plain mean, beyond the interval."""
        return self.gain.low > 0


def join_tables(tables: Sequence[PredictionTable], names: Sequence[str]) -> JoinedTables:
    """The images that every table has. Of images that are equal byte for byte, the first by path stands for all.

    Args:
        names: of the sources, for messages.

    Raises:
        DataError: other classes, no image that all have, or one that has another class, group or fold elsewhere.
    """
    first = tables[0]
    for table, name in zip(tables, names, strict=True):
        if table.classes != first.classes:
            raise DataError(f"{name} predicts other classes than {names[0]}.", hint="Average runs of one label schema.")
    rows = [_rows_by_digest(table) for table in tables]
    shared = sorted(set[str].intersection(*(set(r) for r in rows)))
    if not shared:
        raise DataError(
            f"{', '.join(names)} have validated no image in common.",
            hint="Train them with the same data.folds, data.fold and data.split_seed, or leave out --weights.",
        )
    at = [np.asarray([r[digest] for digest in shared], np.int64) for r in rows]
    for table, name, own in zip(tables, names, at, strict=True):
        for what, theirs, ours in (
            ("class", table.true[own], first.true[at[0]]),
            ("group", _group_names(table)[own], _group_names(first)[at[0]]),
            ("fold", table.fold[own], first.fold[at[0]]),
        ):
            if (differs := theirs != ours).any():
                i = int(differs.argmax())
                raise DataError(
                    f"{table.path[own[i]]} has the {what} {theirs[i]} in {name} and {ours[i]} in {names[0]}.",
                    hint="Train both on the same labels, data.folds and data.split_seed, or leave out --weights.",
                )
    probs = np.stack([table.probs[own].astype(np.float64) for table, own in zip(tables, at, strict=True)])
    return JoinedTables(np.asarray(shared), first.true[at[0]], first.group[at[0]], first.fold[at[0]], probs)


def greedy_weights(probs: NDArray[np.float64], true: NDArray[np.int64], *, rounds: int = ROUNDS) -> NDArray[np.float64]:
    """Greedy forward selection with replacement for pooled macro-F1; of equal macro-F1 the lower log-loss counts.

    Args:
        probs: (sources, n, classes), n > 0.
        true: (n,) class indices.
        rounds: so often a source joins; the best mean on the way is taken.

    Returns:
        (sources,) weights that sum to 1.
    """
    sources, _, classes = probs.shape
    total, counts = np.zeros(probs.shape[1:]), np.zeros(sources)
    best, kept = (-1.0, -np.inf), counts
    for size in range(1, rounds + 1):
        scores = [_quality((total + added) / size, true, classes) for added in probs]
        pick = max(range(sources), key=scores.__getitem__)
        total, counts = total + probs[pick], counts + np.eye(sources)[pick]
        if scores[pick] > best:
            best, kept = scores[pick], counts
    weights: NDArray[np.float64] = kept / kept.sum()
    return weights


def choose_weights(joined: JoinedTables) -> WeightChoice:
    """Weights from all images, and the gain of choosing: each fold is predicted with weights from the others."""
    probs, true, classes = joined.probs, joined.true, joined.probs.shape[2]
    plain = probs.mean(axis=0).argmax(axis=1)
    nested = np.full(len(true), -1, np.int64)
    parts = nested_parts(joined.fold, joined.group)
    for part in np.unique(parts):
        own = parts == part
        weights = greedy_weights(probs[:, ~own], true[~own])
        nested[own] = np.tensordot(weights, probs[:, own], axes=1).argmax(axis=1)
    gain = paired_bootstrap(true, plain[None], nested[None], joined.group, classes)["macro_f1"]
    weights, groups = greedy_weights(probs, true), len(np.unique(joined.group))
    return WeightChoice(weights, macro_f1(true, plain, classes), gain, len(true), groups)


def nested_parts(
    fold: NDArray[np.int64], group: NDArray[np.str_], *, hint: str = "Leave out --weights."
) -> NDArray[np.int64]:
    """(n,) the part of each image: its fold; where there is only one, up to five parts of whole groups.

    Raises:
        DataError: all images are of one group, so nothing can be held out.
    """
    if len(np.unique(fold)) > 1:
        return fold
    from sklearn.model_selection import GroupKFold

    groups = len(np.unique(group))
    if groups < 2:
        raise DataError(f"All {len(fold)} images that can choose weights are of one group.", hint=hint)
    parts = np.zeros(len(fold), np.int64)
    splits = GroupKFold(min(PARTS, groups)).split(parts, groups=group)
    for part, (_, held_out) in enumerate(splits):
        parts[held_out] = part
    return parts


def _group_names(table: PredictionTable) -> NDArray[np.str_]:
    """(n,) the group of each image; "" where it is named by its path, which differs where paths are absolute."""
    return np.where(table.group == table.path, "", table.group)


def _rows_by_digest(table: PredictionTable) -> dict[str, int]:
    rows = sorted(range(len(table)), key=lambda i: str(table.path[i]), reverse=True)
    return {str(table.sha256[i]): i for i in rows if table.sha256[i]}


def _quality(probs: NDArray[Any], true: NDArray[np.int64], classes: int) -> tuple[float, float]:
    """Macro-F1, and the log-likelihood to the ninth digit: beyond, it is rounding."""
    return macro_f1(true, probs.argmax(axis=1), classes), round(-log_loss(true, probs), 9)
