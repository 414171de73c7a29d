"""FixMatch (Sohn et al. 2020, arXiv 2001.07685, eq. 4): hard targets for the images whose confidence reaches τ."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from ssl_mask.algorithms.rule import Rule
from ssl_mask.algorithms.targets import Targets
from ssl_mask.algorithms.uda import confidence, threshold_of
from ssl_mask.types import HeadTensors


class FixMatchRule(Rule):
    """One-hot targets where max p ≥ τ (equality counts, unlike in UDA)."""

    def __init__(self, threshold: float | Mapping[str, float]) -> None:
        """
        Args:
            threshold: τ in [0, 1], one for all heads or one per head.
        """
        super().__init__()
        self.threshold = threshold

    def targets(self, logits: HeadTensors) -> Targets:
        return Targets(
            {name: hard(z) for name, z in logits.items()},
            {name: (confidence(z) >= threshold_of(self.threshold, name)).float() for name, z in logits.items()},
        )


def hard(logits: Tensor) -> Tensor:
    """(n, classes) logits -> (n, classes) one-hot of the most probable class."""
    return F.one_hot(logits.argmax(dim=1), logits.shape[1]).float()
