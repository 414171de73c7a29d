"""Collapse of pseudo-labels onto few classes."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_mask.selection.collapse import collapsed, effective_classes


def test_equal_shares_are_worth_as_many_classes_as_there_are() -> None:
    assert effective_classes(np.full(5, 0.1)) == pytest.approx(5)
    assert effective_classes(np.asarray([0.0, 2.0, 2.0, 0.0])) == pytest.approx(2)
    assert effective_classes(np.asarray([0.0, 0.3, 0.0])) == pytest.approx(1)


def test_a_hand_calculation() -> None:
    # −(3/4)·ln(3/4) − (1/4)·ln(1/4) = 0.5623; e^0.5623 = 1.7548
    assert effective_classes(np.asarray([30, 10])) == pytest.approx(1.7548, abs=1e-4)


def test_collapse_is_relative_to_what_the_labels_are_worth() -> None:
    even, skewed = np.full(6, 7), np.asarray([40, 1, 1, 0, 0, 0])
    assert collapsed(np.asarray([0.9, 0.05, 0.05, 0, 0, 0]), even)
    assert not collapsed(np.asarray([0.9, 0.05, 0.05, 0, 0, 0]), skewed)
    assert not collapsed(np.asarray([0.2, 0.2, 0.2, 0.1, 0.1, 0.2]), even)


def test_nothing_selected_is_no_collapse() -> None:
    assert not collapsed(np.zeros(3), np.full(3, 4))
