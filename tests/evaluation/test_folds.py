"""What K folds say together, against slow and obvious computations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from ssl_mask.data.predictions import PredictionTable
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.evaluation.calibration import fit_temperature
from ssl_mask.evaluation.folds import FoldTable, Point, best_point, calibrate, calibration_error, mean_curve, pool

SCHEMA = LabelSchema((Factor("kind", ("cat", "dog", "owl")), Factor("cover", ("no", "yes"))))
IMAGES = 60


# ---- the common step ----


def slow_best(curves: list[list[Point]]) -> tuple[int, str]:
    """Every step and kind of weights that is in all curves, compared one by one."""
    best: tuple[float, float, int, str] | None = None
    for step in range(100):
        for weights in ("ema", "live"):
            own = [p for curve in curves for p in curve if p.step == step and p.weights == weights]
            if len(own) < len(curves):
                continue
            f1, nll = sum(p.macro_f1 for p in own) / len(own), sum(p.nll for p in own) / len(own)
            if best is None or f1 > best[0] or (f1 == best[0] and (nll, step) < best[1:3]):
                best = (f1, nll, step, weights)
    assert best is not None
    return best[2:]


def test_the_common_step_is_that_of_the_best_mean_of_what_all_folds_evaluated() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        lasts = rng.integers(3, 8, size=4)  # folds that stopped early
        curves = [
            [
                # few values, so that there are ties
                Point(step, weights, float(rng.integers(0, 3)) / 4, float(rng.integers(0, 3)) / 4)
                for step in range(last) for weights in ("live", "ema")
            ]
            for last in lasts
        ]  # fmt: skip
        found = best_point(mean_curve(curves))
        assert (found.step, found.weights) == slow_best(curves)


def test_equal_scores_are_settled_by_log_loss_then_by_the_earlier_step() -> None:
    points = [Point(4, "live", 0.5, 0.2), Point(2, "live", 0.5, 0.2), Point(1, "live", 0.5, 0.3)]
    assert best_point(points) == points[1]
    assert mean_curve([[points[0]], [points[1]]]) == []


# ---- made-up predictions of which the logits are known ----


def made_up(target: str, repeats: int = 1, folds: int = 3) -> tuple[list[FoldTable], list[dict[str, NDArray[Any]]]]:
    """Tables of a study, and the logits behind each; every run has temperatures of its own."""
    rng = np.random.default_rng(3)
    true = rng.integers(0, 6, IMAGES)
    runs: list[FoldTable] = []
    raw: list[dict[str, NDArray[Any]]] = []
    for repeat in range(repeats):
        fold_of = rng.permutation(np.arange(IMAGES) % folds)
        for fold in range(folds):
            rows = np.flatnonzero(fold_of == fold)
            labels = SCHEMA.head_labels(SCHEMA.part(true[rows]), target)
            logits = {
                head: 6 * (rng.standard_normal((len(rows), size)) + 0.8 * np.eye(size)[labels[:, i]])
                for i, (head, size) in enumerate(SCHEMA.heads(target).items())
            }
            temperatures = {head: float(rng.uniform(0.5, 4)) for head in logits}
            runs.append(FoldTable(repeat, fold, table(rows, true[rows], logits, temperatures, fold), temperatures))
            raw.append(logits)
    return runs, raw


def joint(logits: Mapping[str, NDArray[Any]], temperatures: Mapping[str, float]) -> NDArray[np.float32]:
    """(n, 6) probabilities, cell by cell."""
    parts = {h: softmax(z / temperatures[h], axis=1) for h, z in logits.items()}
    if "joint" in parts:
        return parts["joint"].astype(np.float32)
    cells = [parts["kind"][:, i] * parts["cover"][:, j] for i, j in product(range(3), range(2))]
    return np.stack(cells, axis=1).astype(np.float32)


def table(
    rows: NDArray[Any], true: NDArray[Any], logits: Mapping[str, NDArray[Any]], temperatures: Mapping[str, float],
    fold: int,
) -> PredictionTable:  # fmt: skip
    names = np.asarray([f"{i:03d}.jpg" for i in rows])
    probs, group = joint(logits, temperatures), np.asarray([f"g{i // 2}" for i in rows])
    text, folds = (names, names, names, group), np.full(len(rows), fold)
    return PredictionTable(SCHEMA.joint_classes, *text, folds, true, probs.argmax(axis=1), probs, {})


@pytest.mark.parametrize("target", ["factors", "joint"])
def test_temperatures_are_those_of_the_logits_of_all_folds(target: str) -> None:
    runs, raw = made_up(target, repeats=2)
    found = calibrate(runs, SCHEMA, target)
    labels = np.concatenate([SCHEMA.head_labels(SCHEMA.part(r.table.true), target) for r in runs])
    for i, head in enumerate(SCHEMA.heads(target)):
        logits = np.concatenate([z[head] for z in raw])
        assert found.temperatures[head] == pytest.approx(fit_temperature(logits, labels[:, i]), rel=1e-3)
    for got, plain, logits in zip(found.tables, found.raw, raw, strict=True):
        np.testing.assert_allclose(got.probs, joint(logits, found.temperatures), atol=2e-6)
        np.testing.assert_allclose(plain.probs, joint(logits, dict.fromkeys(logits, 1.0)), atol=2e-6)
        assert (got.predicted == got.probs.argmax(axis=1)).all()


@pytest.mark.parametrize("target", ["factors", "joint"])
def test_cross_fitted_temperatures_never_saw_the_fold_that_they_calibrate(target: str) -> None:
    runs, raw = made_up(target, repeats=2)
    found = calibrate(runs, SCHEMA, target)
    for number, own in enumerate(runs):
        temperatures: dict[str, float] = {}
        for i, head in enumerate(SCHEMA.heads(target)):
            logits, labels = [], []
            for other, z in zip(runs, raw, strict=True):
                if other.repeat == own.repeat and other.fold != own.fold:
                    logits += list(z[head])
                    labels += SCHEMA.head_labels(SCHEMA.part(other.table.true), target)[:, i].tolist()
            temperatures[head] = fit_temperature(np.stack(logits), np.asarray(labels))
        np.testing.assert_allclose(found.cross_fitted[number].probs, joint(raw[number], temperatures), atol=1e-4)
    # The labels of a fold change nothing in its own cross-fitted table.
    other_labels = replace(runs[0].table, true=(runs[0].table.true + 1) % 6)
    again = calibrate([runs[0]._replace(table=other_labels), *runs[1:]], SCHEMA, target)
    assert (again.cross_fitted[0].probs == found.cross_fitted[0].probs).all()
    assert again.temperatures != found.temperatures


def test_calibration_mends_overconfident_folds() -> None:
    runs, _ = made_up("factors", folds=5)
    found = calibrate(runs, SCHEMA, "factors")
    assert calibration_error(pool([found.cross_fitted])) < calibration_error(pool([found.raw]))


def test_probabilities_of_zero_have_finite_temperatures() -> None:
    runs, _ = made_up("factors")
    sure = [r._replace(table=replace(r.table, probs=np.eye(6, dtype=np.float32)[r.table.predicted])) for r in runs]
    found = calibrate(sure, SCHEMA, "factors")
    assert all(np.isfinite(t.probs).all() for t in (*found.tables, *found.cross_fitted, *found.raw))


# ---- pooling ----


def test_the_pooled_table_has_every_image_once_with_the_mean_of_its_repeats() -> None:
    runs, _ = made_up("factors", repeats=3)
    repeats = [[r.table for r in runs if r.repeat == n] for n in range(3)]
    pooled = pool(repeats)
    assert pooled.path.tolist() == [f"{i:03d}.jpg" for i in range(IMAGES)]
    for row, path in enumerate(pooled.path.tolist()):
        said = [
            t.probs[i].astype(np.float64)
            for tables in repeats for t in tables for i, other in enumerate(t.path.tolist()) if other == path
        ]  # fmt: skip
        assert len(said) == 3
        np.testing.assert_allclose(pooled.probs[row], sum(said) / 3, atol=1e-7)
        first = next(t for t in repeats[0] if path in t.path)
        at = first.path.tolist().index(path)
        assert (pooled.fold[row], pooled.true[row], pooled.group[row]) == (
            first.fold[at],
            first.true[at],
            first.group[at],
        )
        assert pooled.predicted[row] == pooled.probs[row].argmax()


def test_one_repeat_is_the_union_bit_by_bit() -> None:
    tables = [r.table for r in made_up("factors")[0]]
    pooled = pool([tables])
    for t in tables:
        rows = [pooled.path.tolist().index(p) for p in t.path.tolist()]
        assert (pooled.probs[rows] == t.probs).all()


def without(whole: PredictionTable, row: int) -> PredictionTable:
    kept = np.arange(len(whole)) != row
    columns = ("id", "path", "sha256", "group", "fold", "true", "predicted", "probs")
    return replace(whole, **{n: getattr(whole, n)[kept] for n in columns})


def test_a_doubled_a_missing_or_a_changed_image_is_refused() -> None:
    runs, _ = made_up("factors", repeats=2)
    first, second = ([r.table for r in runs if r.repeat == n] for n in range(2))
    with pytest.raises(DataError, match=r"000\.jpg is a validation image of two folds|validation image of two folds"):
        pool([[*first, first[0]]])
    missing = second[0].path[0]
    with pytest.raises(DataError, match=rf"{missing} has no prediction in one of the repeats \(1 such"):
        pool([first, [without(second[0], 0), *second[1:]]])
    other = replace(second[0], sha256=np.char.add(second[0].sha256, "x"))
    with pytest.raises(DataError, match="is not the same in all repeats"):
        pool([first, [other, *second[1:]]])
