"""What the algorithms differ in: a rule makes targets from weak predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

from ssl_mask.algorithms.running import Running
from ssl_mask.algorithms.targets import Targets
from ssl_mask.types import Averaging, HeadTensors


class Seen(NamedTuple):
    """What a rule sees of a batch before it makes targets."""

    logits: HeadTensors
    """(n, classes) calibrated logits per head of the weak views."""
    rows: Tensor | None = None
    """(n,) int64 positions of these images in the pool."""
    labeled: HeadTensors | None = None
    """(m, classes) calibrated logits per head of the labeled images, by the same network, if `needs_labeled`."""


class Rule(ABC):
    """Makes targets from weak predictions."""

    needs_labeled: bool = False
    """The labeled images are predicted with the weak views, without gradient."""

    def __init__(self, momentum: float = 0.0) -> None:
        self.running = Running(momentum)

    def observe(self, seen: Seen, mean: Averaging) -> None:  # noqa: B027 - most have no statistics
        """Update the running statistics, once per batch and before `targets`; `mean` is over all processes."""

    @abstractmethod
    def targets(self, logits: HeadTensors) -> Targets:
        """Targets from the (n, classes) calibrated logits per head of the weak views."""

    def extra_loss(self, strong: HeadTensors, targets: Targets, mean: Averaging) -> Tensor | None:  # noqa: ARG002
        """One more loss term (a scalar), or None.

        Args:
            strong: (k, classes) calibrated logits of the same images.
            mean: over all processes.
        """
        return None
