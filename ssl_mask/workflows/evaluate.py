"""`sslmask evaluate`: score a prediction file against answers, with intervals by group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError
from ssl_mask.evaluation.metrics import Interval, accuracy, bootstrap, confusion, f1_per_class
from ssl_mask.files import write_json
from ssl_mask.guard.predictions import provenance_of_predictions
from ssl_mask.guard.provenance import Provenance


@dataclass(frozen=True)
class Evaluation:
    """Scores of a prediction file."""

    images: int
    macro_f1: Interval
    accuracy: Interval
    grouped: bool
    """False: no groups were known, the intervals are by image and too narrow."""
    factors: dict[str, dict[str, float]]
    """Accuracy and macro-F1 of each factor."""
    classes: dict[str, tuple[float, int]]
    """F1 and number of images of each joint class."""
    empty: int
    """Predictions without an answer; they count as wrong."""
    leakage: Provenance
    """Whether these images were seen in training, and how far the scores can be trusted."""
    new_images: tuple[int, Interval, Interval] | None
    """Where some were seen: how many were not, and macro-F1 and accuracy on those alone."""
    path: Path
    """Where the scores were written."""


def evaluate(
    answers: Path, predictions: Path, schema: LabelSchema, *, groups: Path | None = None, seed: int = 0
) -> Evaluation:
    """Score predictions.

    Args:
        answers: CSV with the image in its first column and the answer: the joint class number in the second column, or
            a class name in a column a factor. A `group` column is used for the intervals.
        predictions: the CSV written by `predict`.
        schema: the classes.
        groups: CSV with the image in its first column and a `group` column, where the answers have none.

    Raises:
        DataError: an image without answer or prediction, an unknown class; names the file and row.
        MismatchError: the predictions, a checkpoint or an image has changed since they were made.
    """
    leakage, seen = provenance_of_predictions(predictions)
    true, group_of = read_answers(answers, schema)
    given, _ = read_answers(predictions, schema, allow_empty=True)
    if groups is not None:
        group_of = _read_groups(groups)
    _same_images(true, given, answers, predictions)
    names = list(true)
    t = np.asarray([true[n] for n in names], dtype=np.int64)
    p = np.asarray([given[n] for n in names], dtype=np.int64)
    count = len(schema.joint_classes)
    # An empty answer is wrong for every class: it stands in a column of its own, which is no class.
    shown = np.where(p < 0, count, p)
    units = np.asarray([group_of.get(n, n) for n in names], dtype=np.str_)
    intervals = bootstrap(t, shown, units, count, seed=seed)
    new = np.asarray([n not in seen for n in names], dtype=np.bool_)
    f1 = f1_per_class(confusion(t, shown, count + 1))[:count]
    support = np.bincount(t, minlength=count)
    result = Evaluation(
        images=len(names),
        macro_f1=intervals["macro_f1"],
        accuracy=intervals["accuracy"],
        grouped=bool(group_of),
        factors=_by_factor(t, p, schema),
        classes={n: (float(f), int(s)) for n, f, s in zip(schema.joint_classes, f1, support, strict=True)},
        empty=int((p < 0).sum()),
        leakage=leakage,
        new_images=_on_new(t[new], shown[new], units[new], count, seed) if seen and new.any() else None,
        path=predictions.with_name("evaluation.json"),
    )
    write_json(result.path, {**vars(result), "path": result.path.name, "leakage": leakage.to_json()})
    return result


def _on_new(
    true: NDArray[np.int64], predicted: NDArray[np.int64], groups: NDArray[np.str_], classes: int, seed: int
) -> tuple[int, Interval, Interval]:
    scores = bootstrap(true, predicted, groups, classes, seed=seed)
    return len(true), scores["macro_f1"], scores["accuracy"]


def read_answers(
    path: Path, schema: LabelSchema, *, allow_empty: bool = False
) -> tuple[dict[str, int], dict[str, str]]:
    """{image: joint class} (-1 for an empty answer) and {image: group} of a CSV."""
    found: dict[str, int] = {}
    groups: dict[str, str] = {}
    for where, cells in read_csv(path):
        name = next(iter(cells.values()))
        if name in found:
            raise DataError(f"{where}: {name} stands twice.")
        found[name] = _answer(cells, schema, where, allow_empty=allow_empty)
        if cells.get("group"):
            groups[name] = cells["group"]
    if not found:
        raise DataError(f"{path} has no rows.")
    return found, groups


def _answer(cells: Mapping[str, str], schema: LabelSchema, where: str, *, allow_empty: bool) -> int:
    named = all(f.name in cells for f in schema.factors)
    texts = [cells[f.name] for f in schema.factors] if named else list(cells.values())[1:2]
    if allow_empty and not any(texts):
        return -1
    if named:
        return int(schema.join(np.asarray([schema.encode(cells, where=where)]))[0])
    text = texts[0] if texts else ""
    if not text.isdecimal() or int(text) >= len(schema.joint_classes):
        hint = f"Expected a class number from 0 to {len(schema.joint_classes) - 1}, or a column a factor."
        raise DataError(f"{where}: answer {text!r} is not a class.", hint=hint)
    return int(text)


def _read_groups(path: Path) -> dict[str, str]:
    return {next(iter(cells.values())): cells["group"] for _, cells in read_csv(path, columns=("group",))}


def _same_images(true: Mapping[str, int], given: Mapping[str, int], answers: Path, predictions: Path) -> None:
    without, extra = sorted(true.keys() - given.keys()), sorted(given.keys() - true.keys())
    if without:
        raise DataError(f"{predictions}: no prediction for {len(without)} images of {answers}, such as {without[0]}.")
    if extra:
        raise DataError(f"{answers}: no answer for {len(extra)} images of {predictions}, such as {extra[0]}.")


def _by_factor(
    true: NDArray[np.int64], predicted: NDArray[np.int64], schema: LabelSchema
) -> dict[str, dict[str, float]]:
    true_parts, parts = schema.part(true), schema.part(np.maximum(predicted, 0))
    scores: dict[str, dict[str, float]] = {}
    for i, (name, size) in enumerate(schema.sizes.items()):
        column = np.where(predicted < 0, size, parts[:, i])
        f1 = f1_per_class(confusion(true_parts[:, i], column, size + 1))[:size]
        scores[name] = {"accuracy": accuracy(true_parts[:, i], column), "macro_f1": float(f1.mean())}
    return scores
