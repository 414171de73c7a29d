"""The tuples that travel between data, algorithms and the loop. Accelerate moves tuples, not dataclasses."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor, nn


class Labeled(NamedTuple):
    images: Tensor
    """(n, size, size, 3) uint8 RGB; the model normalises them."""
    labels: Tensor
    """(n, heads) int64."""


class Batch(NamedTuple):
    labeled: Labeled
    unlabeled: None = None

    def parts(self, count: int) -> list[Batch]:
        """Cut into `count` equal parts, for gradient accumulation."""
        images, labels = self.labeled.images.chunk(count), self.labeled.labels.chunk(count)
        return [Batch(Labeled(i, y)) for i, y in zip(images, labels, strict=True)]


class Losses(NamedTuple):
    terms: dict[str, Tensor]
    """Weighted scalar terms; their sum is trained."""
    stats: dict[str, Tensor]
    """Scalars that are logged only."""

    @property
    def total(self) -> Tensor:
        return sum(self.terms.values())  # type: ignore[return-value]


class Algorithm(Protocol):
    def losses(self, model: nn.Module, batch: Batch, progress: float) -> Losses:
        """Losses of one batch; `progress` is the share of training done, in [0, 1]."""
        ...
