"""Factor models joined: against loops over images and classes, and against a calculation by hand."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_mask.data.predictions import PredictionTable
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.evaluation.factors import PriorGain, corrected, corrected_by_fold, dependence, gain_of, join_tables
from ssl_mask.evaluation.metrics import Interval, macro_f1
from ssl_mask.studies.factor_results import settle_prior

SCHEMA = LabelSchema((Factor("hue", ("red", "blue")), Factor("n", ("1", "2", "3"))))
TWO = LabelSchema((Factor("hue", ("red", "blue")), Factor("shape", ("disc", "box"))))


def table(probs: NDArray[Any], true: NDArray[Any], *, folds: int = 2, per_group: int = 3) -> PredictionTable:
    """Predictions of images 0.jpg, 1.jpg, … in groups of `per_group`; a whole group is in one fold."""
    n = len(true)
    group = np.arange(n) // per_group
    names = np.array([f"{i}.jpg" for i in range(n)])
    classes = tuple(map(str, range(probs.shape[1])))
    return PredictionTable(
        classes, names, names, np.array([f"{i:064d}" for i in range(n)]), np.array([f"g{g}" for g in group]),
        group % folds, true, probs.argmax(axis=1), probs.astype(np.float32), {},
    )  # fmt: skip


def made(n: int, classes: int, seed: int) -> PredictionTable:
    rng = np.random.default_rng(seed)
    return table(rng.dirichlet(np.ones(classes), n), rng.integers(classes, size=n))


def shuffled(given: PredictionTable, seed: int) -> PredictionTable:
    order = np.random.default_rng(seed).permutation(len(given))
    columns = ("id", "path", "sha256", "group", "fold", "true", "predicted", "probs")
    return replace(given, **{name: getattr(given, name)[order] for name in columns})


def test_joined_probabilities_are_products_whatever_the_order_of_the_images() -> None:
    hue, number = made(30, 2, 0), made(30, 3, 1)
    joined = join_tables({"n": shuffled(number, 2), "hue": hue}, SCHEMA)
    assert joined.classes == ("red/1", "red/2", "red/3", "blue/1", "blue/2", "blue/3")
    for i in range(30):
        expected = [hue.probs[i, a] * number.probs[i, b] for a in range(2) for b in range(3)]
        assert joined.probs[i] == pytest.approx(expected, rel=1e-5)
        assert joined.true[i] == hue.true[i] * 3 + number.true[i]
        assert joined.predicted[i] == hue.probs[i].argmax() * 3 + number.probs[i].argmax()
    assert list(joined.path) == list(hue.path) and list(joined.fold) == list(hue.fold)


@pytest.mark.parametrize("column", ["sha256", "group", "fold", "path"])
def test_factors_of_other_images_are_refused(column: str) -> None:
    hue, number = made(30, 2, 0), made(30, 3, 1)
    values = getattr(number, column).copy()
    values[4] = values[0] if column != "fold" else 1 - values[4]
    with pytest.raises(DataError, match="'n' were validated on other images"):
        join_tables({"hue": hue, "n": replace(number, **{column: values})}, SCHEMA)
    shorter = replace(number, **{c: getattr(number, c)[:-1] for c in ("id", "path", "sha256", "group", "fold", "true")})
    with pytest.raises(DataError, match="'n' were validated on other images"):
        join_tables({"hue": hue, "n": shorter}, SCHEMA)


def test_dependence_by_hand() -> None:
    """Of ten images six are red, five discs; four are red discs, where independent factors would have three."""
    joint = np.array([0] * 4 + [1] * 2 + [2] * 1 + [3] * 3)
    assert dependence(joint, TWO, alpha=0).tolist() == pytest.approx([4 / 3, 2 / 3, 1 / 2, 3 / 2])
    # With α = 1, four images are added: 1.2 red discs, 1.2 red boxes, 0.8 blue discs, 0.8 blue boxes.
    by_hand = [5.2 / (14 * 0.3), 3.2 / (14 * 0.3), 1.8 / (14 * 0.2), 3.8 / (14 * 0.2)]
    assert dependence(joint, TWO, alpha=1).tolist() == pytest.approx(by_hand)


def test_dependence_is_one_where_factors_are_independent_or_unseen() -> None:
    product = np.repeat(np.arange(6), [2, 4, 6, 1, 2, 3])  # (2 : 1) times (1 : 2 : 3)
    assert dependence(product, SCHEMA).tolist() == pytest.approx([1] * 6)
    no_third = np.array([0, 0, 0, 1, 3, 4, 4, 4])
    ratio = dependence(no_third, SCHEMA)
    assert ratio[2] == ratio[5] == 1 and ratio[0] > 1 > ratio[1] > 0


def test_a_correction_multiplies_and_sums_to_one() -> None:
    probs, ratio = made(20, 4, 3).probs, np.array([4 / 3, 2 / 3, 1 / 2, 3 / 2])
    probs[5] = np.nan
    found = corrected(probs, ratio)
    for i in range(20):
        raised = [float(p) * r for p, r in zip(probs[i], ratio, strict=True)]
        assert found[i].tolist() == pytest.approx([x / sum(raised) for x in raised], rel=1e-5, nan_ok=True)


def test_each_fold_is_corrected_by_the_labels_of_the_others() -> None:
    given = replace(made(60, 4, 4), classes=TWO.joint_classes)
    found = corrected_by_fold(given, TWO)
    for i in range(60):
        others = [int(t) for t, f in zip(given.true, given.fold, strict=True) if f != given.fold[i]]
        n = len(others)
        raised = []
        for j in range(4):
            shares = [sum(o // 2 == j // 2 for o in others) / n, sum(o % 2 == j % 2 for o in others) / n]
            ratio = (sum(o == j for o in others) + 4 * prod(shares)) / ((n + 4) * prod(shares))
            raised.append(float(given.probs[i, j]) * ratio)
        assert found.probs[i].tolist() == pytest.approx([x / sum(raised) for x in raised], rel=1e-4)


def linked(n: int, *, seed: int, same: float) -> PredictionTable:
    """Two factors that are alike with the chance `same`, predicted without knowing of each other."""
    rng = np.random.default_rng(seed)
    first = rng.integers(2, size=n)
    second = np.where(rng.random(n) < same, first, 1 - first)
    parts = []
    for column in (first, second):
        certain = rng.beta(2, 1.4, n)  # the chance that it gives to the true class
        parts.append(np.stack([np.where(column == c, certain, 1 - certain) for c in (0, 1)], axis=1))
    return table(TWO.product({"hue": parts[0], "shape": parts[1]}), first * 2 + second, folds=4)


def test_the_correction_helps_where_factors_depend_on_each_other() -> None:
    given = replace(linked(600, seed=0, same=0.95), classes=TWO.joint_classes)
    gain = gain_of(given, corrected_by_fold(given, TWO))
    assert gain.helps and gain.nll_corrected < gain.nll_plain
    both = [given.predicted, corrected_by_fold(given, TWO).predicted]
    before, after = (macro_f1(given.true, p, 4) for p in both)
    assert gain.macro_f1.value == pytest.approx(after - before)
    assert gain.nll_plain == pytest.approx(np.mean([-np.log(p[t]) for p, t in zip(given.probs, given.true)]), rel=1e-5)  # noqa: B905


def test_the_correction_of_independent_factors_is_not_said_to_help() -> None:
    given = replace(linked(600, seed=1, same=0.5), classes=TWO.joint_classes)
    assert not gain_of(given, corrected_by_fold(given, TWO)).helps


@pytest.mark.parametrize(("low", "helps"), [(-0.001, False), (0.0, False), (0.001, True)])
def test_only_a_gain_beyond_its_interval_counts(low: float, helps: bool) -> None:
    assert PriorGain(Interval(0.01, low, 0.02), 1.0, 0.9).helps == helps


@pytest.mark.parametrize("same", [0.95, 0.5])
def test_what_is_stored_comes_from_all_labels_and_is_scored_by_fold(same: float) -> None:
    given = replace(linked(600, seed=0 if same > 0.5 else 1, same=same), classes=TWO.joint_classes)
    prior, scored = settle_prior(given, TWO)
    assert list(prior.ratio) == pytest.approx(dependence(given.true, TWO).tolist())
    assert prior.used == (same > 0.5)
    np.testing.assert_array_equal(scored.probs, (corrected_by_fold(given, TWO) if prior.used else given).probs)
