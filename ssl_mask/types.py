"""The tuples that travel between data, algorithms and the loop. Accelerate moves tuples, not dataclasses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HeadTensors = Mapping[str, Tensor]
"""(n, classes) per head."""


class Labeled(NamedTuple):
    images: Tensor
    """(n, size, size, 3) uint8 RGB; the model normalises them."""
    labels: Tensor
    """(n, heads) int64."""
    weights: Tensor | None = None
    """(n, heads) factors of the loss, 0 where a label is not known; None: all 1."""
    targets: Mapping[str, Tensor] | None = None
    """(n, classes) per head: probabilities to train towards; None: the labels."""

    def joined(self, other: Labeled) -> Labeled:
        """Both, one after the other. A loss averaged over all of them is the sum of the two parts' own averages.

        Args:
            other: has weights; without targets its labels count.
        """
        sides, total = (self, other), len(self.images) + len(other.images)
        weights = [
            (torch.ones(s.labels.shape) if s.weights is None else s.weights) * (total / len(s.images)) for s in sides
        ]
        targets = None
        if other.targets is not None:
            targets = {
                name: torch.cat([F.one_hot(self.labels[:, i], soft.shape[1]).float(), soft])
                for i, (name, soft) in enumerate(other.targets.items())
            }
        images, labels = torch.cat([s.images for s in sides]), torch.cat([s.labels for s in sides])
        return Labeled(images, labels, torch.cat(weights), targets)

    def parts(self, count: int) -> list[Labeled]:
        """Cut into `count` equal parts."""
        size = len(self.images) // count
        cuts = [slice(i * size, (i + 1) * size) for i in range(count)]
        weights, targets = self.weights, self.targets
        return [
            Labeled(
                self.images[c],
                self.labels[c],
                None if weights is None else weights[c],
                None if targets is None else {k: t[c] for k, t in targets.items()},
            )
            for c in cuts
        ]


class StrongViews(Protocol):
    """Strong views of the images of an unlabeled batch, made when they are asked for."""

    def __call__(self, rows: Tensor) -> Tensor:
        """(k,) positions in the batch -> (k, size, size, 3) uint8 on the CPU. Always the same for the same batch."""
        ...


class Unlabeled(NamedTuple):
    weak: Tensor
    """(n, size, size, 3) uint8 RGB."""
    strong: StrongViews

    def part(self, number: int, count: int) -> Unlabeled:
        """Part `number` of `count` equal ones."""
        size = len(self.weak) // count
        first = number * size
        return Unlabeled(self.weak[first : first + size], lambda rows: self.strong(rows + first))


class Batch(NamedTuple):
    labeled: Labeled
    unlabeled: Unlabeled | None = None

    def parts(self, count: int) -> list[Batch]:
        """Cut into `count` equal parts, for gradient accumulation."""
        more = [None if self.unlabeled is None else self.unlabeled.part(i, count) for i in range(count)]
        return [Batch(part, unlabeled) for part, unlabeled in zip(self.labeled.parts(count), more, strict=True)]


class Losses(NamedTuple):
    terms: dict[str, Tensor]
    """Weighted scalar terms; their sum is trained."""
    stats: dict[str, Tensor]
    """Scalars and vectors that are logged only."""

    @property
    def total(self) -> Tensor:
        return sum(self.terms.values())  # type: ignore[return-value]


class Evaluated(NamedTuple):
    """What an algorithm is told of an evaluation on validation images."""

    temperatures: Mapping[str, float]
    """Fitted, per head."""
    logits: HeadTensors
    """Margin-free, of the algorithm's `teacher_weights`; on its device."""
    labels: Mapping[str, Tensor]
    """(n,) true classes per head, and `joint`; on the CPU."""


class Algorithm(ABC):
    """What is minimised. Some algorithms learn more than weights (thresholds, temperatures): that is their state."""

    teacher_weights: str = "live"
    """Whose evaluation `evaluated` wants: that of the `live` weights, or of their average (`ema`)."""

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch, progress: float) -> Losses:
        """Losses of one batch; `progress` is the share of training done, in [0, 1]."""

    def evaluated(self, validation: Evaluated) -> dict[str, dict[str, float]]:  # noqa: ARG002
        """Told of each evaluation; returns what is logged of it. Most algorithms have no use for it."""
        return {}

    def warnings(self, recent: Sequence[Mapping[str, Sequence[float]]]) -> list[str]:  # noqa: ARG002
        """What the user should know, each once, from the logged `stats` of the last fifth of the steps so far."""
        return []

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if state:
            raise ValueError(f"{type(self).__name__} has no state, given {sorted(state)}")


class Averaging(Protocol):
    """The mean of a tensor over all processes; without gradient."""

    def __call__(self, value: Tensor) -> Tensor: ...


def one_process(value: Tensor) -> Tensor:
    """The mean over one process."""
    return value.detach()
