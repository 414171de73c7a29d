"""Running statistics of the unlabeled pool: means over batches, processes and time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_mask.types import Averaging, HeadTensors


class Running:
    """Named moving averages. `values` is saved with the state of the training."""

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self.values: dict[str, Tensor] = {}

    def move(self, name: str, towards: Tensor, *, start: Tensor) -> None:
        """m ← momentum · m + (1 − momentum) · towards; the first m is `start`."""
        before = self.values.get(name, start).to(towards)
        self.values[name] = torch.lerp(before, towards, 1.0 - self.momentum)

    def get(self, name: str, default: Tensor) -> Tensor:
        """The average, with the type and device of `default`, which stands in before the first `move`."""
        return self.values.get(name, default).to(default)


def uniform(like: Tensor) -> Tensor:
    """(…, classes) -> (classes,) equal shares, on the same device."""
    classes = like.shape[-1]
    return torch.full((classes,), 1.0 / classes, device=like.device)


class Alignment:
    """Distribution alignment (ReMixMatch, Berthelot et al. 2020, arXiv 1911.09785, section 3.1).

    p̃ ∝ p · target / (running mean of p). It shifts the logits, so that it works with every rule.
    """

    def __init__(self, targets: Mapping[str, Tensor] | None, momentum: float) -> None:
        self.targets = targets
        """(classes,) target shares per head; None: equal shares."""
        self.running = Running(momentum)

    def observe(self, logits: HeadTensors, mean: Averaging) -> None:
        """Update the running mean prediction from (n, classes) logits per head; `mean` is over all processes."""
        for name, z in logits.items():
            self.running.move(name, mean(F.softmax(z, dim=1).mean(dim=0)), start=uniform(z))

    def shifted(self, logits: HeadTensors) -> dict[str, Tensor]:
        """(n, classes) logits per head -> the same shape, aligned. Changes no statistics."""
        return {name: z + self._shift(name, z) for name, z in logits.items()}

    def _shift(self, name: str, logits: Tensor) -> Tensor:
        even = uniform(logits)
        target = even if self.targets is None else self.targets[name].to(even)
        # A class without labeled images must stay possible.
        return target.clamp_min(1e-4).log() - self.running.get(name, even).clamp_min(1e-4).log()
