"""Selection rules against plain Python, and what must hold for any data: monotone, and blind to the order of rows."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_mask.selection.rules import (
    TopPrediction,
    above,
    balanced_limit,
    capped,
    curriculum_share,
    percentile,
    quotas,
    running_count,
    top_k,
    top_prediction,
)

CLASSES = 4
SEEDS = range(12)


def sample(seed: int, n: int = 60) -> tuple[TopPrediction, NDArray[np.str_]]:
    """Beliefs with many ties and some rows without a prediction, and their keys."""
    rng = np.random.default_rng(seed)
    predicted = rng.choice([-1, 0, 1, 1, 2], n)  # nothing is of class 3
    confidence = np.where(predicted < 0, 0.0, rng.integers(3, 11, n) / 10)
    keys = np.asarray([hashlib.sha256(f"{seed}/{i}".encode()).hexdigest() for i in range(n)])
    return TopPrediction(predicted, confidence, confidence / 2), keys


def slow_top(tops: TopPrediction, k: Callable[[int], int], keys: NDArray[np.str_], allowed: set[int]) -> set[int]:
    chosen: set[int] = set()
    for c in range(CLASSES):
        own = [i for i in sorted(allowed) if tops.predicted[i] == c]
        own.sort(key=lambda i: (-tops.confidence[i], keys[i]))
        chosen |= set(own[: k(len(own))])
    return chosen


def rows(chosen: NDArray[np.bool_]) -> set[int]:
    return set(np.flatnonzero(chosen).tolist())


def test_beliefs_by_hand() -> None:
    probs = np.asarray([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [np.nan, 0.9, 0.1], [0.0, 0.0, 1.0]])
    predicted, confidence, margin = top_prediction(probs)
    assert predicted.tolist() == [1, 0, -1, 2]
    assert confidence.tolist() == [0.5, 0.4, 0, 1]
    assert margin == pytest.approx([0.2, 0, 0, 1])
    assert all(len(part) == 0 for part in top_prediction(np.empty((0, 3))))


def test_float32_confidence_meets_one_threshold_and_one_a_class_alike() -> None:
    tops = top_prediction(np.asarray([[0.9, 0.1], [0.1, 0.9]], dtype=np.float32))  # 0.9 as float32 is 0.89999998
    assert above(tops, 0.9).tolist() == above(tops, np.asarray([0.9, 0.9])).tolist() == [False, False]


def test_above_by_hand() -> None:
    tops = TopPrediction(np.asarray([0, 1, 1, -1]), np.asarray([0.5, 0.5, 0.7, 0.0]), np.zeros(4))
    assert above(tops, 0.5).tolist() == [True, True, True, False]
    assert above(tops, np.asarray([0.5, 0.6])).tolist() == [True, False, True, False]
    assert above(tops, np.asarray([np.inf, 0.0])).tolist() == [False, True, True, False]
    assert above(tops, 0.0).tolist() == [True, True, True, False]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [0, 1, 5, 1000])
def test_top_k_is_a_sort_of_each_class(seed: int, k: int) -> None:
    tops, keys = sample(seed)
    assert rows(top_k(tops, k, keys)) == slow_top(tops, lambda _: k, keys, set(range(len(keys))))


def test_top_k_of_each_class_its_own_number() -> None:
    tops, keys = sample(0)
    limits = np.asarray([1, 3, 0, 2])
    chosen = top_k(tops, limits, keys)
    assert np.bincount(tops.predicted[chosen], minlength=CLASSES).tolist() == [1, 3, 0, 0]
    assert (chosen <= top_k(tops, 3, keys)).all()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 1.0])
def test_percentile_is_that_share_of_each_class_rounded_up(seed: int, share: float) -> None:
    tops, keys = sample(seed)
    expected = slow_top(tops, lambda n: math.ceil(share * n), keys, set(range(len(keys))))
    assert rows(percentile(tops, share, keys)) == expected


def test_rounding_up_is_not_fooled_by_floating_point() -> None:
    assert 3 * 0.2 * 5 > 3
    assert quotas(np.asarray([0, 1, 5, 6, 10]), 3 * 0.2).tolist() == [0, 1, 3, 4, 6]
    assert quotas(np.asarray([100_000_001]), 0.1).tolist() == [10_000_001]


def test_the_curriculum_ends_with_everything() -> None:
    assert [curriculum_share(r) for r in range(7)] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1])
    assert curriculum_share(2, step=0.3) == pytest.approx(0.6)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cap_keeps_the_most_confident_of_what_is_selected(seed: int) -> None:
    tops, keys = sample(seed)
    selected = np.random.default_rng(seed).random(len(keys)) < 0.5
    chosen = capped(selected, tops, 4, keys)
    assert rows(chosen) == slow_top(tops, lambda _: 4, keys, rows(selected))
    assert (chosen <= selected).all()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ratio", [0.01, 0.5, 1.0, 2.0])
def test_the_balanced_limit_is_a_ratio_of_the_median(seed: int, ratio: float) -> None:
    tops, keys = sample(seed)
    selected = np.random.default_rng(seed).random(len(keys)) < 0.5
    counts = [sum(tops.predicted[i] == c for i in rows(selected)) for c in range(CLASSES)]
    expected = max(1, math.floor(ratio * statistics.median(n for n in counts if n)))
    assert balanced_limit(selected, tops, CLASSES, ratio) == expected


def test_nothing_to_select_from_selects_nothing() -> None:
    nobody, keys = top_prediction(np.full((3, CLASSES), np.nan)), np.asarray(["a", "b", "c"])
    nothing, no_keys = top_prediction(np.empty((0, CLASSES))), np.empty(0, dtype=str)
    for tops, own in ((nobody, keys), (nothing, no_keys)):
        everything = np.ones(len(own), dtype=np.bool_)
        assert not percentile(tops, 1.0, own).any()
        assert not top_k(tops, 5, own).any()
        assert not capped(everything, tops, 5, own).any()
        assert balanced_limit(everything, tops, CLASSES, 2.0) == 1


RULES: dict[str, tuple[Callable[..., NDArray[np.bool_]], list[float]]] = {
    # Each with settings from strict to loose.
    "above": (lambda b, setting, _: above(b, setting), [1.1, 1.0, 0.8, 0.5, 0.0]),
    "top_k": (top_k, [0, 1, 2, 7, 50]),
    "percentile": (percentile, [0.0, 0.1, 0.5, 0.9, 1.0]),
    "capped": (lambda b, setting, keys: capped(b.confidence > 0.5, b, setting, keys), [0, 1, 2, 7, 50]),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_looser_rule_keeps_what_a_stricter_one_selects(name: str, seed: int) -> None:
    rule, settings = RULES[name]
    tops, keys = sample(seed)
    chosen = [rule(tops, setting, keys) for setting in settings]
    assert all((strict <= loose).all() for strict, loose in pairwise(chosen))
    assert chosen[0].sum() < chosen[-1].sum()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_rows_changes_nothing(name: str, seed: int) -> None:
    rule, settings = RULES[name]
    tops, keys = sample(seed)
    shuffled = np.random.default_rng(seed).permutation(len(keys))
    moved = TopPrediction(*(part[shuffled] for part in tops))
    for setting in settings:
        chosen = set(keys[rule(tops, setting, keys)])
        assert set(keys[shuffled][rule(moved, setting, keys[shuffled])]) == chosen


def test_keys_may_be_bytes() -> None:
    tops, keys = sample(0)
    assert (top_k(tops, 3, keys.astype(np.bytes_)) == top_k(tops, 3, keys)).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_running_count_is_a_loop(seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 6, 40)
    assert running_count(codes).tolist() == [int((codes[:i] == code).sum()) for i, code in enumerate(codes)]
