"""The classifier: uint8 images in, margin-free logits per head out. It normalises pixels itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor, nn

from ssl_mask.errors import ModelError
from ssl_mask.models.backbones import Backbone, create_backbone
from ssl_mask.models.heads import CosineHead, GeM, MultiSampleDropout, build_neck
from ssl_mask.models.lora import is_adapter, merged
from ssl_mask.models.tuning import tune_backbone
from ssl_mask.models.weights import set_image_size


class Classifier(nn.Module):
    """Backbone, pooling, neck and one head per factor."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: Backbone, neck: tuple[nn.Module, int], heads: Mapping[str, nn.Module], dropout: nn.Module,
        *, pooled_size: int, gem: bool, freeze_norm: bool, probe: bool,
    ) -> None:  # fmt: skip
        """
        Args:
            gem: pool by the generalised mean instead of the backbone's own pooling.
            freeze_norm: keep the backbone's batch-norm statistics.
            probe: only the neck and the heads train. What `pool` returns never changes.
        """
        super().__init__()
        self.backbone = backbone.net
        self.gem = GeM() if gem else None
        self.neck = neck[0]
        self.embedding_size = neck[1]
        self.dropout = dropout
        self.heads = nn.ModuleDict(heads)
        self.freeze_norm = freeze_norm
        self.probe = probe
        self.features = backbone.features
        self.pooled_size = pooled_size
        self.image_size = backbone.image_size
        # Buffers move to the device and are saved: a checkpoint needs nothing else to predict.
        self.register_buffer("mean", 255.0 * torch.tensor(backbone.mean)[:, None, None])
        self.register_buffer("std", 255.0 * torch.tensor(backbone.std)[:, None, None])
        if probe:
            self.backbone.requires_grad_(False)
            if self.gem is not None:
                self.gem.requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(n, size, size, 3) uint8 RGB -> {head: (n, classes)} margin-free logits, float32.

        It also takes what `pool` made of images, (n, pooled_size), in their place: a probe trains on that.
        """
        return self.classify(images if images.dim() == 2 else self.pool(images))

    def embed(self, images: Tensor) -> Tensor:
        """(n, size, size, 3) uint8 RGB -> (n, embedding_size)."""
        return self.neck(self.pool(images))  # type: ignore[no-any-return]

    def pool(self, images: Tensor) -> Tensor:
        """(n, size, size, 3) uint8 RGB -> (n, pooled_size) features of the backbone, which the neck takes."""
        return self.pool_maps(self.maps(images))

    def maps(self, images: Tensor) -> Tensor:
        """(n, size, size, 3) uint8 RGB -> the last features of the backbone that belong to places of the image:
        (n, features, h, w), (n, h, w, features), or of a transformer (n, tokens, features)."""
        # The permuted view is in channels_last order already: no copy, and convolutions are faster on it.
        pixels = (images.permute(0, 3, 1, 2).float() - self.mean) / self.std
        return self.backbone.forward_features(pixels)  # type: ignore[operator,no-any-return]

    def classify(self, pooled: Tensor) -> dict[str, Tensor]:
        """(n, pooled_size) features of `pool` -> {head: (n, classes)} margin-free logits, float32."""
        views = self.dropout(self.neck(pooled))
        return {name: torch.stack([head(v).float() for v in views]).mean(dim=0) for name, head in self.heads.items()}

    def pool_maps(self, features: Tensor) -> Tensor:
        """What `maps` returns -> (n, pooled_size)."""
        if self.gem is None:
            return self.backbone.forward_head(features, pre_logits=True)  # type: ignore[operator,no-any-return]
        if features.dim() == 4 and features.shape[1] == self.features:
            return self.gem(features.flatten(2).transpose(1, 2))  # type: ignore[no-any-return]
        # Class and register tokens come first; they are no positions.
        tokens = 0 if features.dim() == 4 else int(getattr(self.backbone, "num_prefix_tokens", 0))
        return self.gem(features.flatten(1, -2)[:, tokens:])  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> Classifier:
        super().train(mode)
        if self.probe:
            self.backbone.eval()
        elif self.freeze_norm:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


def build_classifier(
    heads: Mapping[str, int],
    *,
    backbone: str = "embedded",
    weights: str = "auto",
    pooling: str = "own",
    neck: str = "linear-bn",
    embedding_size: int = 512,
    dropout: float = 0.0,
    dropout_samples: int = 1,
    drop_path: float = 0.0,
    head: str = "arcface",
    scale: float = 20.0,
    tuning: str = "full",
    tuned_stages: int = 1,
    lora_rank: int = 8,
    lora_targets: Sequence[str] = ("qkv", "proj"),
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
        ModelError: an unknown backbone, weights that do not fit, an image size that the network cannot take, a tuning
            that it does not have.
    """
    base = create_backbone(backbone, weights=weights, drop_path=drop_path, image_size=image_size)
    base = replace(base, mean=mean or base.mean, std=std or base.std)
    if pooling in {"avg", "token"}:
        _set_pooling(base.net, backbone, pooling)
    pooled = _pooled_width(base, backbone, gem=pooling == "gem")
    neck_module, width = build_neck(neck, pooled, embedding_size)
    made: dict[str, nn.Module] = {
        name: CosineHead(width, n, scale=scale) if head == "arcface" else nn.Linear(width, n)
        for name, n in heads.items()
    }
    drop = MultiSampleDropout(dropout, dropout_samples)
    # After the neck and the heads: of one seed, they start alike with every tuning.
    tune_backbone(
        base.net, tuning, freeze_stages=freeze_stages, tuned_stages=tuned_stages, lora_rank=lora_rank,
        lora_targets=lora_targets,
    )  # fmt: skip
    model = Classifier(
        base, (neck_module, width), made, drop, pooled_size=pooled, gem=pooling == "gem",
        freeze_norm=freeze_norm or tuning == "lora", probe=tuning == "probe",
    )  # fmt: skip
    # train(): the probe for the width left the backbone in evaluation mode.
    return model.to(memory_format=torch.channels_last).train(), base.image_size


