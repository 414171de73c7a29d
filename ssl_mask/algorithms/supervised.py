"""Labels only: ArcFace or linear heads under cross-entropy, focal or smoothed loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ssl_mask.losses.classification import classification_losses
from ssl_mask.losses.margin import arcface_logits
from ssl_mask.types import Algorithm, Batch, HeadTensors, Labeled, Losses


@dataclass(frozen=True)
class Supervised(Algorithm):
    """The sum over heads of the mean loss; with plain cross-entropy this is the joint negative log-likelihood."""

    scale: float | None
    """ArcFace scale of the heads; None for linear heads."""
    margin: float = 0.0
    """ArcFace margin in radians."""
    gamma: float = 0.0
    """Focusing parameter of the focal loss; 0: none."""
    smoothing: Mapping[str, Tensor] = field(default_factory=dict)
    """(classes,) label smoothing in [0, 1) per head; a head that is not here has none."""
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    """(classes,) class weights per head; a head that is not here has none."""

    def losses(self, model: nn.Module, batch: Batch, progress: float) -> Losses:  # noqa: ARG002
        """Losses of `batch.labeled`; `stats` has the share of images that are right in all heads."""
        logits = model(batch.labeled.images)
        terms = {name: losses.mean() for name, losses in self.per_image(logits, batch.labeled).items()}
        return Losses(terms, {"train_accuracy": share_right(logits, batch.labeled.labels)})

    def per_image(self, logits: HeadTensors, labeled: Labeled) -> dict[str, Tensor]:
        """(n,) weighted loss of each image, per head, from (n, classes) margin-free logits."""
        losses: dict[str, Tensor] = {}
        for i, (name, z) in enumerate(logits.items()):
            targets = None if labeled.targets is None else labeled.targets[name]
            each = self._head(name, z, labeled.labels[:, i], targets)
            losses[name] = each if labeled.weights is None else each * labeled.weights[:, i]
        return losses

    def _head(self, name: str, logits: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
        if self.scale is not None and self.margin > 0:
            logits = arcface_logits(logits / self.scale, labels, scale=self.scale, margin=self.margin)
        smoothing, weights = self.smoothing.get(name), self.weights.get(name)
        return classification_losses(
            logits, labels, gamma=self.gamma, smoothing=smoothing, weights=weights, targets=targets
        )


def share_right(logits: HeadTensors, labels: Tensor) -> Tensor:
    """() share of images that are right in all heads, from (n, classes) logits per head and (n, heads) labels."""
    return torch.stack([z.argmax(1) == labels[:, i] for i, z in enumerate(logits.values())]).all(dim=0).float().mean()
