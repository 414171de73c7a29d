"""FlexMatch (Zhang et al. 2021, arXiv 2110.08263): lower thresholds for classes that few images are sure of so far."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_mask.algorithms.fixmatch import hard
from ssl_mask.algorithms.rule import Rule, Seen
from ssl_mask.algorithms.targets import Targets
from ssl_mask.algorithms.uda import threshold_of
from ssl_mask.types import Averaging, Gathering, HeadTensors, one_process

NONE = -1
"""The class of an image that was never predicted above τ."""


class FlexMatchRule(Rule):
    """One-hot targets where max p ≥ M(β(c)) · τ, with c the predicted class and M(x) = x / (2 − x) (section 3.3).

    The learning status σ(c) counts the images of the pool whose last prediction above τ was c (section 3.1). With the
    threshold warm-up, β(c) = σ(c) / max(max σ, N − Σσ), N being the size of the pool (section 3.2). As in the authors'
    code, a batch is judged by the status before it; so the first batches count as a whole.
    """

    def __init__(self, threshold: float | Mapping[str, float], pool: int, *, gather: Gathering = one_process) -> None:
        """
        Args:
            threshold: τ in [0, 1), one for all heads or one per head.
            pool: N ≥ 1, the number of unlabeled images.
            gather: brings together what all processes have of a batch.
        """
        super().__init__()
        self.threshold, self.pool, self.gather = threshold, pool, gather

    def observe(self, seen: Seen, mean: Averaging) -> None:  # noqa: ARG002
        assert seen.rows is not None  # for the type checker: every batch of a pool has them
        rows = self.gather(seen.rows)
        for name, z in seen.logits.items():
            none = torch.full((self.pool,), NONE, dtype=torch.int32, device=z.device)
            last = self.running.get(f"{name}/last", none)
            self.running.values[f"{name}/beta"] = learning_effects(last, z.shape[1])
            top, predicted = F.softmax(z, dim=1).max(dim=1)
            sure = torch.where(top > threshold_of(self.threshold, name), predicted, NONE)
            self.running.values[f"{name}/last"] = updated(last, rows, self.gather(sure))

    def targets(self, logits: HeadTensors) -> Targets:
        weights = {}
        for name, z in logits.items():
            top, predicted = F.softmax(z, dim=1).max(dim=1)
            effect = self.running.get(f"{name}/beta", z.new_zeros(z.shape[1], dtype=torch.float32))
            threshold = effect / (2.0 - effect) * threshold_of(self.threshold, name)
            weights[name] = (top >= threshold[predicted]).float()
        return Targets({name: hard(z) for name, z in logits.items()}, weights)


def learning_effects(last: Tensor, classes: int) -> Tensor:
    """(N,) class of each image of the pool or `NONE` -> (classes,) β in [0, 1], with the threshold warm-up."""
    counts = torch.bincount(last + 1, minlength=classes + 1)
    unused, status = counts[0], counts[1:]
    return status / torch.maximum(status.max(), unused)


def updated(last: Tensor, rows: Tensor, classes: Tensor) -> Tensor:
    """The last class of each image after a batch; where the batch has an image twice, the later one counts.

    Args:
        last: (N,) int32 before the batch.
        rows: (n,) int64 positions in the pool.
        classes: (n,) int64 predicted class, or `NONE`.

    Returns:
        (N,) int32, a new tensor. The same bits on every device: no two writes compete.
    """
    places = torch.where(classes == NONE, NONE, torch.arange(len(rows), device=rows.device))
    newest = torch.full_like(last, NONE, dtype=torch.int64).scatter_reduce(0, rows, places, "amax")
    return torch.where(newest == NONE, last, classes[newest.clamp_min(0)].to(last))
