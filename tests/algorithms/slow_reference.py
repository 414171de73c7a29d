"""Tiny networks and batches, and what the papers say as plain loops over images, heads and classes in float64."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from ssl_mask.algorithms.consistency import Consistency
from ssl_mask.algorithms.rule import Rule
from ssl_mask.algorithms.supervised import Supervised
from ssl_mask.types import Batch, Labeled, Losses, Unlabeled

FLAT = {"class": 5}
FACTORS = {"first": 3, "second": 2, "third": 3}
SIDE = 2
POOL = 24
"""Unlabeled images of which batches are made; some are in a batch twice."""
Row = list[Tensor]
"""One image's logits or probabilities: scalars, so that nothing can be done to many at once."""


class Net(nn.Module):
    """uint8 images to logits per head, in the type of its weights."""

    def __init__(self, heads: Mapping[str, int], *, norm: str = "layer", gain: float = 8.0, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Linear(SIDE * SIDE * 3, 8)
        self.norm = nn.BatchNorm1d(8) if norm == "batch" else nn.LayerNorm(8)
        self.heads = nn.ModuleDict({name: nn.Linear(8, n) for name, n in heads.items()})
        with torch.no_grad():
            for head in self.heads.values():
                head.weight *= gain

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        pixels = (images.flatten(1).to(self.first.weight.dtype) - 128) / 64
        hidden = torch.tanh(self.norm(self.first(pixels)))
        return {name: head(hidden) for name, head in self.heads.items()}


class Table(nn.Module):
    """Logits looked up by the value of an image's pixels: a test says itself what is predicted for which image."""

    def __init__(self, **heads: list[list[float]]) -> None:
        super().__init__()
        self.rows = nn.ParameterDict({name: nn.Parameter(torch.tensor(rows)) for name, rows in heads.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        index = images[:, 0, 0, 0].long()
        return {name: rows[index] for name, rows in self.rows.items()}


def numbered(*numbers: int) -> Tensor:
    """Images for a `Table`."""
    return torch.tensor(numbers, dtype=torch.uint8)[:, None, None, None].expand(-1, SIDE, SIDE, 3).contiguous()


class Views:
    """Strong views that remember what they were asked for."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.asked: list[list[int]] = []

    def __call__(self, rows: Tensor) -> Tensor:
        assert rows.device.type == "cpu"
        self.asked.append(rows.tolist())
        return self.images[rows]


def make_batch(heads: Mapping[str, int], *, labeled: int = 6, unlabeled: int = 10, seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)

    def images(n: int) -> Tensor:
        return torch.randint(256, (n, SIDE, SIDE, 3), generator=rng, dtype=torch.uint8)

    labels = torch.stack([torch.randint(n, (labeled,), generator=rng) for n in heads.values()], dim=1)
    views = Unlabeled(images(unlabeled), Views(images(unlabeled)), torch.randint(POOL, (unlabeled,), generator=rng))
    return Batch(Labeled(images(labeled), labels), views)


def asked_of(batch: Batch) -> list[list[int]]:
    assert batch.unlabeled is not None and isinstance(batch.unlabeled.strong, Views)
    return batch.unlabeled.strong.asked


def with_rule(rule: Rule, teacher: nn.Module, **more: object) -> Consistency:
    """Plain cross-entropy on linear heads and `rule`."""
    return Consistency(supervised=Supervised(scale=None), teacher=teacher, rule=rule, **more)  # type: ignore[arg-type]


def gradient(net: nn.Module, total: Tensor) -> Tensor:
    """All weights' gradients, one after the other, float64; those that have none count as zero."""
    grads = torch.autograd.grad(total, list(net.parameters()), allow_unused=True, retain_graph=True)
    pairs = zip(net.parameters(), grads, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).double().flatten() for p, g in pairs])


def step(algorithm: Consistency, net: nn.Module, batch: Batch, progress: float = 0.5) -> tuple[Losses, Tensor]:
    losses = algorithm.losses(net, batch, progress)
    return losses, gradient(net, losses.total)


def apart(ours: Tensor, reference: Tensor) -> float:
    """Relative distance."""
    return float((ours.double() - reference).norm() / reference.norm())


def assert_terms(net: nn.Module, losses: Losses, slow: nn.Module, expected: Mapping[str, Tensor]) -> None:
    """Value and gradient of each term are those that a slow loop has found with `slow`, a copy of `net`."""
    for name, term in expected.items():
        assert losses.terms[name].item() == pytest.approx(term.item(), rel=1e-5), name
        assert apart(gradient(net, losses.terms[name]), gradient(slow, term)) < 1e-5, name


# ---- the papers, one image after the other ----


def rows_of(net: nn.Module, images: Tensor) -> list[dict[str, Row]]:
    """The logits of each image, found alone."""
    answers = [net(image[None]) for image in images]
    return [{name: list(z[0].unbind()) for name, z in answer.items()} for answer in answers]


def views_of(net: nn.Module, batch: Batch) -> tuple[list[dict[str, Row]], list[dict[str, Row]]]:
    """The logits of each unlabeled image: of its weak view, without gradient, and of its strong one."""
    assert batch.unlabeled is not None and isinstance(batch.unlabeled.strong, Views)
    with torch.no_grad():
        weak = rows_of(net, batch.unlabeled.weak)
    return weak, rows_of(net, batch.unlabeled.strong.images)


def probs_of(rows: list[dict[str, Row]], name: str) -> list[list[float]]:
    """(images)(classes): what is predicted in one head, without gradient."""
    return [[p.item() for p in softmax(row[name])] for row in rows]


def softmax(row: Row) -> Row:
    powers = [z.exp() for z in row]
    normaliser = sum(powers[1:], powers[0])
    return [power / normaliser for power in powers]


def divided(row: Row, by: float) -> Row:
    return [z / by for z in row]


@dataclass(frozen=True)
class SlowUda:
    """UDA as in arXiv 1904.12848, sections 2.2 and 2.3, with the settings of our command."""

    thresholds: dict[str, float]
    sharpen: float = 0.4
    weight: float = 1.0
    start: float = 0.0
    ramp_up: float = 0.0
    joint: bool = False
    tsa: str = "off"
    temperatures: dict[str, float] = field(default_factory=dict)
    scale: float | None = None
    margin: float = 0.0
    smoothing: dict[str, list[float]] = field(default_factory=dict)

    def losses(self, net: nn.Module, batch: Batch, progress: float) -> tuple[dict[str, Tensor], list[int]]:
        """The weighted terms and the images whose target counts in any head. `net` in float64."""
        weak, strong = ([self.targets_of(row) for row in rows] for rows in views_of(net, batch))
        divergence, survivors = torch.zeros((), dtype=torch.float64), []
        for i, heads in enumerate(weak):
            for name, z in heads.items():
                if max(p.item() for p in softmax(z)) <= self.thresholds[name]:
                    continue
                survivors += [i] if i not in survivors else []
                target, answer = softmax(divided(z, self.sharpen)), softmax(strong[i][name])
                for t, q in zip(target, answer, strict=True):
                    divergence = divergence + t * (t.log() - q.log())
        terms = self.labeled(rows_of(net, batch.labeled.images), batch.labeled.labels.tolist(), progress)
        return {**terms, "consistency": self.strength(progress) * divergence / len(weak)}, survivors

    def strength(self, progress: float) -> float:
        if progress < self.start:
            return 0.0
        return self.weight if self.ramp_up == 0 else self.weight * min(1.0, (progress - self.start) / self.ramp_up)

    def targets_of(self, row: dict[str, Row]) -> dict[str, Row]:
        """Calibrated logits: each head's, or those of all combinations of classes, the last head fastest."""
        cooled = {name: divided(z, self.temperatures.get(name, 1.0)) for name, z in row.items()}
        return (
            {"joint": [sum(c, torch.zeros(())) for c in itertools.product(*cooled.values())]} if self.joint else cooled
        )

    def labeled(self, rows: list[dict[str, Row]], labels: list[list[int]], progress: float) -> dict[str, Tensor]:
        terms = {}
        for number, head in enumerate(rows[0]):
            total, kept = torch.zeros((), dtype=torch.float64), 0
            for row, label in zip(rows, labels, strict=True):
                if self.counts(row, label, head, progress):
                    kept += 1
                    total = total + self.one(row[head], label[number], self.smoothing.get(head))
            terms[head] = total / max(kept, 1)
        return terms

    def counts(self, row: dict[str, Row], label: list[int], head: str, progress: float) -> bool:
        """Training signal annealing: whether p of the true class is below η(t)."""
        if self.tsa == "off":
            return True
        correct = {
            n: softmax(divided(row[n], self.temperatures.get(n, 1.0)))[y].item()
            for n, y in zip(row, label, strict=True)
        }
        p, classes = correct[head], len(row[head])
        if self.joint:
            p, classes = math.prod(correct.values()), math.prod(len(z) for z in row.values())
        alpha = {"linear": progress, "log": 1 - math.exp(-progress * 5), "exp": math.exp((progress - 1) * 5)}[self.tsa]
        return p < alpha * (1 - 1 / classes) + 1 / classes

    def one(self, row: Row, label: int, smoothing: list[float] | None) -> Tensor:
        """Smoothed cross-entropy of one image, with the margin as an angle (arXiv 1801.07698, eq. 3)."""
        if self.scale is not None:
            angle = torch.acos(row[label] / self.scale)
            row = [*row[:label], self.scale * torch.cos(angle + self.margin), *row[label + 1 :]]
        moved = 0.0 if smoothing is None else smoothing[label]
        loss = torch.zeros((), dtype=torch.float64)
        for k, p in enumerate(softmax(row)):
            loss = loss - ((1 - moved) * (k == label) + moved / len(row)) * p.log()
        return loss


def slow_copy(net: nn.Module) -> nn.Module:
    return copy.deepcopy(net).double()


def slow_views(net: nn.Module, batch: Batch) -> tuple[nn.Module, list[dict[str, Row]], list[dict[str, Row]]]:
    """A slow copy, and what it says of the unlabeled images as `views_of` does."""
    slow = slow_copy(net)
    return slow, *views_of(slow, batch)
