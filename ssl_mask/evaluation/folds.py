"""What K folds say together: the step that suits all of them, and calibrated out-of-fold predictions.

A prediction of a fold is of a model that has not seen the group of the image. So the union of the validation tables of
all folds (pooled, out-of-fold, OOF) is the fairest score that labels can give, and the place to fit temperatures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.predictions import PredictionTable, predicted_class
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.evaluation.calibration import expected_calibration_error, fit_temperature

LEAST = float(np.finfo(np.float32).tiny)
"""Probabilities below this have no logarithm in float32."""
Weights = Literal["live", "ema"]


class Point(NamedTuple):
    """An evaluation: which weights, and how good."""

    step: int
    weights: Weights
    macro_f1: float
    nll: float


def mean_curve(curves: Sequence[Iterable[Point]]) -> list[Point]:
    """The mean macro-F1 and log-loss over folds of every evaluation that all folds have, by step.

    Args:
        curves: the evaluations of each fold. Folds that stopped early lack the later ones.
    """
    found = [{(p.step, p.weights): p for p in curve} for curve in curves]
    common = set.intersection(*(set(own) for own in found))
    return [
        Point(step, weights, *np.mean([own[step, weights][2:] for own in found], axis=0).tolist())
        for step, weights in sorted(common)
    ]


def best_point(points: Iterable[Point]) -> Point:
    """The highest macro-F1; of equal ones the lower log-loss, then the earlier step. Raises ValueError of none."""
    return min(points, key=lambda p: (-p.macro_f1, p.nll, p.step, p.weights))


HeadScores = dict[str, NDArray[np.float64]]
"""Head -> (n, classes) logits at temperature 1, up to a constant per row."""


def head_scores(probs: NDArray[Any], temperatures: Mapping[str, float], schema: LabelSchema, target: str) -> HeadScores:
    """What the heads said before calibration: log p of a head times its temperature is its logits up to a constant.

    Args:
        probs: (n, joint classes), calibrated with `temperatures`.
        target: `factors` or `joint`: the heads of the model.
    """
    heads = schema.heads(target)
    parts = {"joint": probs} if list(heads) == ["joint"] and len(schema.factors) > 1 else schema.marginals(probs)
    return {h: np.log(np.maximum(parts[h].astype(np.float64), LEAST)) * temperatures[h] for h in heads}


def joint_probs(scores: HeadScores, temperatures: Mapping[str, float], schema: LabelSchema) -> NDArray[np.float32]:
    """(n, joint classes) calibrated probabilities of the heads' logits; temperature 1 for a head that has none."""
    from scipy.special import softmax

    parts = {h: softmax(z / temperatures.get(h, 1.0), axis=1) for h, z in scores.items()}
    return schema.product(parts)


def fit_temperatures(scores: HeadScores, head_labels: NDArray[np.int64]) -> dict[str, float]:
    """One temperature per head, for all folds together.

    Args:
        head_labels: (n, heads).
    """
    return {h: fit_temperature(z, head_labels[:, i]) for i, (h, z) in enumerate(scores.items())}


class FoldTable(NamedTuple):
    """Validation predictions of one run of a study."""

    repeat: int
    fold: int
    table: PredictionTable
    temperatures: Mapping[str, float]
    """Per head, that its probabilities are calibrated with."""


class Calibrated(NamedTuple):
    """Tables of all runs, calibrated anew."""

    temperatures: dict[str, float]
    """Per head, fitted on the predictions of all runs."""
    tables: list[PredictionTable]
    """Of each run, calibrated with these."""
    cross_fitted: list[PredictionTable]
    """Of each run, calibrated with temperatures that were fitted on the other folds of its split: for scores."""
    raw: list[PredictionTable]
    """Of each run, at temperature 1."""


def calibrate(runs: Sequence[FoldTable], schema: LabelSchema, target: str) -> Calibrated:
    """Temperatures per head from out-of-fold predictions, and the tables of all runs calibrated with them."""
    scores = [head_scores(run.table.probs, run.temperatures, schema, target) for run in runs]
    labels = [schema.head_labels(schema.part(run.table.true), target) for run in runs]

    def fitted(chosen: Sequence[int]) -> dict[str, float]:
        stacked = {h: np.concatenate([scores[i][h] for i in chosen]) for h in scores[0]}
        return fit_temperatures(stacked, np.concatenate([labels[i] for i in chosen]))

    def others(own: FoldTable) -> list[int]:
        return [i for i, r in enumerate(runs) if r.repeat == own.repeat and r.fold != own.fold]

    common = fitted(range(len(runs)))
    pairs = list(zip(runs, scores, strict=True))
    return Calibrated(
        common,
        [with_probs(run.table, joint_probs(z, common, schema)) for run, z in pairs],
        [with_probs(run.table, joint_probs(z, fitted(others(run)), schema)) for run, z in pairs],
        [with_probs(run.table, joint_probs(z, {}, schema)) for run, z in pairs],
    )


def with_probs(table: PredictionTable, probs: NDArray[np.float32]) -> PredictionTable:
    """The same images with other probabilities."""
    return replace(table, probs=probs, predicted=predicted_class(probs))


def pool(repeats: Sequence[Sequence[PredictionTable]]) -> PredictionTable:
    """All images once, by path; the mean of an image's predictions where there are several repeats.

    Args:
        repeats: of each split of the data, the tables of its folds. `fold` is kept of the first one.

    Raises:
        DataError: an image twice in one split, or not in all of them, or one that differs between them.
    """
    stacked = [_stacked(tables) for tables in repeats]
    first, *rest = stacked
    for other in rest:
        _refuse_other_images(first, other)
    probs = np.mean([table.probs.astype(np.float64) for table in stacked], axis=0).astype(np.float32)
    return with_probs(first, probs)


def _stacked(tables: Sequence[PredictionTable]) -> PredictionTable:
    """The rows of several tables as one, by path."""
    names = ("id", "path", "sha256", "group", "fold", "true", "predicted", "probs")
    columns = {name: np.concatenate([getattr(table, name) for table in tables]) for name in names}
    order = np.argsort(columns["path"], kind="stable")
    paths = columns["path"][order]
    twice = np.flatnonzero(paths[1:] == paths[:-1])
    if len(twice):
        raise DataError(
            f"{paths[twice[0]]} is a validation image of two folds.",
            hint="The folds are not of one split: begin a new study.",
        )
    return PredictionTable(tables[0].classes, **{n: c[order] for n, c in columns.items()}, more={})


def _refuse_other_images(first: PredictionTable, other: PredictionTable) -> None:
    missing = sorted(set(first.path.tolist()) ^ set(other.path.tolist()))
    if missing:
        raise DataError(
            f"{missing[0]} has no prediction in one of the repeats ({len(missing)} such images).",
            hint="The data set changed while the study was trained: begin a new one.",
        )
    changed = np.flatnonzero((first.sha256 != other.sha256) | (first.true != other.true))
    if len(changed):
        raise DataError(
            f"{first.path[changed[0]]} is not the same in all repeats.",
            hint="The data set changed while the study was trained: begin a new one.",
        )


def calibration_error(table: PredictionTable) -> float:
    """Expected calibration error of the joint confidence, in [0, 1]."""
    return expected_calibration_error(table.probs, table.true)
