"""p-values of new images and sets of classes, against slow loops, hand calculations and many made-up draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ssl_mask.errors import DataError
from ssl_mask.evaluation.conformal import Judged, held_out_p_values, least_groups, p_values, sets, share


def slow_p(judged: Judged, new: list[float]) -> float:
    """One image, as the formula says it."""
    total = 0.0
    for group in set(judged.group.tolist()):
        rows = [i for i in range(len(judged.score)) if judged.group[i] == group]
        total += sum(judged.score[i] >= new[judged.model[i]] for i in rows) / len(rows)
    return (1 + total) / (len(set(judged.group.tolist())) + 1)


@given(st.integers(0, 10_000), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_p_is_that_of_a_slow_loop(seed: int, models: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(models, 30))
    group, model = rng.integers(0, 6, n).astype(str), rng.integers(0, models, n)
    judged = Judged(rng.integers(0, 5, n) / 4, group, model)  # with ties
    new = rng.integers(-1, 6, (models, 7)) / 4
    expected = [slow_p(judged, column.tolist()) for column in new.T]
    np.testing.assert_allclose(p_values(judged, new), expected, atol=1e-9)


def test_by_hand() -> None:
    """Two images of one person count half each; the new image is as strange as the second of them."""
    judged = Judged.joined([np.asarray([1.0, 3.0, 2.0])], [np.asarray(["a", "a", "b"])])
    np.testing.assert_allclose(p_values(judged, np.asarray([[3.0, 2.0, 0.0, 4.0]])), [1.5 / 3, 2.5 / 3, 1.0, 1 / 3])
    assert math.isnan(p_values(judged, np.asarray([[np.nan]]))[0])


@pytest.mark.parametrize("rate", [0.5, 0.2, 0.1, 0.05, 0.01])
def test_the_fewest_groups_that_can_mark_an_image(rate: float) -> None:
    def p_of_the_strangest(groups: int) -> float:
        names = np.arange(groups).astype(str)
        return float(p_values(Judged.joined([np.zeros(groups)], [names]), np.ones((1, 1)))[0])

    assert p_of_the_strangest(least_groups(rate)) <= rate < p_of_the_strangest(least_groups(rate) - 1)


def persons(rng: np.random.Generator, count: int) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Scores that resemble each other within a person, who has one to nine images."""
    sizes = rng.integers(1, 10, count)
    group = np.repeat(np.arange(count), sizes)
    return rng.normal(size=count)[group] + 0.3 * rng.normal(size=len(group)), group.astype(str)


def test_of_new_persons_no_more_are_marked_than_asked_for() -> None:
    """Whoever counts each image as a witness of its own marks too many of few persons with many images."""
    rng, rate, draws = np.random.default_rng(0), 0.1, 700
    ours, naive = 0, 0
    for _ in range(draws):
        score, group = persons(rng, 20)
        first = np.flatnonzero(group == group[-1])[0]  # the last person is new
        new = score[int(rng.integers(first, len(score)))]
        judged = Judged.joined([score[:first]], [group[:first]])
        ours += bool(p_values(judged, np.asarray([[new]]))[0] <= rate)
        alone = Judged.joined([score[:first]], [np.arange(first).astype(str)])
        naive += bool(p_values(alone, np.asarray([[new]]))[0] <= rate)
    assert ours / draws <= rate + 2 * math.sqrt(rate * (1 - rate) / draws)
    assert ours / draws >= 0.5 * rate and naive > ours


def test_rows_are_held_out_by_fold_or_by_whole_groups() -> None:
    rng = np.random.default_rng(1)
    score, group = persons(rng, 12)
    fold = group.astype(int) % 3
    found = held_out_p_values(Judged(score, group, fold))
    for i in range(0, len(score), 7):
        others = fold != fold[i]
        alone = Judged(score[others], group[others], np.zeros(others.sum(), int))
        assert found[i] == pytest.approx(slow_p(alone, [score[i]]))
    # In two repeats a group is in two folds, so whole groups are held out: nothing is as strange as the strangest.
    score[group == "3"] = 9 + np.arange((group == "3").sum()) / 100
    twice = Judged(np.tile(score, 2), np.tile(group, 2), np.concatenate([fold, 3 + (fold + 1) % 3]))
    own = held_out_p_values(twice)[twice.group == "3"]
    assert len(set(own.tolist())) == 1 and 1 / 12 <= own[0] <= 1 / 9
    with pytest.raises(DataError, match="of one group"):
        held_out_p_values(Judged(score[:1], group[:1], fold[:1]))


def test_a_set_holds_what_is_not_rare_and_always_the_answer() -> None:
    p = np.asarray([[0.5, 0.1, 0.100001], [0.05, 0.02, 0.1], [1.0, 0.9, 0.8]])
    held = sets(p, np.asarray([0, 1, 2]), 0.9)
    assert held.tolist() == [[True, False, True], [False, True, False], [True, True, True]]


def test_too_few_groups_give_the_set_of_all_classes() -> None:
    """Eight groups cannot say what is rarer than a tenth; nine can."""
    for groups, size in ((8, 3), (9, 1)):
        names = np.arange(groups).astype(str)
        judged = Judged.joined([np.zeros(groups)], [names])
        p = p_values(judged, np.asarray([[[0.0, 0.9, 1.0]]]))
        assert sets(p, np.asarray([0]), 0.9).sum() == size


def test_shares_have_intervals_by_group() -> None:
    group = np.repeat(np.arange(20), 5).astype(str)
    together = share(group.astype(int) < 4, group)
    alone = share(group.astype(int) < 4, np.arange(100).astype(str))
    assert together.value == alone.value == 0.2
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
