"""Necks and heads: from pooled features to an embedding, and from there to margin-free logits per factor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CosineHead(nn.Module):
    """Logits s·cos θ, with θ the angle between the embedding and a class weight.

    The ArcFace margin (Deng et al. 2019, arXiv 1801.07698) is part of the loss, not of the head."""

    def __init__(self, features: int, classes: int, *, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(classes, features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embedding: Tensor) -> Tensor:
        """(n, features) -> (n, classes) in [-s, s]; float32, also under autocast."""
        with torch.autocast(embedding.device.type, enabled=False):
            unit = F.normalize(embedding.float(), dim=1)
            return self.scale * F.linear(unit, F.normalize(self.weight.float(), dim=1))


class GeM(nn.Module):
    """Generalised mean over positions with a learned p (Radenović et al. 2018, arXiv 1711.02512, eq. 3)."""

    def __init__(self, power: float = 3.0) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(power))

    def forward(self, features: Tensor) -> Tensor:
        """(n, positions, channels) -> (n, channels), float32, also under autocast; values below 1e-6 count as 1e-6."""
        with torch.autocast(features.device.type, enabled=False):
            return features.float().clamp_min(1e-6).pow(self.power).mean(dim=1).pow(1.0 / self.power)


def build_neck(kind: str, features: int, embedding_size: int) -> tuple[nn.Module, int]:
    """The neck and its output width. Kinds: `none`, `linear-bn`, `linear-bn-prelu`."""
    if kind == "none":
        return nn.Identity(), features
    layers: list[nn.Module] = [nn.Linear(features, embedding_size, bias=False), nn.BatchNorm1d(embedding_size)]
    if kind == "linear-bn-prelu":
        layers.append(nn.PReLU(embedding_size))
    return nn.Sequential(*layers), embedding_size


class MultiSampleDropout(nn.Module):
    """Several dropout masks in training (Inoue 2019, arXiv 1905.09788); the heads average their logits over them."""

    def __init__(self, rate: float, samples: int) -> None:
        super().__init__()
        self.rate, self.samples = rate, samples

    def forward(self, embedding: Tensor) -> list[Tensor]:
        """(n, features) -> `samples` tensors of that shape in training, else the embedding alone."""
        if not self.training or self.rate == 0.0:
            return [embedding]
        return [F.dropout(embedding, self.rate) for _ in range(self.samples)]
