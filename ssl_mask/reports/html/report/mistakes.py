"""What is confused with what, which images and which groups are worst, and which labels the predictions contradict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.predictions import PredictionTable
from ssl_mask.data.schema import LabelSchema
from ssl_mask.evaluation.metrics import confusion
from ssl_mask.reports.html.subject import true_probs

MOST_CLASSES = 40
"""A matrix of more classes is not drawn: nobody can read it. The pairs below it say what is confused."""
PAIRS, GROUPS = 20, 20
SHADES = 10
"""Steps of colour for the share of a row."""


class Cell(NamedTuple):
    """Images of one true class that were predicted as one class."""

    predicted: int
    images: int
    shade: int
    """0 to 10: share of its row."""
    says: str


class MatrixRow(NamedTuple):
    name: str
    true: int
    images: int
    cells: tuple[Cell, ...]


class Matrix(NamedTuple):
    """A confusion matrix; rows are true classes."""

    factor: int
    """Number of the factor; -1: all together."""
    title: str
    names: tuple[str, ...]
    rows: tuple[MatrixRow, ...]


class Confusion(NamedTuple):
    """One true class that was taken for another."""

    true: int
    predicted: int
    names: tuple[str, str]
    images: int
    of: int
    """Images of the true class."""
    groups: int
    """That these images are of."""


class GroupErrors(NamedTuple):
    """A group and its mistakes."""

    group: str
    images: int
    wrong: int
    loss: float
    """Mean −log p of the true class."""
    most: str
    """The most frequent confusion of its images."""
    rows: tuple[int, ...]


def matrices(table: PredictionTable, schema: LabelSchema) -> list[Matrix]:
    """One of all classes where they are not too many, and one of each factor where there are several."""
    found = [(-1, "All classes", schema.joint_classes, table.true, table.predicted)]
    if len(schema.factors) > 1:
        true, predicted = schema.part(table.true), schema.part(table.predicted)
        found += [(i, f.name, f.classes, true[:, i], predicted[:, i]) for i, f in enumerate(schema.factors)]
    return [_matrix(*each) for each in found if len(each[2]) <= MOST_CLASSES]


def _matrix(
    factor: int, title: str, names: tuple[str, ...], true: NDArray[np.int64], predicted: NDArray[np.int64]
) -> Matrix:
    counts = confusion(true, predicted, len(names))
    rows = []
    for t, row in enumerate(counts.tolist()):
        total = sum(row)
        cells = (
            Cell(p, n, round(SHADES * n / total) if total else 0, f"true {names[t]}, predicted {names[p]}: {n} images")
            for p, n in enumerate(row)
        )
        rows.append(MatrixRow(names[t], t, total, tuple(cells)))
    return Matrix(factor, title, names, tuple(rows))


def confusions(table: PredictionTable, names: Sequence[str], most: int = PAIRS) -> list[Confusion]:
    """The most frequent confusions, with the number of groups behind them: ten images of one person are one mistake."""
    wrong = np.flatnonzero(table.true != table.predicted)
    size, counts = len(names), np.bincount(table.true, minlength=len(names))
    pair = table.true[wrong] * size + table.predicted[wrong]
    kinds, images = np.unique(pair, return_counts=True)
    order = np.argsort(-images, kind="stable")[:most]
    found = []
    for kind, n in zip(kinds[order].tolist(), images[order].tolist(), strict=True):
        true, predicted = divmod(kind, size)
        groups = len(np.unique(table.group[wrong[pair == kind]]))
        found.append(Confusion(true, predicted, (names[true], names[predicted]), n, int(counts[true]), groups))
    return found


def worst_rows(table: PredictionTable, most: int) -> list[int]:
    """Rows of wrong predictions, the highest loss first."""
    wrong = np.flatnonzero(table.true != table.predicted)
    return [int(i) for i in wrong[np.argsort(true_probs(table)[wrong], kind="stable")][:most]]


def group_errors(table: PredictionTable, names: Sequence[str]) -> list[GroupErrors]:
    """Every group, the most mistakes first; of equally many the highest loss."""
    loss = -np.log(np.maximum(true_probs(table), 1e-12))
    order = np.argsort(table.group, kind="stable")
    starts = np.flatnonzero(table.group[order][1:] != table.group[order][:-1]) + 1
    found = []
    for rows in np.split(order, starts):
        wrong = rows[table.true[rows] != table.predicted[rows]]
        most = ""
        if len(wrong):
            kinds, images = np.unique(table.true[wrong] * len(names) + table.predicted[wrong], return_counts=True)
            true, predicted = divmod(int(kinds[images.argmax()]), len(names))
            most = f"{names[true]} → {names[predicted]}"
        found.append(
            GroupErrors(str(table.group[rows[0]]), len(rows), len(wrong), float(loss[rows].mean()), most,
                        tuple(map(int, rows)))
        )  # fmt: skip
    return sorted(found, key=lambda g: (-g.wrong, -g.loss, g.group))


def concentration(groups: Sequence[GroupErrors]) -> str:
    """In how many groups half of all mistakes are, as a sentence."""
    wrong = sum(g.wrong for g in groups)
    if not wrong:
        return "No image is predicted wrongly."
    half, counted = 0, 0
    for g in groups:
        half, counted = half + 1, counted + g.wrong
        if 2 * counted >= wrong:
            break
    without = sum(g.wrong == 0 for g in groups)
    whole = sum(g.wrong == g.images for g in groups)
    return (
        f"Half of the {wrong} mistakes are in {half} of {len(groups)} groups. Groups without a mistake: {without}; "
        f"with every image wrong: {whole}."
    )
