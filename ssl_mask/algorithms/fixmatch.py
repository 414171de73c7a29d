"""FixMatch (Sohn et al. 2020, arXiv 2001.07685, eq. 4): hard targets, where the confidence reaches τ."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from ssl_mask.algorithms.consistency import Rule, Targets
from ssl_mask.algorithms.uda import confidence, threshold_of
from ssl_mask.types import HeadTensors


class FixMatchRule(Rule):
    """The commonest published baseline. The test is not strict: max p ≥ τ."""

    def __init__(self, threshold: float | Mapping[str, float]) -> None:
        """
        Args:
            threshold: τ in [0, 1], for all heads or a head.
        """
        super().__init__()
        self.threshold = threshold

    def targets(self, logits: HeadTensors) -> Targets:
        return Targets(
            {name: hard(z) for name, z in logits.items()},
            {name: (confidence(z) >= threshold_of(self.threshold, name)).float() for name, z in logits.items()},
        )


def hard(logits: Tensor) -> Tensor:
    """(n, classes) -> one-hot (n, classes) of the most probable class."""
    return F.one_hot(logits.argmax(dim=1), logits.shape[1]).float()
