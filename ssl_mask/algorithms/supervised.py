"""Labels only: ArcFace or linear heads under cross-entropy, focal or smoothed loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ssl_mask.losses.classification import classification_loss
from ssl_mask.losses.margin import arcface_logits
from ssl_mask.types import Batch, Losses


@dataclass(frozen=True)
class Supervised:
    """The sum over heads of each head's mean loss, which is the joint negative log-likelihood."""

    scale: float | None
    """ArcFace scale of the heads; None for linear heads."""
    margin: float = 0.0
    gamma: float = 0.0
    smoothing: Mapping[str, Tensor] = field(default_factory=dict)
    """(classes,) a head."""
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    """(classes,) a head."""

    def losses(self, model: nn.Module, batch: Batch, progress: float) -> Losses:  # noqa: ARG002
        """Losses of `batch.labeled`; `stats` holds the share of images right in all heads."""
        images, labels = batch.labeled
        logits = model(images)
        terms = {name: self.head_loss(name, z, labels[:, i]) for i, (name, z) in enumerate(logits.items())}
        right = torch.stack([z.argmax(1) == labels[:, i] for i, z in enumerate(logits.values())]).all(dim=0)
        return Losses(terms, {"train_accuracy": right.float().mean()})

    def head_loss(self, name: str, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of one head from its margin-free logits (n, classes)."""
        if self.scale is not None and self.margin > 0:
            logits = arcface_logits(logits / self.scale, labels, scale=self.scale, margin=self.margin)
        smoothing, weights = self.smoothing.get(name), self.weights.get(name)
        return classification_loss(logits, labels, gamma=self.gamma, smoothing=smoothing, weights=weights)
