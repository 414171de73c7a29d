"""The one loss formula against torch's cross-entropy, slow loops and sklearn's class weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from ssl_mask.losses.classification import balanced_weights, classification_losses, effective_weights

CLASSES = 4


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return 3 * torch.randn(24, CLASSES, generator=rng), torch.randint(CLASSES, (24,), generator=rng)


def slow_loss(logits: Tensor, labels: Tensor, gamma: float, smoothing: list[float], weights: list[float]) -> float:
    total = 0.0
    for row, label in zip(logits.double().tolist(), labels.tolist(), strict=True):
        normaliser = sum(math.exp(z) for z in row)
        for k, z in enumerate(row):
            p = math.exp(z) / normaliser
            q = (1 - smoothing[label]) * (k == label) + smoothing[label] / len(row)
            total -= weights[label] * q * (1 - p) ** gamma * math.log(p)
    return total / len(labels)


def test_plain_is_cross_entropy_in_value_and_gradient(batch: tuple[Tensor, Tensor]) -> None:
    ours, theirs = batch[0].clone().requires_grad_(), batch[0].clone().requires_grad_()
    loss, reference = classification_losses(ours, batch[1]).mean(), F.cross_entropy(theirs, batch[1])
    torch.testing.assert_close(loss, reference)
    loss.backward()
    reference.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_smoothing_of_all_classes_is_torchs(batch: tuple[Tensor, Tensor]) -> None:
    ours, theirs = batch[0].clone().requires_grad_(), batch[0].clone().requires_grad_()
    loss = classification_losses(ours, batch[1], smoothing=torch.full((CLASSES,), 0.1)).mean()
    reference = F.cross_entropy(theirs, batch[1], label_smoothing=0.1)
    torch.testing.assert_close(loss, reference)
    loss.backward()
    reference.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("smoothing", [[0.0] * 4, [0.0, 0.2, 0.0, 0.0]], ids=["hard", "one class smoothed"])
@pytest.mark.parametrize("weights", [[1.0] * 4, [0.5, 1.0, 3.0, 0.0]], ids=["unweighted", "weighted"])
def test_equals_a_slow_loop(
    batch: tuple[Tensor, Tensor], gamma: float, smoothing: list[float], weights: list[float]
) -> None:
    given = {"smoothing": torch.tensor(smoothing), "weights": torch.tensor(weights)}
    loss = classification_losses(*batch, gamma=gamma, **given).mean()
    assert loss.item() == pytest.approx(slow_loss(*batch, gamma, smoothing, weights), rel=1e-5)


def test_mean_of_two_halves_is_the_whole(batch: tuple[Tensor, Tensor]) -> None:
    weights = torch.tensor([0.5, 1.0, 3.0, 0.1])
    halves = [
        classification_losses(z, y, weights=weights).mean() for z, y in zip(*(t.chunk(2) for t in batch), strict=True)
    ]
    torch.testing.assert_close(sum(halves) / 2, classification_losses(*batch, weights=weights).mean())


def test_focal_gradient_is_finite_on_a_certain_answer() -> None:
    logits = torch.tensor([[200.0, 0.0], [-200.0, 0.0]], requires_grad=True)
    classification_losses(logits, torch.tensor([0, 0]), gamma=0.5).mean().backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_balanced_weights_are_sklearns() -> None:
    labels = np.repeat([0, 1, 2], [5, 30, 65])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(balanced_weights(torch.bincount(torch.from_numpy(labels))), expected, rtol=1e-6)


def test_effective_weights_equal_a_loop() -> None:
    counts, beta = [5, 30, 0, 2000], 0.999
    raw = [(1 - beta) / (1 - beta**n) if n else 0.0 for n in counts]
    factor = sum(counts) / sum(r * n for r, n in zip(raw, counts, strict=True))
    np.testing.assert_allclose(effective_weights(torch.tensor(counts)), [factor * r for r in raw], rtol=1e-5)


@pytest.mark.parametrize("make", [balanced_weights, effective_weights])
@pytest.mark.parametrize("counts", [[5, 30, 65], [7, 0, 3], [1, 1, 1]])
def test_mean_weight_over_images_is_one_and_empty_classes_get_none(make: object, counts: list[int]) -> None:
    weights = make(torch.tensor(counts))  # type: ignore[operator]
    assert (weights * torch.tensor(counts)).sum().item() / sum(counts) == pytest.approx(1, rel=1e-5)
    assert [w == 0 for w in weights.tolist()] == [n == 0 for n in counts]


def test_soft_targets_are_torchs_in_value_and_gradient(batch: tuple[Tensor, Tensor]) -> None:
    soft = torch.rand(24, CLASSES, generator=torch.Generator().manual_seed(1)).softmax(dim=1)
    ours, theirs = batch[0].clone().requires_grad_(), batch[0].clone().requires_grad_()
    loss = classification_losses(ours, batch[1], targets=soft, smoothing=torch.full((CLASSES,), 0.1)).mean()
    reference = F.cross_entropy(theirs, soft, label_smoothing=0.1)
    torch.testing.assert_close(loss, reference)
    loss.backward()
    reference.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_one_hot_targets_are_the_labels_and_labels_name_the_weight(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    weights = torch.tensor([0.5, 1.0, 3.0, 0.0])
    hard = classification_losses(logits, labels, gamma=2.0, weights=weights)
    torch.testing.assert_close(
        classification_losses(logits, labels, gamma=2.0, weights=weights, targets=F.one_hot(labels, CLASSES).float()),
        hard,
    )
    even = torch.full((24, CLASSES), 1 / CLASSES)
    assert (classification_losses(logits, labels, weights=weights, targets=even)[labels == 3] == 0).all()
