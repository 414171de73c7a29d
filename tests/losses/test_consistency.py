"""KL divergence against torch's, and the annealing threshold by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_mask.losses.consistency import annealing_threshold, kl_divergence


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    """Targets and logits, (7, 4)."""
    rng = torch.Generator().manual_seed(0)
    return torch.softmax(2 * torch.randn(7, 4, generator=rng), dim=1), 3 * torch.randn(7, 4, generator=rng)


def with_zeros(target: Tensor) -> Tensor:
    """The same with one impossible class an image."""
    target = target.clone()
    target[torch.arange(len(target)), torch.arange(len(target)) % 4] = 0.0
    return target / target.sum(dim=1, keepdim=True)


@pytest.mark.parametrize("zeros", [False, True])
def test_equals_torchs_in_value_and_gradient(pair: tuple[Tensor, Tensor], zeros: bool) -> None:
    target = with_zeros(pair[0]) if zeros else pair[0]
    ours, theirs = pair[1].clone().requires_grad_(), pair[1].clone().requires_grad_()
    loss = kl_divergence(target, ours)
    reference = F.kl_div(F.log_softmax(theirs, dim=1), target, reduction="none").sum(dim=1)
    torch.testing.assert_close(loss, reference)
    loss.sum().backward()
    reference.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("zeros", [False, True])
def test_equals_a_slow_loop(pair: tuple[Tensor, Tensor], zeros: bool) -> None:
    target = with_zeros(pair[0]) if zeros else pair[0]
    expected = []
    for t, z in zip(target.double().tolist(), pair[1].double().tolist(), strict=True):
        normaliser = sum(math.exp(v) for v in z)
        expected.append(sum(p * math.log(p / (math.exp(v) / normaliser)) for p, v in zip(t, z, strict=True) if p > 0))
    assert kl_divergence(target, pair[1]).tolist() == pytest.approx(expected, rel=1e-5)


def test_one_hot_is_cross_entropy(pair: tuple[Tensor, Tensor]) -> None:
    labels = torch.tensor([0, 3, 1, 2, 2, 0, 1])
    loss = kl_divergence(F.one_hot(labels, 4).float(), pair[1])
    torch.testing.assert_close(loss, F.cross_entropy(pair[1], labels, reduction="none"))


def test_of_equals_is_zero_and_else_positive(pair: tuple[Tensor, Tensor]) -> None:
    target, logits = pair
    torch.testing.assert_close(kl_divergence(target, target.log()), torch.zeros(7))
    assert (kl_divergence(target, logits) > 0).all()


def test_half_precision_logits_are_taken_up_to_float32(pair: tuple[Tensor, Tensor]) -> None:
    half = pair[1].bfloat16()
    loss = kl_divergence(pair[0], half)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, kl_divergence(pair[0], half.float()))


def test_certain_answers_stay_finite() -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss = kl_divergence(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), logits)
    assert loss.tolist() == pytest.approx([0.0, 400.0])
    loss.sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_no_images_have_no_loss() -> None:
    assert kl_divergence(torch.zeros(0, 3), torch.zeros(0, 3)).shape == (0,)


@pytest.mark.parametrize(
    ("kind", "progress", "threshold"),
    [
        ("linear", 0.0, 1 / 18),
        ("linear", 0.5, 19 / 36),
        ("linear", 1.0, 1.0),
        ("log", 0.0, 1 / 18),
        ("log", 0.2, 0.6321205588 * 17 / 18 + 1 / 18),  # 1 − 1/e
        ("log", 1.0, 0.9932620530 * 17 / 18 + 1 / 18),  # 1 − e⁻⁵
        ("exp", 0.0, 0.0067379470 * 17 / 18 + 1 / 18),  # e⁻⁵
        ("exp", 0.8, 0.3678794412 * 17 / 18 + 1 / 18),  # 1/e
        ("exp", 1.0, 1.0),
    ],
)
def test_annealing_threshold_by_hand(kind: str, progress: float, threshold: float) -> None:
    assert annealing_threshold(kind, progress, 18) == pytest.approx(threshold, rel=1e-8)


@pytest.mark.parametrize("kind", ["linear", "log", "exp"])
def test_annealing_bar_only_rises(kind: str) -> None:
    thresholds = [annealing_threshold(kind, t / 20, 3) for t in range(21)]
    assert thresholds == sorted(thresholds) and thresholds[0] >= 1 / 3 and thresholds[-1] <= 1.0
