"""The ArcFace margin against a per-row loop, another library, and the ends of the cosine's range."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import ArcFaceLoss
from torch import Tensor

from ssl_mask.losses.margin import arcface_logits

SCALE = 20.0


def cosines(rows: int = 64, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    cosine = (torch.rand(rows, classes, generator=rng) * 3.1 + 0.03).cos()
    return cosine, torch.randint(classes, (rows,), generator=rng)


def slow_logits(cosine: Tensor, labels: Tensor, margin: float) -> Tensor:
    rows = []
    for row, label in zip(cosine.tolist(), labels.tolist(), strict=True):
        theta = math.acos(row[label])
        past_pi = theta + margin > math.pi
        row[label] = row[label] - margin * math.sin(margin) if past_pi else math.cos(theta + margin)
        rows.append([SCALE * c for c in row])
    return torch.tensor(rows)


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.2])
def test_equals_a_loop_over_angles(margin: float) -> None:
    cosine, labels = cosines()
    cosine[0] = -0.999  # past π − m for every margin here
    logits = arcface_logits(cosine, labels, scale=SCALE, margin=margin)
    torch.testing.assert_close(logits, slow_logits(cosine, labels, margin), atol=2e-4, rtol=1e-5)


def test_loss_equals_pytorch_metric_learning() -> None:
    rng = torch.Generator().manual_seed(1)
    embedding, labels = torch.randn(32, 16, generator=rng), torch.randint(4, (32,), generator=rng)
    theirs = ArcFaceLoss(num_classes=4, embedding_size=16, margin=math.degrees(0.3), scale=SCALE)
    weight = F.normalize(theirs.W.detach().t(), dim=1)
    cosine = F.linear(F.normalize(embedding, dim=1), weight)
    ours = F.cross_entropy(arcface_logits(cosine, labels, scale=SCALE, margin=0.3), labels)
    torch.testing.assert_close(ours, theirs(embedding, labels).detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("precise", [True, False], ids=["fp32", "bf16 autocast"])
@pytest.mark.parametrize("end", [1.0, -1.0])
def test_values_and_gradients_are_finite_at_the_ends(end: float, precise: bool) -> None:
    direction = torch.tensor([[1.0, 0.0, 0.0]])
    embedding = (end * direction).requires_grad_()
    weight = torch.eye(3).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
        cosine = F.linear(embedding, weight)
        logits = arcface_logits(cosine, torch.tensor([0]), scale=SCALE, margin=0.5)
    F.cross_entropy(logits, torch.tensor([0])).backward()
    assert logits.dtype == torch.float32 and logits.isfinite().all()
    assert embedding.grad is not None and embedding.grad.isfinite().all()
    assert weight.grad is not None and weight.grad.isfinite().all()


def test_no_margin_is_the_plain_scaled_cosine() -> None:
    cosine, labels = cosines()
    cosine[0], cosine[1] = 1.0, -1.0
    assert torch.equal(arcface_logits(cosine, labels, scale=SCALE, margin=0.0), SCALE * cosine)


@pytest.mark.parametrize("margin", [0.2, 0.5, 1.0, 1.4])
def test_true_logit_falls_as_the_angle_grows(margin: float) -> None:
    cosine = torch.linspace(0, math.pi, 2001).cos()[:, None].expand(-1, 2)
    true = arcface_logits(cosine, torch.zeros(2001, dtype=torch.long), scale=SCALE, margin=margin)[:, 0]
    assert (true.diff() <= 1e-5).all()


def test_other_classes_keep_their_cosine() -> None:
    cosine, labels = cosines()
    others = F.one_hot(labels, 5) == 0
    assert torch.equal(arcface_logits(cosine, labels, scale=SCALE, margin=0.5)[others], SCALE * cosine[others])
