"""The backbone through PyTorch's compiler, where `train.compile` asks for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_mask.models.classifier import Classifier


def compile_backbone(model: Classifier) -> None:
    """Compute the backbone's features in training by kernels that `torch.compile` makes at the first step.

    Passes without gradient (evaluations, targets of unlabeled images) stay as they are: they come in other sizes and
    modes, and each would be compiled anew. Weights keep their names, so that a saved state fits with and without it.
    """
    backbone: Any = model.backbone
    plain = backbone.forward_features
    compiled: Any = torch.compile(plain)

    def features(pixels: Tensor) -> Any:
        chosen = compiled if torch.is_grad_enabled() and model.training else plain
        return chosen(pixels)

    backbone.forward_features = features
