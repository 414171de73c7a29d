"""Scores against sklearn and torchmetrics; intervals by group."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score
from torchmetrics.functional.classification import multiclass_f1_score

from ssl_mask.evaluation import metrics
from ssl_mask.evaluation.metrics import (
    accuracy,
    bootstrap,
    class_f1_intervals,
    confusion,
    f1_per_class,
    macro_f1,
    paired_bootstrap,
)

Labels = NDArray[np.int64]


def answers(n: int = 200, classes: int = 5, seed: int = 0) -> tuple[Labels, Labels]:
    rng = np.random.default_rng(seed)
    true = rng.integers(classes, size=n)
    return true, np.where(rng.random(n) < 0.7, true, rng.integers(classes, size=n))


def sklearn_f1(true: Labels, predicted: Labels, classes: int) -> float:
    return float(f1_score(true, predicted, labels=range(classes), zero_division=0, average="macro"))


def test_macro_f1_equals_sklearn_and_torchmetrics() -> None:
    true, predicted = answers()
    ours = macro_f1(true, predicted, 5)
    assert ours == pytest.approx(sklearn_f1(true, predicted, 5))
    theirs = multiclass_f1_score(torch.from_numpy(predicted), torch.from_numpy(true), num_classes=5, average="macro")
    assert ours == pytest.approx(theirs.item(), abs=1e-6)


def test_a_class_that_never_occurs_counts_as_zero() -> None:
    true, predicted = answers(classes=3)
    assert macro_f1(true, predicted, 4) == pytest.approx(sklearn_f1(true, predicted, 4))
    assert macro_f1(true, predicted, 4) == pytest.approx(macro_f1(true, predicted, 3) * 3 / 4)


def test_f1_by_hand() -> None:
    true, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    # Class 0: precision 1, recall 2/3. Class 1: precision 1/2, recall 1.
    np.testing.assert_allclose(f1_per_class(confusion(true, predicted, 2)), [0.8, 2 / 3])


def test_confusion_has_true_classes_as_rows() -> None:
    true, predicted = answers()
    np.testing.assert_array_equal(confusion(true, predicted, 5), confusion_matrix(true, predicted, labels=range(5)))


def test_accuracy_of_nothing_is_not_a_number() -> None:
    assert accuracy(np.array([1, 2, 3]), np.array([1, 0, 3])) == pytest.approx(2 / 3)
    assert math.isnan(accuracy(np.empty(0), np.empty(0)))


def test_bootstrap_brackets_the_pooled_scores_and_repeats() -> None:
    true, predicted = answers()
    found = bootstrap(true, predicted, np.arange(200), 5, draws=300)
    assert found["macro_f1"].value == pytest.approx(sklearn_f1(true, predicted, 5))
    assert found["accuracy"].value == pytest.approx((true == predicted).mean())
    assert all(i.low < i.value < i.high for i in found.values())
    assert found == bootstrap(true, predicted, np.arange(200), 5, draws=300)
    assert found != bootstrap(true, predicted, np.arange(200), 5, draws=300, seed=1)


def test_image_intervals_are_as_wide_as_theory_says() -> None:
    true, predicted = answers(n=400)
    found = bootstrap(true, predicted, np.arange(400), 5, draws=2000)["accuracy"]
    deviation = math.sqrt(found.value * (1 - found.value) / 400)
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_intervals_widen_when_images_of_a_group_are_all_alike() -> None:
    true, predicted = (np.repeat(x, 9) for x in answers(n=40))
    by_group = bootstrap(true, predicted, np.repeat(np.arange(40), 9), 5, draws=500)
    by_image = bootstrap(true, predicted, np.arange(360), 5, draws=500)
    for key in ("macro_f1", "accuracy"):
        ratio = (by_group[key].high - by_group[key].low) / (by_image[key].high - by_image[key].low)
        assert 2 < ratio < 4  # in theory sqrt(9)


def test_one_group_has_an_interval_without_width() -> None:
    true, predicted = answers()
    for interval in bootstrap(true, predicted, np.full(200, "a"), 5, draws=20).values():
        assert interval.low == pytest.approx(interval.value) and interval.high == pytest.approx(interval.value)


def test_an_image_without_a_prediction_counts_as_wrong() -> None:
    true, predicted = answers(classes=3)
    predicted[:50] = 3
    found = bootstrap(true, predicted, np.arange(200), 3, draws=200)
    assert found["macro_f1"].value == pytest.approx(sklearn_f1(true, predicted, 3))
    assert found["accuracy"].value == pytest.approx((true == predicted).mean())
    assert found["macro_f1"].low < found["macro_f1"].value < found["macro_f1"].high


def test_a_paired_interval_is_that_of_a_slow_loop() -> None:
    true = answers(60, 3, seed=1)[0]
    runs = [[answers(60, 3, seed=s)[1] for s in seeds] for seeds in ((1, 2), (3, 4))]
    groups = np.asarray([f"g{i // 6}" for i in range(60)])
    found = paired_bootstrap(true, *map(np.stack, runs), groups, 3, draws=50, seed=5)
    rng, slow = np.random.default_rng(5), []
    for _ in range(50):
        times = rng.multinomial(10, np.full(10, 0.1))
        rows = [i for g, n in enumerate(times) for _ in range(n) for i in range(6 * g, 6 * g + 6)]
        means = [np.mean([sklearn_f1(true[rows], p[rows], 3) for p in side]) for side in runs]
        slow.append(means[1] - means[0])
    value = np.mean([macro_f1(true, p, 3) for p in runs[1]]) - np.mean([macro_f1(true, p, 3) for p in runs[0]])
    low, high = np.percentile(slow, [2.5, 97.5])
    assert found["macro_f1"] == pytest.approx((value, low, high))
    assert found["accuracy"].value == pytest.approx(
        np.mean([(p == true).mean() for p in runs[1]]) - np.mean([(p == true).mean() for p in runs[0]])
    )


def test_a_paired_interval_of_equal_runs_is_zero() -> None:
    true, predicted = answers()
    found = paired_bootstrap(true, predicted[None], predicted[None], np.arange(200), 5, draws=20)
    assert found["macro_f1"] == found["accuracy"] == (0, 0, 0)


def test_intervals_are_those_of_a_slow_loop_and_of_draws_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that a draw misses is left out of it; images without a prediction (class 4) count as wrong."""
    rng = np.random.default_rng(2)
    true, predicted = rng.integers(0, 3, 36), rng.integers(0, 5, 36)
    true[0] = 3  # the only one: a third of the draws misses it
    groups = np.arange(36) // 3
    found = (
        bootstrap(true, predicted, groups, 4, draws=40, seed=5),
        class_f1_intervals(true, predicted, groups, 4, draws=40, seed=5),
    )
    rng, scores, per_class = np.random.default_rng(5), [], []
    for _ in range(40):
        times = rng.multinomial(12, np.full(12, 1 / 12))
        rows = [i for g, n in enumerate(times) for _ in range(n) for i in range(3 * g, 3 * g + 3)]
        own = f1_score(true[rows], predicted[rows], labels=range(4), zero_division=0, average=None)
        seen = [c for c in range(4) if c in true[rows] or c not in true]
        scores.append((own[seen].mean(), (true[rows] == predicted[rows]).mean()))
        per_class.append([own[c] if c in true[rows] else np.nan for c in range(4)])
    for column, key in enumerate(("macro_f1", "accuracy")):
        assert found[0][key][1:] == pytest.approx(np.percentile(scores, [2.5, 97.5], axis=0)[:, column])
    for c, interval in enumerate(found[1]):
        if interval is not None:
            assert interval[1:] == pytest.approx(np.nanpercentile(np.asarray(per_class)[:, c], [2.5, 97.5]))
    monkeypatch.setattr(metrics, "AT_ONCE", 1)
    assert found[0] == bootstrap(true, predicted, groups, 4, draws=40, seed=5)
    assert found[1] == class_f1_intervals(true, predicted, groups, 4, draws=40, seed=5)
