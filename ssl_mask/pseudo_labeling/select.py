"""From what a teacher says of a pool to pseudo-labels of some of it. No network: tables in, tables out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.config import PseudoConfig
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.predictions import ANEW, PredictedImages, PredictionTable, read_predictions
from ssl_mask.data.pseudo_labels import PseudoLabels
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.selection.agreement import agreed_only
from ssl_mask.selection.groups import constant_factors, lend, pool_groups
from ssl_mask.selection.rules import top_prediction
from ssl_mask.selection.select import HeadSelection, Rule, ValidationPredictions, select_head

Probs = NDArray[np.float32]
Votes = Mapping[str, NDArray[np.int64]]
"""Of `joint` and of each factor: (teachers, n) class that each teacher predicts."""


class Selection(NamedTuple):
    """What is selected of a pool."""

    pool: PredictedImages
    """Probabilities as the rule saw them: after groups were made to agree, if asked."""
    selected: NDArray[np.bool_]
    """(n, factors) which factors of which images."""
    labels: NDArray[np.int64]
    """(n, factors) predicted classes, selected or not."""
    confidence: Probs
    """(n, 1 + factors): of the joint class, then of each factor."""
    heads: dict[str, HeadSelection]
    """Per factor, or of `joint`."""
    offered: int
    """Images that could be selected; of shards only what is selected is in `pool`."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """Positions of the images of which anything is selected."""
        return np.flatnonzero(self.selected.any(axis=1))


class History(NamedTuple):
    """(n,) of each image of the pool, this round included."""

    first_round: NDArray[np.int64]
    """0: never selected so far."""
    flips: NDArray[np.int64]
    flipped: NDArray[np.bool_]
    """Whether the predicted class has changed since the round before."""


def make_rule(asked: PseudoConfig) -> Rule:
    return Rule(asked.rule, asked.threshold, asked.target_precision, asked.top_k, asked.percentile_step, asked.cap)


def select_pseudo_labels(
    asked: PseudoConfig, number: int, pool: PredictedImages, validation: PredictedImages, labeled: Manifest,
    votes: tuple[Votes, Votes] | None = None,
) -> Selection:  # fmt: skip
    """Apply the rule to the joint distribution, or to each factor.

    Args:
        number: of the round, from 1.
        labeled: train and validation rows; their groups lend what never varies within a group, if asked.
        votes: what each teacher predicts of the pool and of validation; None: there is one teacher.
    """
    schema, val = pool.manifest.schema, validation.manifest
    parts, lent = schema.marginals(pool.probs), np.zeros((len(pool.probs), len(schema.factors)), dtype=bool)
    if asked.group_consistency:
        parts, lent = lend_known(parts, pool.manifest, labeled)
        pool = PredictedImages(pool.manifest, schema.product(parts), pool.unreadable)
    keys = np.asarray([r.digest for r in pool.manifest.rows])
    if asked.masks == "joint":
        views = {"joint": (pool.probs, validation.probs, val.joint)}
    else:
        seen_parts = schema.marginals(validation.probs)
        views = {name: (parts[name], seen_parts[name], val.labels[:, i]) for i, name in enumerate(parts)}
    if votes is not None:
        own_votes, seen_votes = votes
        views = {
            name: (
                agreed_only(own, own_votes[name], asked.agreement),
                agreed_only(seen, seen_votes[name], asked.agreement),
                true,
            )
            for name, (own, seen, true) in views.items()
        }
    heads = {
        name: select_head(probs, keys, ValidationPredictions(own, true, val.groups), make_rule(asked), number)
        for name, (probs, own, true) in views.items()
    }
    joint, tops = top_prediction(pool.probs), [top_prediction(p) for p in parts.values()]
    if asked.masks == "joint":
        labels = schema.part(joint.predicted)
        selected = heads["joint"].selected[:, None] | np.zeros_like(lent)
    else:
        labels = np.stack([t.predicted for t in tops], axis=1)
        selected = np.stack([h.selected for h in heads.values()], axis=1) | lent
    confidence = np.stack([joint.confidence, *(t.confidence for t in tops)], axis=1).astype(np.float32)
    return Selection(pool, selected, labels, confidence, heads, len(pool.probs))


def lend_known(
    parts: dict[str, Probs], pool: Manifest, labeled: Manifest
) -> tuple[dict[str, Probs], NDArray[np.bool_]]:
    """The pool's factors with what groups tell, and (n, factors) what labeled training photos lend.

    In factors that never vary within a labeled group, photos of a group agree; labels of the group settle them.
    """
    train = labeled.where("train")
    constant = constant_factors(train.labels, train.groups)
    known = {r.group: r.labels for r in train.rows if r.group and r.labels is not None}
    lendable = {name: i for i, name in enumerate(parts) if constant[i]}
    has = np.asarray([g in known for g in pool.groups.tolist()], dtype=bool)
    agreed = pool_groups(parts, pool.groups, lendable.keys())
    return lend(agreed, pool.groups, known, lendable), has[:, None] & constant[None, :]


def history_of(selection: Selection, before: PredictionTable | None, number: int) -> History:
    """What has happened to each image of the pool over the rounds.

    Args:
        before: the `pool.parquet` of the round before.
        number: of this round.
    """
    count = len(selection.pool.probs)
    first, flips, flipped = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, dtype=bool)
    if before is not None:
        now, then = shared_rows(selection.pool.manifest, before)
        flipped[now] = before.predicted[then] != top_prediction(selection.pool.probs).predicted[now]
        first[now] = before.more["first_round"][then]
        flips[now] = before.more["flips"][then] + flipped[now]
    return History(np.where((first == 0) & selection.selected.any(axis=1), number, first), flips, flipped)


def shared_rows(pool: Manifest, before: PredictionTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the images that are in both: in the pool, and in the table of the round before."""
    place = {digest: i for i, digest in enumerate(before.sha256.tolist())}
    pairs = [(i, place[r.digest]) for i, r in enumerate(pool.rows) if r.digest in place]
    now, then = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
    return now, then


def read_pool(path: Path, schema: LabelSchema) -> PredictionTable:
    """A round's `pool.parquet`: the pool with its probabilities, what was selected of it, and its history.

    Raises:
        DataError: as `read_predictions`, or a column of the selection holds something else.
    """
    own = [f"{kind}/{name}" for kind in ("label", "selected") for name in schema.sizes]
    table = read_predictions(path, schema, more=["first_round", "flips", *own])
    limits = {"first_round": 2**31, "flips": 2**31}
    limits |= {f"label/{name}": size for name, size in schema.sizes.items()}
    limits |= {f"selected/{name}": 2 for name in schema.sizes}
    for name, limit in limits.items():
        column = table.more[name]
        if len(column) and (column.dtype.kind not in "iub" or (column < 0).any() or (column >= limit).any()):
            raise DataError(f"{path}: column '{name}' holds what no round writes there.", hint=ANEW)
    return table


def pseudo_labels_of(selection: Selection, history: History, *, soft: bool) -> PseudoLabels:
    """The rows of the CSV: images of which at least one factor is selected.

    Args:
        soft: with probabilities, to train on instead of classes.
    """
    rows, manifest = selection.rows, selection.pool.manifest
    return PseudoLabels(
        manifest=manifest.with_rows(manifest.rows[i] for i in rows.tolist()),
        labels=np.where(selection.selected, selection.labels, -1)[rows],
        confidence=selection.confidence[rows],
        margin=top_prediction(selection.pool.probs).margin[rows].astype(np.float32),
        first_round=history.first_round[rows],
        flips=history.flips[rows],
        probs=selection.pool.probs[rows] if soft else None,
    )
