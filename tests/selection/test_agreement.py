"""Agreement of teachers, against a plain loop."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_mask.selection.agreement import agreed_only, votes_for
from ssl_mask.selection.rules import above, top_prediction


@settings(max_examples=60, deadline=None)
@given(
    teachers=st.integers(1, 7), rows=st.integers(0, 12), classes=st.integers(2, 4), seed=st.integers(0, 999),
    percent=st.sampled_from([0, 1, 20, 34, 50, 60, 67, 80, 100]),
)  # fmt: skip
def test_a_row_stays_where_enough_teachers_predict_the_class_of_the_mean(
    teachers: int, rows: int, classes: int, seed: int, percent: int
) -> None:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(classes), rows).astype(np.float32)
    votes = rng.integers(-1, classes, (teachers, rows))
    kept = agreed_only(probs, votes, percent / 100)
    for i in range(rows):
        same = sum(int(votes[t, i]) == int(probs[i].argmax()) for t in range(teachers))
        if Fraction(same, teachers) >= Fraction(percent, 100):
            assert (kept[i] == probs[i]).all()
        else:
            assert np.isnan(kept[i]).all()


def test_a_row_without_a_prediction_agrees_with_nobody() -> None:
    votes = np.array([[-1, 0], [-1, 0]])
    assert votes_for(votes, np.array([-1, 0])).tolist() == [0, 2]


def test_what_is_disputed_is_never_selected_however_sure_the_mean_is() -> None:
    probs = np.array([[0.99, 0.01], [0.6, 0.4]], np.float32)
    tops = top_prediction(agreed_only(probs, np.array([[1, 0], [0, 0], [1, 0]]), 0.5))
    assert tops.predicted.tolist() == [-1, 0]
    assert above(tops, 0.0).tolist() == [False, True]


def test_off_means_the_same_array() -> None:
    probs = np.eye(2, dtype=np.float32)
    assert agreed_only(probs, np.array([[1, 0]]), 0.0) is probs


@pytest.mark.parametrize(("teachers", "least", "needed"), [(5, 0.6, 3), (3, 0.34, 2), (3, 1 / 3, 1), (10, 0.7, 7)])
def test_a_share_that_is_just_reached_is_enough(teachers: int, least: float, needed: int) -> None:
    probs = np.array([[1, 0]], np.float32)
    for same in range(teachers + 1):
        votes = np.array([0] * same + [1] * (teachers - same))[:, None]
        assert (not np.isnan(agreed_only(probs, votes, least)).any()) == (same >= needed)
