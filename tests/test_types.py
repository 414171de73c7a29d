"""Joined batches: the mean over all images is the sum of the two sides' own means, also cut into parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ssl_mask.algorithms.supervised import Supervised
from ssl_mask.types import Batch, Labeled

CLASSES = {"cover": 3, "kind": 2}


class Lookup(nn.Module):
    """Logits that depend on an image's first pixel only: no statistics of a batch."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.tables = nn.ParameterDict({k: torch.randn(256, n, generator=rng) for k, n in CLASSES.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {k: t[images[:, 0, 0, 0].long()] for k, t in self.tables.items()}


def sample(n: int, seed: int, *, weights: bool = False, targets: bool = False) -> Labeled:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.stack([torch.randint(k, (n,), generator=rng) for k in CLASSES.values()], dim=1)
    soft = {k: torch.rand(n, c, generator=rng).softmax(dim=1) for k, c in CLASSES.items()}
    factors = torch.rand(n, len(CLASSES), generator=rng) * (torch.rand(n, len(CLASSES), generator=rng) > 0.3)
    images = torch.randint(256, (n, 2, 2, 3), generator=rng, dtype=torch.uint8)
    return Labeled(images, labels, factors if weights else None, soft if targets else None)


def slow_mean(labeled: Labeled, head: int) -> float:
    """Mean over images of weight times cross-entropy towards the label, or towards the target."""
    name = list(CLASSES)[head]
    logits, total = Lookup()(labeled.images)[name].detach(), 0.0
    for i, row in enumerate(logits.double()):
        log_p = row - row.exp().sum().log()
        target = [float(k == labeled.labels[i, head]) for k in range(len(row))]
        if labeled.targets is not None:
            target = labeled.targets[name][i].tolist()
        weight = 1.0 if labeled.weights is None else float(labeled.weights[i, head])
        total -= weight * sum(q * float(p) for q, p in zip(target, log_p, strict=True))
    return total / len(logits)


@pytest.mark.parametrize("targets", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("pseudo", [4, 8, 12])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_the_mean_of_a_joined_batch_is_the_sum_of_both_sides_means(targets: bool, pseudo: int, parts: int) -> None:
    labeled, other = sample(8, 1), sample(pseudo, 2, weights=True, targets=targets)
    algorithm, model = Supervised(scale=None), Lookup()
    pieces = Batch(labeled.joined(other)).parts(parts)
    losses = [algorithm.losses(model, piece, 0.0).terms for piece in pieces]
    for head, name in enumerate(CLASSES):
        mean = torch.stack([terms[name] for terms in losses]).mean().item()
        assert mean == pytest.approx(slow_mean(labeled, head) + slow_mean(other, head), rel=1e-5)


def test_joined_by_hand() -> None:
    """Two labeled and one pseudo-labeled image: factors 3/2 and 3, so that a mean over three gives 1/2 and 1."""
    first = Labeled(torch.zeros(2, 1, 1, 3, dtype=torch.uint8), torch.tensor([[0], [2]]))
    second = Labeled(
        torch.ones(1, 1, 1, 3, dtype=torch.uint8), torch.tensor([[1]]), torch.tensor([[0.5]]),
        {"cover": torch.tensor([[0.2, 0.7, 0.1]])},
    )  # fmt: skip
    images, labels, weights, targets = first.joined(second)
    assert images[:, 0, 0, 0].tolist() == [0, 0, 1]
    assert labels.tolist() == [[0], [2], [1]]
    assert weights is not None
    assert weights.tolist() == [[1.5], [1.5], [1.5]]
    assert targets is not None
    torch.testing.assert_close(targets["cover"], torch.tensor([[1.0, 0, 0], [0, 0, 1], [0.2, 0.7, 0.1]]))
    assert first.joined(second._replace(targets=None)).targets is None


def test_parts_are_the_batch_in_order() -> None:
    whole = sample(8, 1).joined(sample(4, 2, weights=True, targets=True))
    parts = whole.parts(3)
    assert [len(p.images) for p in parts] == [4, 4, 4]
    for column in ("images", "labels", "weights"):
        assert torch.equal(torch.cat([getattr(p, column) for p in parts]), getattr(whole, column))
    assert whole.targets is not None
    assert all(p.targets is not None for p in parts)
    for name, soft in whole.targets.items():
        assert torch.equal(torch.cat([(p.targets or {})[name] for p in parts]), soft)
    assert all(p.weights is None and p.targets is None for p in sample(8, 1).parts(2))
