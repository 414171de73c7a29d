"""What a gallery is worth: images that its network was not trained on, predicted by their neighbours of other groups.

From the stored vectors alone, no network is needed. Where a study embeds, an image is compared with the parts of the
vectors that are of networks which have not seen it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.embeddings import EmbeddingTable
from ssl_mask.data.predictions import PredictionTable, predicted_class
from ssl_mask.data.schema import LabelSchema
from ssl_mask.evaluation.metrics import accuracy, macro_f1
from ssl_mask.evaluation.neighbours import Voting
from ssl_mask.inference.gallery_predictor import voted
from ssl_mask.inference.nearest import group_numbers, nearest_groups, open_table

UNSEEN, PART = "unseen_by", "part"
"""Columns of the rows of a gallery: bit i is set where network i was not trained on the image or its group; the number
of the command that put it in."""
MOST_NETWORKS = 62
MOST = 20_000
"""Images that are scored; spread evenly over those that could be."""


class OldAndNew(NamedTuple):
    """What adding images does to the classes that were there, and how well new classes are told."""

    old_images: int
    before: tuple[float, float]
    """Accuracy and macro-F1 over the old classes of their images, without what was added."""
    after: tuple[float, float]
    """The same images with it."""
    new_images: int
    recall: dict[str, float]
    """Of each new joint class: the share of its images that their neighbours of other groups put right."""


def honest_table(
    table: EmbeddingTable, widths: Sequence[int], schema: LabelSchema, voting: Voting, folds: Mapping[str, int]
) -> PredictionTable | None:
    """Predictions of the images that a network was not trained on; None where there are none.

    Args:
        widths: of the part of the vectors of each network, in order.
        folds: digest -> the fold that an image was validation of.
    """
    known = np.flatnonzero(table.more[UNSEEN])
    if not len(known):
        return None
    if len(known) > MOST:
        known = known[np.linspace(0, len(known) - 1, MOST).round().astype(np.int64)]
    labels, groups = table.class_indices(schema), group_numbers(table.group.tolist())
    probs = np.empty((len(known), len(schema.joint_classes)), np.float32)
    networks = np.repeat(np.arange(len(widths)), widths)
    for unseen in np.unique(table.more[UNSEEN][known]).tolist():
        own = np.flatnonzero(table.more[UNSEEN][known] == unseen)
        columns = (unseen >> networks) & 1 == 1
        vectors = table.vectors if columns.all() else _scaled(table.vectors[:, columns])
        queries = known[own]
        near = nearest_groups(open_table(vectors), groups, vectors[queries], voting.k, without=groups[queries])
        probs[own] = voted(near, labels, schema, voting)
    rows = table.at(known)
    digests = rows.sha256.tolist()
    return PredictionTable(
        schema.joint_classes, rows.path, rows.path, rows.sha256, rows.group,
        np.asarray([folds.get(digest, -1) for digest in digests], np.int64), schema.join(labels[known]),
        predicted_class(probs), probs, {},
    )  # fmt: skip


def old_and_new(before: PredictionTable | None, after: PredictionTable | None) -> OldAndNew | None:
    """Compare the predictions of a gallery before and after images were added; None where there are none."""
    if after is None:
        return None
    old_classes = set(before.classes if before is not None else after.classes)
    true = np.asarray(after.classes)[after.true]
    new = ~np.isin(true, sorted(old_classes))
    recall = {
        name: float((after.predicted[true == name] == after.true[true == name]).mean())
        for name in after.classes
        if (true[new] == name).any()
    }
    there = {} if before is None else dict(zip(before.path.tolist(), range(len(before)), strict=True))
    rows = [i for i, path in enumerate(after.path.tolist()) if path in there and not new[i]]
    if before is None or not rows:
        return OldAndNew(0, (0.0, 0.0), (0.0, 0.0), int(new.sum()), recall)
    at = [there[path] for path in after.path[rows].tolist()]
    place = np.asarray([before.classes.index(name) if name in old_classes else -1 for name in after.classes])
    predicted = place[after.predicted[rows]]
    size = len(before.classes)
    return OldAndNew(
        len(rows), _scores(before.true[at], before.predicted[at], size),
        _scores(before.true[at], np.where(predicted < 0, size, predicted), size), int(new.sum()), recall,
    )  # fmt: skip


def _scores(true: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> tuple[float, float]:
    """Accuracy, and macro-F1 over the classes that there are images of."""
    there = len(np.unique(true))
    return accuracy(true, predicted), macro_f1(true, predicted, classes + 1) * (classes + 1) / max(there, 1)


def _scaled(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = vectors / np.maximum(length, np.finfo(np.float32).tiny)
    return scaled
