"""What a gallery is worth: images that its network was not trained on, predicted by their neighbours of other groups.

From the stored vectors alone, no network is needed. Where a study embeds, an image is compared with the parts of the
vectors that are of networks which have not seen it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.embeddings import EmbeddingTable
from ssl_mask.data.predictions import PredictionTable, predicted_class
from ssl_mask.data.schema import LabelSchema
from ssl_mask.evaluation.metrics import accuracy, macro_f1
from ssl_mask.evaluation.neighbours import Voting
from ssl_mask.inference.gallery_predictor import voted
from ssl_mask.inference.nearest import exact_search, group_numbers, nearest_groups

UNSEEN, PART = "unseen_by", "part"
"""Columns of the rows of a gallery: bit i is set where network i was not trained on the image or its group; the number
of the command that put it in."""
MOST_NETWORKS = 62
MOST = 20_000
"""Images that are scored of those that one command put in."""


class OldAndNew(NamedTuple):
    """What adding images does to the classes that were there, and how well new classes are told."""

    old_images: int
    before: tuple[float, float]
    """Accuracy and macro-F1 over the old classes of their images, without what was added."""
    after: tuple[float, float]
    """The same images with it."""
    new_images: int
    recall: dict[str, float | None]
    """Of each new joint class: the share of its images that their neighbours of other groups put right. None: all are
    of one group, so that no other image is of the class."""


def honest_table(
    table: EmbeddingTable, widths: Sequence[int], schema: LabelSchema, voting: Voting, folds: Mapping[str, int]
) -> PredictionTable | None:
    """Predictions of the images that a network was not trained on; None where there are none.

    Args:
        widths: of the part of the vectors of each network, in order.
        folds: digest -> the fold that an image was validation of.

    Returns:
        An image whose group is not known is a group of its own, named by its path, as in the tables of runs.
    """
    known = scored_rows(table)
    if not len(known):
        return None
    labels, groups = table.class_indices(schema), group_numbers(table.group.tolist())
    probs = np.empty((len(known), len(schema.joint_classes)), np.float32)
    for own, columns in by_networks(table, known, widths):
        vectors, queries = seen_by(table.vectors, columns), known[own]
        near = nearest_groups(exact_search(vectors), groups, vectors[queries], voting.k, without=groups[queries])
        probs[own] = voted(near, labels, schema, voting)
    rows = table.at(known)
    digests, group = rows.sha256.tolist(), np.where(rows.group == "", rows.path, rows.group)
    return PredictionTable(
        schema.joint_classes, rows.path, rows.path, rows.sha256, group,
        np.asarray([folds.get(digest, -1) for digest in digests], np.int64), schema.join(labels[known]),
        predicted_class(probs), probs, {},
    )  # fmt: skip


def by_networks(
    table: EmbeddingTable, rows: NDArray[np.int64], widths: Sequence[int]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Positions among some rows which the same networks were not trained on, and (d,) the part of the vectors that is
    of these networks."""
    networks, unseen = np.repeat(np.arange(len(widths)), widths), table.more[UNSEEN][rows]
    for bits in np.unique(unseen).tolist():
        yield np.flatnonzero(unseen == bits), (bits >> networks) & 1 == 1


def seen_by(vectors: NDArray[np.float32], columns: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A part of (n, d) vectors, of length 1."""
    if columns.all():
        return vectors
    length = np.linalg.norm(vectors[:, columns], axis=1, keepdims=True)
    scaled: NDArray[np.float32] = vectors[:, columns] / np.maximum(length, np.finfo(np.float32).tiny)
    return scaled


def scored_rows(table: EmbeddingTable) -> NDArray[np.int64]:
    """Rows that a network was not trained on, at most `MOST` of each part: those of the smallest digests.

    What is put in or taken out changes nothing of which others are scored, so that scores of before and after compare.
    """
    known = np.flatnonzero(table.more[UNSEEN])
    part = table.more[PART][known]
    order = np.lexsort((table.sha256[known], part))
    rank = np.arange(len(known)) - np.searchsorted(part[order], part[order])
    return np.sort(known[order[rank < MOST]])


def old_and_new(before: PredictionTable | None, after: PredictionTable | None) -> OldAndNew | None:
    """Compare the predictions of a gallery before and after images were added; None where there are none."""
    if after is None:
        return None
    old_classes = set(before.classes if before is not None else after.classes)
    true = np.asarray(after.classes)[after.true]
    new = ~np.isin(true, sorted(old_classes))
    recall = {name: _recall(after, true == name) for name in after.classes if (true[new] == name).any()}
    there = {} if before is None else dict(zip(before.sha256.tolist(), range(len(before)), strict=True))
    rows = [i for i, digest in enumerate(after.sha256.tolist()) if digest in there and not new[i]]
    if before is None or not rows:
        return OldAndNew(0, (0.0, 0.0), (0.0, 0.0), int(new.sum()), recall)
    at = [there[digest] for digest in after.sha256[rows].tolist()]
    place = np.asarray([before.classes.index(name) if name in old_classes else -1 for name in after.classes])
    predicted = place[after.predicted[rows]]
    size = len(before.classes)
    return OldAndNew(
        len(rows), _scores(before.true[at], before.predicted[at], size),
        _scores(before.true[at], np.where(predicted < 0, size, predicted), size), int(new.sum()), recall,
    )  # fmt: skip


def _recall(table: PredictionTable, own: NDArray[np.bool_]) -> float | None:
    """The share of some images that is right; None where they are of one group."""
    right = table.predicted[own] == table.true[own]
    return float(right.mean()) if len(np.unique(table.group[own])) > 1 else None


def _scores(true: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> tuple[float, float]:
    """Accuracy, and macro-F1 over the classes that there are images of."""
    there = len(np.unique(true))
    return accuracy(true, predicted), macro_f1(true, predicted, classes + 1) * (classes + 1) / max(there, 1)
