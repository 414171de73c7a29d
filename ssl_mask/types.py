"""Tuples that data, algorithms and the training loop exchange. Accelerate moves tuples to a device, not dataclasses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HeadTensors = Mapping[str, Tensor]
"""Head name -> (n, classes)."""


class Labeled(NamedTuple):
    """A batch of labeled images."""

    images: Tensor
    """(n, size, size, 3) uint8 RGB; the model normalises them."""
    labels: Tensor
    """(n, heads) int64 class indices."""
    weights: Tensor | None = None
    """(n, heads) factors ≥ 0 of the loss, 0 where a label is not known; None: all are 1."""
    targets: Mapping[str, Tensor] | None = None
    """(n, classes) probabilities per head, used instead of the labels; None: the labels are used."""

    def joined(self, other: Labeled) -> Labeled:
        """This batch followed by another. Its mean loss is the mean loss of this batch plus that of the other.

        Args:
            other: with weights; if it has no targets, its labels are used.
        """
        batches, total = (self, other), len(self.images) + len(other.images)
        weights = [
            (torch.ones(b.labels.shape) if b.weights is None else b.weights) * (total / len(b.images)) for b in batches
        ]
        targets = None
        if other.targets is not None:
            targets = {
                name: torch.cat([F.one_hot(self.labels[:, i], soft.shape[1]).float(), soft])
                for i, (name, soft) in enumerate(other.targets.items())
            }
        images, labels = torch.cat([b.images for b in batches]), torch.cat([b.labels for b in batches])
        return Labeled(images, labels, torch.cat(weights), targets)

    def at(self, rows: Tensor | slice) -> Labeled:
        """The images at these positions."""
        weights, targets = self.weights, self.targets
        return Labeled(
            self.images[rows],
            self.labels[rows],
            None if weights is None else weights[rows],
            None if targets is None else {k: t[rows] for k, t in targets.items()},
        )

    def parts(self, count: int) -> list[Labeled]:
        """Cut into `count` equal parts; the number of images must be a multiple of it."""
        size = len(self.images) // count
        return [self.at(slice(i * size, (i + 1) * size)) for i in range(count)]


class StrongViews(Protocol):
    """Makes the strong views of an unlabeled batch, when they are needed."""

    def __call__(self, rows: Tensor) -> Tensor:
        """(k,) positions in the batch -> (k, size, size, 3) uint8 RGB on the CPU; equal positions give equal views."""
        ...


class Unlabeled(NamedTuple):
    """A batch of unlabeled images in two views."""

    weak: Tensor
    """(n, size, size, 3) uint8 RGB."""
    strong: StrongViews
    rows: Tensor | None = None
    """(n,) int64 positions of the images in the pool."""

    def part(self, number: int, count: int) -> Unlabeled:
        """Part `number` (from 0) of `count` equal parts."""
        size = len(self.weak) // count
        first = number * size
        own = slice(first, first + size)
        rows = None if self.rows is None else self.rows[own]
        return Unlabeled(self.weak[own], lambda positions: self.strong(positions + first), rows)


class Batch(NamedTuple):
    """What one training step reads."""

    labeled: Labeled
    unlabeled: Unlabeled | None = None

    def parts(self, count: int) -> list[Batch]:
        """Cut into `count` equal parts, for gradient accumulation."""
        more = [None if self.unlabeled is None else self.unlabeled.part(i, count) for i in range(count)]
        return [Batch(part, unlabeled) for part, unlabeled in zip(self.labeled.parts(count), more, strict=True)]


class Losses(NamedTuple):
    """Losses of one batch."""

    terms: dict[str, Tensor]
    """Scalars with their weights applied; their sum is minimised."""
    stats: dict[str, Tensor]
    """Scalars and vectors that are only logged."""

    @property
    def total(self) -> Tensor:
        return sum(self.terms.values())  # type: ignore[return-value]


class Evaluated(NamedTuple):
    """An evaluation on the validation images, as `Algorithm.evaluated` gets it."""

    temperatures: Mapping[str, float]
    """Fitted temperature per head."""
    logits: HeadTensors
    """(n, classes) margin-free logits per head, from the algorithm's `teacher_weights`; on its device."""
    labels: Mapping[str, Tensor]
    """(n,) int64 true classes per head, and those of `joint`; on the CPU."""


class Algorithm(ABC):
    """Makes the loss from a batch. What an algorithm learns besides weights (thresholds, temperatures) is its state."""

    teacher_weights: str = "live"
    """Which weights `evaluated` gets the evaluation of: the `live` ones, or their average (`ema`)."""

    @property
    def waits(self) -> bool:
        """Unlabeled images do not count before the next evaluation."""
        return False

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch, progress: float) -> Losses:
        """Losses of one batch; `progress` in [0, 1] is the share of training that is done."""

    def evaluated(self, validation: Evaluated) -> dict[str, dict[str, float]]:  # noqa: ARG002
        """Called after each evaluation; returns values to log, per name and head. Most algorithms have none."""
        return {}

    def warnings(self, recent: Sequence[Mapping[str, Sequence[float]]]) -> list[str]:  # noqa: ARG002
        """Warnings for the user, each given once.

        Args:
            recent: the logged `stats` of the last fifth of the steps so far.
        """
        return []

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if state:
            raise ValueError(f"{type(self).__name__} has no state, but was given {sorted(state)}")


class Averaging(Protocol):
    """Takes the mean of a tensor over all processes, without gradient."""

    def __call__(self, value: Tensor) -> Tensor: ...


class Gathering(Protocol):
    """Brings the (n,) values of all processes together, without gradient, in the order of a single process's batch."""

    def __call__(self, value: Tensor) -> Tensor: ...


def one_process(value: Tensor) -> Tensor:
    """The `Averaging` and `Gathering` of a single process."""
    return value.detach()
