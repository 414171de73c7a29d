"""SoftMatch (Chen et al. 2023, arXiv 2301.10921): all targets, weighted by a truncated Gaussian of the confidence."""

from __future__ import annotations

import torch.nn.functional as F

from ssl_mask.algorithms.fixmatch import hard
from ssl_mask.algorithms.rule import Rule, Seen
from ssl_mask.algorithms.running import Alignment
from ssl_mask.algorithms.targets import Targets
from ssl_mask.types import Averaging, HeadTensors


class SoftMatchRule(Rule):
    """w = exp(−(max p − μ)² · k² / (2σ²)) below μ, else 1 (eq. 5 to 7). Only weights use p aligned to equal shares."""

    def __init__(self, momentum: float, sigmas: float, *, processes: int = 1) -> None:
        """
        Args:
            momentum: of μ (starts at 1/classes), σ² (starts at 1) and the mean prediction, in [0, 1).
            sigmas: k; the authors' code uses 2.
            processes: how many share a batch; the variance is the unbiased one over the whole batch.
        """
        super().__init__(momentum)
        self.sigmas, self.processes = sigmas, processes
        self.equal = Alignment(None, momentum)
        self.equal.running = self.running  # so that everything that is saved is in one place

    def observe(self, seen: Seen, mean: Averaging) -> None:
        self.equal.observe(seen.logits, mean)
        for name, z in self.equal.shifted(seen.logits).items():
            confidence = F.softmax(z, dim=1).amax(dim=1)
            start = confidence.new_tensor(1.0 / z.shape[1])
            average = mean(confidence.mean())
            count = len(confidence) * self.processes
            spread = mean((confidence - average).square().mean()) * count / max(count - 1, 1)
            self.running.move(f"{name}/mu", average, start=start)
            self.running.move(f"{name}/var", spread, start=start.new_tensor(1.0))

    def targets(self, logits: HeadTensors) -> Targets:
        weights = {}
        for name, z in self.equal.shifted(logits).items():
            confidence = F.softmax(z, dim=1).amax(dim=1)
            mu = self.running.get(f"{name}/mu", confidence.new_tensor(1.0 / z.shape[1]))
            var = self.running.get(f"{name}/var", confidence.new_tensor(1.0))
            below = (confidence - mu).clamp_max(0.0)
            weights[name] = (-below.square() * self.sigmas**2 / (2 * var.clamp_min(1e-8))).exp()
        return Targets({name: hard(z) for name, z in logits.items()}, weights)
