"""UDA: unsupervised data augmentation (Xie et al. 2020, arXiv 1904.12848)."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from ssl_mask.algorithms.rule import Rule
from ssl_mask.algorithms.targets import Targets
from ssl_mask.types import HeadTensors


class UdaRule(Rule):
    """Sharpened targets for the images whose unsharpened confidence is above τ."""

    def __init__(self, threshold: float | Mapping[str, float], sharpen: float) -> None:
        """
        Args:
            threshold: τ in [0, 1), one for all heads or one per head. The confidence must exceed it.
            sharpen: T_sharp > 0; below 1 makes targets sharper.
        """
        super().__init__()
        self.threshold, self.sharpen = threshold, sharpen

    def targets(self, logits: HeadTensors) -> Targets:
        return Targets(
            {name: F.softmax(z / self.sharpen, dim=1) for name, z in logits.items()},
            {name: (confidence(z) > threshold_of(self.threshold, name)).float() for name, z in logits.items()},
        )


def confidence(logits: Tensor) -> Tensor:
    """(n, classes) logits -> (n,) highest probability."""
    return F.softmax(logits, dim=1).amax(dim=1)


def threshold_of(threshold: float | Mapping[str, float], head: str) -> float:
    """The threshold of a head: the same for all, or its own."""
    return threshold if isinstance(threshold, int | float) else threshold[head]
