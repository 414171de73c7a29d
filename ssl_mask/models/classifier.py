"""The classifier: uint8 images in, margin-free logits per head out. It normalises pixels itself."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ssl_mask.errors import ModelError
from ssl_mask.models import backbones
from ssl_mask.models.backbones import Backbone, create_backbone
from ssl_mask.models.heads import CosineHead, GeM, MultiSampleDropout, build_neck


class Classifier(nn.Module):
    """Backbone, pooling, neck and one head per factor."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: Backbone, neck: tuple[nn.Module, int], heads: Mapping[str, nn.Module], dropout: nn.Module,
        *, gem: bool, freeze_norm: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.backbone = backbone.net
        self.gem = GeM() if gem else None
        self.neck = neck[0]
        self.embedding_size = neck[1]
        self.dropout = dropout
        self.heads = nn.ModuleDict(heads)
        self.freeze_norm = freeze_norm
        self.features = backbone.features
        # Buffers move to the device and are saved: a checkpoint needs nothing else to predict.
        self.register_buffer("mean", 255.0 * torch.tensor(backbone.mean)[:, None, None])
        self.register_buffer("std", 255.0 * torch.tensor(backbone.std)[:, None, None])

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(n, size, size, 3) uint8 RGB -> {head: (n, classes)} margin-free logits, float32."""
        embedding = self.embed(images)
        views = self.dropout(embedding)
        return {name: torch.stack([head(v).float() for v in views]).mean(dim=0) for name, head in self.heads.items()}

    def embed(self, images: Tensor) -> Tensor:
        """(n, size, size, 3) uint8 RGB -> (n, embedding_size)."""
        # The permuted view is in channels_last order already: no copy, and convolutions are faster on it.
        pixels = (images.permute(0, 3, 1, 2).float() - self.mean) / self.std
        return self.neck(self._pool(self.backbone.forward_features(pixels)))  # type: ignore[operator,no-any-return]

    def _pool(self, features: Tensor) -> Tensor:
        if self.gem is None:
            return self.backbone.forward_head(features, pre_logits=True)  # type: ignore[operator,no-any-return]
        if features.dim() == 4 and features.shape[1] == self.features:
            return self.gem(features.flatten(2).transpose(1, 2))  # type: ignore[no-any-return]
        return self.gem(features.flatten(1, -2))  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> Classifier:
        super().train(mode)
        if self.freeze_norm:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


def build_classifier(
    heads: Mapping[str, int],
    *,
    backbone: str = "embedded",
    weights: str = "auto",
    pooling: str = "avg",
    neck: str = "linear-bn",
    embedding_size: int = 512,
    dropout: float = 0.0,
    dropout_samples: int = 1,
    drop_path: float = 0.0,
    head: str = "arcface",
    scale: float = 20.0,
    freeze_stages: int = 0,
    freeze_norm: bool = False,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    image_size: int | None = None,
) -> tuple[Classifier, int]:
    """A classifier in training mode, and its input size in pixels.

    The keyword arguments are the `model` settings. Mean, standard deviation (in [0, 1]) and size are the backbone's own
    unless given.

    Args:
        heads: head name -> its number of classes.

    Raises:
        ModelError: an unknown backbone, weights that do not fit, an image size that the network cannot take.
    """
    base = create_backbone(backbone, weights=weights, drop_path=drop_path)
    backbones.freeze_stages(base.net, freeze_stages)
    base = Backbone(base.net, base.features, image_size or base.image_size, mean or base.mean, std or base.std)
    width = _pooled_width(base, backbone, pooled=pooling == "avg")
    neck_module, width = build_neck(neck, width, embedding_size)
    made: dict[str, nn.Module] = {
        name: CosineHead(width, n, scale=scale) if head == "arcface" else nn.Linear(width, n)
        for name, n in heads.items()
    }
    drop = MultiSampleDropout(dropout, dropout_samples)
    model = Classifier(base, (neck_module, width), made, drop, gem=pooling == "gem", freeze_norm=freeze_norm)
    # train(): the probe for the width left the backbone in evaluation mode.
    return model.to(memory_format=torch.channels_last).train(), base.image_size


def _pooled_width(base: Backbone, name: str, *, pooled: bool) -> int:
    """Width after pooling, found by one forward pass; it also proves that the network can take this image size."""
    net, size = base.net.eval(), base.image_size
    with torch.no_grad():
        try:
            features = net.forward_features(torch.zeros(1, 3, size, size))  # type: ignore[operator]
            width = net.forward_head(features, pre_logits=True).shape[1]  # type: ignore[operator]
        except (AssertionError, RuntimeError, ValueError) as error:
            hint = "Leave model.image_size unset to use the backbone's own."
            raise ModelError(
                f"model.image_size: {name} cannot take images of {size} px ({error}).", hint=hint
            ) from error
    return int(width) if pooled else base.features
