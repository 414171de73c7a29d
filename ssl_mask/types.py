"""The tuples that travel between data, algorithms and the loop. Accelerate moves tuples, not dataclasses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from torch import Tensor, nn

HeadTensors = Mapping[str, Tensor]
"""(n, classes) a head."""


class Labeled(NamedTuple):
    images: Tensor
    """(n, size, size, 3) uint8 RGB; the model normalises them."""
    labels: Tensor
    """(n, heads) int64."""


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
        labeled = zip(self.labeled.images.chunk(count), self.labeled.labels.chunk(count), strict=True)
        more = [None if self.unlabeled is None else self.unlabeled.part(i, count) for i in range(count)]
        return [Batch(Labeled(*part), unlabeled) for part, unlabeled in zip(labeled, more, strict=True)]


class Losses(NamedTuple):
    terms: dict[str, Tensor]
    """Weighted scalar terms; their sum is trained."""
    stats: dict[str, Tensor]
    """Scalars and vectors that are logged only."""

    @property
    def total(self) -> Tensor:
        return sum(self.terms.values())  # type: ignore[return-value]


class Algorithm(ABC):
    """What is minimised. Some algorithms learn more than weights (thresholds, temperatures): that is their state."""

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch, progress: float) -> Losses:
        """Losses of one batch; `progress` is the share of training done, in [0, 1]."""

    def calibrate(self, temperatures: Mapping[str, float]) -> None:  # noqa: B027 - most have no use for it
        """Told the heads' temperatures after each evaluation."""

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
