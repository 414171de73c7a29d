"""Fitted temperatures against a fine grid, and ECE against a slow loop and torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from torchmetrics.functional.classification import multiclass_calibration_error

from ssl_mask.evaluation.calibration import (
    HIGHEST,
    LOWEST,
    expected_calibration_error,
    fit_temperature,
    reliability_curve,
)


def sample(n: int, planted: float, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits whose labels are drawn from softmax(z / planted)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 4)) * 2 * planted
    probs = softmax(logits / planted, axis=1)
    return logits, np.array([rng.choice(4, p=p) for p in probs])


def nll(logits: NDArray[np.float64], labels: NDArray[np.int64], temperature: float) -> float:
    return float(-log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean())


@pytest.mark.parametrize("planted", [0.3, 1.0, 5.0])
def test_no_grid_point_beats_the_fit(planted: float) -> None:
    logits, labels = sample(200, planted)
    fitted = fit_temperature(logits, labels)
    grid = np.geomspace(LOWEST, HIGHEST, 3000)
    losses = [nll(logits, labels, t) for t in grid]
    assert fitted == pytest.approx(grid[int(np.argmin(losses))], rel=0.005)
    assert nll(logits, labels, fitted) <= min(losses) + 1e-8


@pytest.mark.parametrize("planted", [0.5, 4.0])
def test_a_planted_temperature_is_recovered(planted: float) -> None:
    assert fit_temperature(*sample(8000, planted)) == pytest.approx(planted, rel=0.06)


def test_always_right_goes_to_the_lowest_and_always_wrong_to_the_highest() -> None:
    logits = np.tile([1.0, 0.0], (50, 1))
    assert fit_temperature(logits, np.zeros(50, dtype=np.int64)) == pytest.approx(LOWEST, rel=0.01)
    assert fit_temperature(logits, np.ones(50, dtype=np.int64)) == pytest.approx(HIGHEST, rel=0.01)


def test_nothing_to_fit_on_leaves_logits_alone() -> None:
    empty = np.empty(0, dtype=np.int64)
    assert fit_temperature(np.empty((0, 3)), empty) == 1.0
    assert math.isnan(expected_calibration_error(np.empty((0, 3)), empty))


def slow_ece(probs: NDArray[np.float64], labels: NDArray[np.int64], bins: int) -> float:
    members: dict[int, list[tuple[float, bool]]] = {}
    for row, label in zip(probs, labels, strict=True):
        bin_ = min(int(max(row) * bins), bins - 1)
        members.setdefault(bin_, []).append((max(row), int(np.argmax(row)) == label))
    gaps = (abs(sum(c for c, _ in m) - sum(r for _, r in m)) for m in members.values())
    return float(sum(gaps)) / len(labels)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_equals_a_loop_and_torchmetrics(bins: int) -> None:
    logits, labels = sample(500, planted=3.0)
    probs = softmax(logits, axis=1)
    ours = expected_calibration_error(probs, labels, bins=bins)
    assert ours == pytest.approx(slow_ece(probs, labels, bins))
    theirs = multiclass_calibration_error(torch.from_numpy(probs), torch.from_numpy(labels), 4, n_bins=bins, norm="l1")
    assert ours == pytest.approx(theirs.item(), abs=1e-5)


def test_ece_by_hand() -> None:
    probs = np.array([[1.0, 0.0], [0.8, 0.2], [0.8, 0.2]])
    # Bin of 1.0: one image, right. Bin of 0.8: two images, one right.
    assert expected_calibration_error(probs, np.array([0, 0, 1])) == pytest.approx(2 / 3 * (0.8 - 0.5))


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_the_reliability_curve_is_a_loop_and_holds_the_ece(bins: int) -> None:
    logits, labels = sample(300, planted=2.0)
    probs = softmax(logits, axis=1)
    images, confidence, accuracy = reliability_curve(probs, labels, bins)
    assert len(images) == len(confidence) == len(accuracy) == bins
    error = 0.0
    for b in range(bins):
        members = [i for i, row in enumerate(probs) if min(int(max(row) * bins), bins - 1) == b]
        assert images[b] == len(members)
        if not members:
            assert math.isnan(confidence[b]) and math.isnan(accuracy[b])
            continue
        assert confidence[b] == pytest.approx(sum(max(probs[i]) for i in members) / len(members))
        assert accuracy[b] == pytest.approx(sum(np.argmax(probs[i]) == labels[i] for i in members) / len(members))
        error += len(members) / len(labels) * abs(accuracy[b] - confidence[b])
    assert expected_calibration_error(probs, labels, bins=bins) == pytest.approx(error)


def test_a_reliability_curve_of_nothing_is_empty_bins() -> None:
    images, confidence, accuracy = reliability_curve(np.empty((0, 3)), np.empty(0, dtype=np.int64), 5)
    assert images.tolist() == [0] * 5
    assert np.isnan(confidence).all() and np.isnan(accuracy).all()
