"""FreeMatch (Wang et al. 2023, arXiv 2205.07246): per-class thresholds that follow the network's confidence."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_mask.algorithms.fixmatch import hard
from ssl_mask.algorithms.rule import Rule, Seen
from ssl_mask.algorithms.running import uniform
from ssl_mask.algorithms.targets import Targets
from ssl_mask.types import Averaging, HeadTensors


class FreeMatchRule(Rule):
    """τ(c) = p̃(c) / max p̃ · τ, with τ the running mean confidence and p̃ the running mean prediction (eq. 5 to 8)."""

    def __init__(self, momentum: float, fairness: float) -> None:
        """
        Args:
            momentum: of τ, p̃ and the histogram h̃, in [0, 1); all three start at 1/classes.
            fairness: weight of the self-adaptive fairness loss (eq. 9 to 11); 0 turns it off.
        """
        super().__init__(momentum)
        self.fairness = fairness

    def observe(self, seen: Seen, mean: Averaging) -> None:
        for name, z in seen.logits.items():
            probs, even = F.softmax(z, dim=1), uniform(z)
            self.running.move(f"{name}/tau", mean(probs.amax(dim=1).mean()), start=even[0])
            self.running.move(f"{name}/p", mean(probs.mean(dim=0)), start=even)
            self.running.move(f"{name}/h", mean(hard(z).mean(dim=0)), start=even)

    def targets(self, logits: HeadTensors) -> Targets:
        weights = {
            name: (F.softmax(z, dim=1).amax(dim=1) >= self._thresholds(name, z)).float() for name, z in logits.items()
        }
        return Targets({name: hard(z) for name, z in logits.items()}, weights)

    def _thresholds(self, name: str, logits: Tensor) -> Tensor:
        """(n,) the threshold of each image's predicted class."""
        even = uniform(logits)
        shares = self.running.get(f"{name}/p", even)
        return (shares / shares.max() * self.running.get(f"{name}/tau", even[0]))[logits.argmax(dim=1)]

    def extra_loss(self, strong: HeadTensors, targets: Targets, mean: Averaging) -> Tensor | None:
        """Fairness loss −H(SumNorm(p̃/h̃), SumNorm(p̄/h̄)): maximises the cross-entropy of pool and batch (eq. 11).

        p̄ is the mean strong prediction and h̄ its histogram, over the images of all processes whose target counts.
        """
        if self.fairness == 0:
            return None
        each = [self._fairness(name, z[targets.weights[name] > 0], mean) for name, z in strong.items()]
        return self.fairness * torch.stack(each).sum()

    def _fairness(self, name: str, logits: Tensor, mean: Averaging) -> Tensor:
        shares, votes = F.softmax(logits, dim=1).sum(dim=0), hard(logits).sum(dim=0)
        whole = mean(torch.cat([shares, votes, shares.new_tensor([len(logits)])]))
        if whole[-1] == 0:
            return logits.sum()  # zero, and in the graph on every process
        # The gradient is that of this process's images; the mean of these over processes is the gradient of the whole.
        every = (whole[: len(shares)] + shares - shares.detach(), whole[len(shares) : -1])
        even = uniform(logits)
        pool = _normalised(self.running.get(f"{name}/p", even), self.running.get(f"{name}/h", even))
        batch = _normalised(*(part / whole[-1] for part in every))
        return (pool * torch.log(batch + 1e-12)).sum()


def _normalised(shares: Tensor, histogram: Tensor) -> Tensor:
    """(classes,) SumNorm(shares / histogram); classes that are empty in the histogram get 0."""
    ratio = torch.where(histogram > 0, shares / histogram.clamp_min(1e-12), 0.0)
    return ratio / ratio.sum()
