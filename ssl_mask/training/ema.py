"""The averaged model, with warm-up: without it the average is still the random start when the live weights are good."""

from __future__ import annotations

from typing import Any

from timm.utils import ModelEmaV3
from torch import nn


class WarmEma(ModelEmaV3):  # type: ignore[misc]  # timm is untyped
    """timm's average with decay min(d, (1 + n) / (10 + n)) after n updates (as in TensorFlow's moving average)."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, decay=decay)

    def get_decay(self, step: int | None = None) -> float:
        count: int = step or 0
        return float(min(self.decay, (1 + count) / (10 + count)))


def make_ema(model: nn.Module, decay: float) -> Any:
    """The averaged copy, or None for decay 0."""
    return WarmEma(model, decay) if decay > 0 else None
