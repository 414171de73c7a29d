"""Statistics of the pool that move with training: means over batches, processes and time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_mask.types import Averaging, HeadTensors


class Running:
    """Named moving averages. `values` is saved with the training."""

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self.values: dict[str, Tensor] = {}

    def move(self, name: str, towards: Tensor, *, start: Tensor) -> None:
        """m ← momentum · m + (1 − momentum) · towards, from `start` on."""
        before = self.values.get(name, start).to(towards)
        self.values[name] = torch.lerp(before, towards, 1.0 - self.momentum)

    def get(self, name: str, default: Tensor) -> Tensor:
        return self.values.get(name, default).to(default)


def uniform(like: Tensor) -> Tensor:
    """(classes,) equal shares."""
    classes = like.shape[-1]
    return torch.full((classes,), 1.0 / classes, device=like.device)


class Alignment:
    """Distribution alignment (ReMixMatch, Berthelot et al. 2020, arXiv 1911.09785, section 3.1).

    p̃ ∝ p · target / (running mean of p): as a shift of the logits, so that it goes before any rule.
    """

    def __init__(self, targets: Mapping[str, Tensor] | None, momentum: float) -> None:
        self.targets = targets
        """(classes,) shares a head, or None for equal shares."""
        self.running = Running(momentum)

    def observe(self, logits: HeadTensors, mean: Averaging) -> None:
        for name, z in logits.items():
            self.running.move(name, mean(F.softmax(z, dim=1).mean(dim=0)), start=uniform(z))

    def shifted(self, logits: HeadTensors) -> dict[str, Tensor]:
        return {name: z + self._shift(name, z) for name, z in logits.items()}

    def _shift(self, name: str, logits: Tensor) -> Tensor:
        even = uniform(logits)
        target = even if self.targets is None else self.targets[name].to(even)
        # A class without labeled images must not become impossible.
        return target.clamp_min(1e-4).log() - self.running.get(name, even).clamp_min(1e-4).log()
