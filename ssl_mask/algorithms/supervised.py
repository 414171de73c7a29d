"""Labels only: ArcFace or linear heads under cross-entropy, focal or smoothed loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ssl_mask.algorithms.mixing import Mixed, Mixing
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
    mixing: Mixing = field(default_factory=Mixing)
    """How labeled images are mixed with each other before the network sees them."""

    def losses(self, model: nn.Module, batch: Batch, progress: float) -> Losses:  # noqa: ARG002
        """Losses of `batch.labeled`; `stats` has the share of images that are right in all heads."""
        mixed = self.mixing(batch.labeled)
        logits = model(mixed.images)
        terms = {name: losses.mean() for name, losses in self.per_image(logits, mixed).items()}
        return Losses(terms, {"train_accuracy": share_right(logits, mixed)})

    def per_image(self, logits: HeadTensors, mixed: Mixed) -> dict[str, Tensor]:
        """(n,) weighted loss of each image, per head, from (n, classes) margin-free logits."""
        each = [(share, self._towards(logits, labeled)) for share, labeled in mixed.parts]
        return {name: torch.stack([share * losses[name] for share, losses in each]).sum(dim=0) for name in logits}

    def _towards(self, logits: HeadTensors, labeled: Labeled) -> dict[str, Tensor]:
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


def share_right(logits: HeadTensors, mixed: Mixed) -> Tensor:
    """() share of images that are right in all heads, from (n, classes) logits per head."""
    predicted = torch.stack([z.argmax(dim=1) for z in logits.values()], dim=1)
    right = [share * (predicted == labeled.labels).all(dim=1).float().mean() for share, labeled in mixed.parts]
    return torch.stack(right).sum()
