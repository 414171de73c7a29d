"""Thresholds by precision: against a slow search, by hand, and by what they deliver on photos never seen."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest

from ssl_mask.selection.precision import PrecisionThresholds, precision_thresholds, wilson_lower
from ssl_mask.selection.rules import TopPrediction, above

CLASSES = 3
TARGETS = (0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99)
Validation = tuple[TopPrediction, NDArray[np.int64], NDArray[np.str_]]


def draw(n: int, seed: int, *, alike: float = 1.0, hard: tuple[float, ...] = (0, 0.5, -1.5)) -> Validation:
    """Predictions of n photos, 7 a person. Confidence is calibrated but for what the person adds (sd `alike`)."""
    rng = np.random.default_rng(seed)
    person = np.arange(n) // 7
    predicted = rng.integers(0, CLASSES, n)
    logit = rng.normal(size=n) * 1.5 + 1.5 + np.asarray(hard)[predicted]
    right = rng.random(n) < 1 / (1 + np.exp(-logit - alike * rng.normal(size=person.max() + 1)[person]))
    confidence = 1 / (1 + np.exp(-logit))
    true = np.where(right, predicted, (predicted + 1) % CLASSES)
    return TopPrediction(predicted, confidence, confidence), true, np.asarray([f"p{p}" for p in person])


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (47, 50), (1, 3), (390, 400)])
def test_the_bound_is_scipys_and_solves_the_score_equation(right: int, count: int) -> None:
    bound = float(wilson_lower(right, count))
    # A two-sided interval of 90 % has the one-sided 95 % bound as its lower end.
    theirs = binomtest(right, count).proportion_ci(confidence_level=0.90, method="wilson").low
    assert bound == pytest.approx(theirs, abs=5e-5)  # its z has more digits
    if right:
        share = right / count
        solved = brentq(lambda p: (share - p) / math.sqrt(p * (1 - p) / count) - 1.6449, 1e-9, share - 1e-12)
        assert bound == pytest.approx(solved, abs=1e-6)


def test_no_trials_prove_nothing() -> None:
    assert wilson_lower(np.asarray([0.0, 3.0]), np.asarray([0.0, 3.0])) == pytest.approx([0, 3 / (3 + 1.6449**2)])


def slow_worth(members: list[int], groups: list[str], correlation: float) -> float:
    sizes = [sum(groups[i] == name for i in members) for name in {groups[i] for i in members}]
    return len(members) / (1 + (sum(s * s for s in sizes) / sum(sizes) - 1) * correlation)


def slow_correlation(right: list[bool], groups: list[str]) -> float:
    mean = sum(right) / len(right)
    products = [
        (right[i] - mean) * (right[j] - mean)
        for i in range(len(right))
        for j in range(len(right))
        if i != j and groups[i] == groups[j]
    ]
    variance = mean * (1 - mean)
    if not products:
        return 0.0
    return min(max(sum(products) / len(products) / variance, 0.0), 1.0) if variance else 1.0


def slow_thresholds(validation: Validation, target: float) -> tuple[list[float], list[str]]:
    """The docstring of `precision_thresholds`, word by word."""
    tops, true, named = validation
    groups = [g or f"alone {i}" for i, g in enumerate(named.tolist())]
    right = (tops.predicted == true).tolist()
    told = [i for i in range(len(true)) if tops.predicted[i] >= 0]
    correlation = slow_correlation([right[i] for i in told], [groups[i] for i in told])

    def bounds(own: list[int], threshold: float) -> tuple[float, float]:
        members = [i for i in own if tops.confidence[i] >= threshold]
        if not members:
            return 0.0, 1.0
        worth = slow_worth(members, groups, correlation)
        share = sum(right[i] for i in members) / len(members)
        interval = 1.6449 * math.sqrt(share * (1 - share) / worth + 1.6449**2 / 4 / worth**2)
        middle, scale = share + 1.6449**2 / 2 / worth, 1 + 1.6449**2 / worth
        return (middle - interval) / scale, (middle + interval) / scale

    def smallest(own: list[int]) -> float:
        seen = {tops.confidence[i] for i in own}
        return float(min((c for c in seen if bounds(own, c)[0] >= target), default=math.inf))

    pooled, thresholds, source = smallest(told), [], []
    for c in range(CLASSES):
        own = [i for i in told if tops.predicted[i] == c]
        threshold, vouched = smallest(own), "class"
        if math.isinf(threshold):
            seen = sorted({float(tops.confidence[i]) for i in own})
            best = max(seen, key=lambda s: (round(bounds(own, s)[0], 12), -s), default=-math.inf)
            threshold, vouched = max(pooled, best), "pooled"
            between = [s for s in seen if best <= s <= threshold] + [threshold]
            if math.isinf(threshold) or any(bounds(own, s)[1] < target for s in between):
                threshold, vouched = math.inf, "none"
        thresholds.append(threshold)
        source.append(vouched)
    return thresholds, source


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("target", TARGETS)
def test_thresholds_are_those_of_a_slow_search(seed: int, target: float) -> None:
    tops, true, groups = draw(130, seed, alike=1.0, hard=(1, 3, -2))
    confidence = np.round(tops.confidence, 2)  # with ties
    predicted = np.where(np.random.default_rng(seed).random(130) < 0.05, -1, tops.predicted)
    groups = np.where(np.arange(130) % 10 == 0, "", groups)
    validation = (TopPrediction(predicted, confidence, confidence), true, groups)
    found = precision_thresholds(*validation[:2], CLASSES, target, groups)
    thresholds, source = slow_thresholds(validation, target)
    assert found.thresholds.tolist() == thresholds
    assert list(found.source) == source


def test_the_slow_search_was_asked_for_every_source() -> None:
    cases = [slow_thresholds(draw(130, seed, hard=(1, 3, -2)), t)[1] for seed in range(3) for t in TARGETS]
    assert {s for source in cases for s in source} == {"class", "pooled", "none"}


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("alike", [0.0, 2.0])
def test_a_higher_target_never_lowers_a_threshold(seed: int, alike: float) -> None:
    tops, true, groups = draw(200, seed, alike=alike, hard=(1, 3, -2))
    found = [precision_thresholds(tops, true, CLASSES, t, groups).thresholds for t in np.linspace(0.3, 0.99, 40)]
    assert all((low <= high).all() for low, high in pairwise(found))


def certain(right: list[bool], predicted: list[int] | None = None) -> tuple[TopPrediction, NDArray[np.int64]]:
    """Ever less confident predictions (of class 0) that are right or wrong."""
    own = np.zeros(len(right), dtype=np.int64) if predicted is None else np.asarray(predicted)
    confidence = np.linspace(0.99, 0.5, len(right))
    return TopPrediction(own, confidence, confidence), np.where(right, own, (own + 1) % CLASSES)


def test_an_early_error_does_not_end_the_search() -> None:
    # The most confident one is wrong; 99 of 100 have a bound of 0.957.
    tops, true = certain([False] + [True] * 99)
    found = precision_thresholds(tops, true, CLASSES, 0.95)
    assert found.thresholds[0] == 0.5
    assert found.source == ("class", "pooled", "pooled")


def test_without_any_error_a_person_counts_as_one_photo() -> None:
    tops, true = certain([True] * 364)
    # All right of n has the bound n / (n + z²), which is ≥ 0.95 from n = 52 on.
    for people, expected in ((52, 0.5), (51, math.inf)):
        groups = np.asarray([f"p{i % people}" for i in range(364)])
        assert precision_thresholds(tops, true, CLASSES, 0.95, groups).thresholds[0] == expected
    tops, true = certain([True] * 52)
    for groups in (None, np.full(52, "")):  # without groups a photo is a photo
        assert precision_thresholds(tops, true, CLASSES, 0.95, groups).thresholds[0] == 0.5


def test_a_class_that_is_seen_to_be_bad_is_not_selected_on_the_word_of_others() -> None:
    predicted = [i % 10 == 9 for i in range(400)]
    tops, true = certain([not bad or i % 20 == 9 for i, bad in enumerate(predicted)], [int(p) for p in predicted])
    found = precision_thresholds(tops, true, CLASSES, 0.9)
    assert found.source == ("class", "none", "pooled")  # half of class 1 is wrong; of class 2 nothing is known
    assert math.isinf(found.thresholds[1])


def test_nothing_vouches_for_anything() -> None:
    empty = TopPrediction(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))
    silent = TopPrediction(np.full(4, -1), np.zeros(4), np.zeros(4))
    for tops in (empty, silent):
        n = len(tops.predicted)
        for groups in (None, np.full(n, "")):
            found = precision_thresholds(tops, np.zeros(n, dtype=np.int64), CLASSES, 0.9, groups)
            assert found.source == ("none",) * CLASSES
            assert np.isinf(found.thresholds).all()


def test_the_order_of_rows_changes_nothing() -> None:
    tops, true, groups = draw(200, 0)
    shuffled = np.random.default_rng(0).permutation(200)
    moved = TopPrediction(*(part[shuffled] for part in tops))
    assert same(
        precision_thresholds(tops, true, CLASSES, 0.85, groups),
        precision_thresholds(moved, true[shuffled], CLASSES, 0.85, groups[shuffled]),
    )


def same(one: PrecisionThresholds, other: PrecisionThresholds) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("alike", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("target", [0.8, 0.9])
def test_what_is_selected_of_new_people_is_as_precise_as_asked(alike: float, target: float) -> None:
    pool, truth, _ = draw(100_000, 999, alike=alike)
    right = pool.predicted == truth
    delivered, shares = [], []
    for seed in range(100):
        tops, true, groups = draw(400, seed, alike=alike)
        selected = above(pool, precision_thresholds(tops, true, CLASSES, target, groups).thresholds)
        delivered.append(right[selected].mean() if selected.any() else 1.0)
        shares.append(selected.mean())
    assert np.mean(np.asarray(delivered) >= target - 0.03) >= 0.9
    assert np.mean(shares) > 0.03, "never selecting would be precise, too"


def test_ignoring_people_promises_too_much() -> None:
    pool, truth, _ = draw(100_000, 999, alike=3.0)
    right = pool.predicted == truth
    kept: dict[bool, list[bool]] = {True: [], False: []}
    for seed in range(100):
        tops, true, groups = draw(400, seed, alike=3.0)
        for aware, named in ((True, groups), (False, None)):
            selected = above(pool, precision_thresholds(tops, true, CLASSES, 0.8, named).thresholds)
            kept[aware].append(bool(not selected.any() or right[selected].mean() >= 0.8))
    assert np.mean(kept[True]) > np.mean(kept[False]) + 0.03