def take_over(model: Classifier, weights: Mapping[str, Tensor], *, image_size: int, origin: str) -> list[str]:
    """Copy the weights of another run into a fresh model. Heads that do not fit keep their fresh weights.

    The other run may have another tuning or image size: what its adapters learned is in the weights afterwards, and
    position embeddings are resampled.

    Args:
        weights: named as those of the model.
        image_size: of the other run.
        origin: what the weights are, for the message.

    Returns:
        The names of the tensors that were left fresh.

    Raises:
        ModelError: the backbone does not fit.
    """
    if image_size != model.image_size:
        with suppress(ModelError):  # of a backbone of another kind, which is said below
            set_image_size(model.backbone, image_size)
    own, given = model.state_dict(), merged(weights)
    fits = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    fresh = [k for k in own if k not in fits and not is_adapter(k)]
    misfit = [k for k in fresh if k.startswith("backbone.")]
    if misfit:
        raise ModelError(
            f"{origin} has another backbone: {misfit[0]} does not fit.",
            hint="Use the same model.backbone as that run.",
        )
    model.load_state_dict({**own, **fits})
    if image_size != model.image_size:
        set_image_size(model.backbone, model.image_size)
    return fresh


def _set_pooling(net: nn.Module, name: str, pooling: str) -> None:
    """Pool by the mean of all positions (`avg`) or by the class token (`token`), whatever the network's own way is."""
    try:
        net.reset_classifier(0, pooling)  # type: ignore[operator]
    except (AssertionError, ValueError, NotImplementedError, TypeError) as error:
        problem = "has no class token" if pooling == "token" else f"has no such pooling ({error})"
        raise ModelError(
            f"model.pooling {pooling}: {name} {problem}.", hint="Use model.pooling=own, the backbone's own, or gem."
        ) from error


def _pooled_width(base: Backbone, name: str, *, gem: bool) -> int:
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
    return base.features if gem else int(width)
