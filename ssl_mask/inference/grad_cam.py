"""Which places of an image speak for a class: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391), by captum.

The gradient of a class's score says how much each channel of the last features counts; the sum of the channels, so
weighted, says where in the image that evidence is. Of a transformer the features are the tokens that enter its last
block: behind it, a class token alone may be read, and then no other token has a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ssl_mask.errors import InputError, ModelError
from ssl_mask.models.classifier import Classifier


def need_captum() -> None:
    """Raises InputError when captum is not installed."""
    try:
        import captum.attr  # noqa: F401
    except ImportError as error:
        raise InputError("--explain needs captum.", hint='Install it: pip install "sslmask[explain]"') from error


def heat_maps(model: Classifier, images: Tensor, head: str, classes: Sequence[int]) -> NDArray[np.float32]:
    """Where in each image the evidence for a class is.

    Args:
        model: is set to evaluation; its weights are left alone.
        images: (n, size, size, 3) uint8 RGB, on the device of the model.
        head: whose score is explained.
        classes: of the head, one for each image.

    Returns:
        (n, h, w) from 0 up, of equal parts of the image; h and w are those of the last features.

    Raises:
        ModelError: a network whose last features do not belong to places of the image.
    """
    from captum.attr import LayerGradCam

    scored = ScoredPlaces(model.eval(), head)
    # Of a frozen backbone the features have a gradient only where the image has one.
    pixels = images.float().requires_grad_()
    with torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
        found = LayerGradCam(scored, scored.places).attribute(pixels, [*classes], relu_attributions=True)
    maps: NDArray[np.float32] = found[:, 0].detach().cpu().numpy()
    return maps


class ScoredPlaces(nn.Module):
    """A classifier with one head, whose last features pass through `places` as (n, channels, h, w)."""

    def __init__(self, model: Classifier, head: str) -> None:
        super().__init__()
        self.model, self.head = model, head
        self.places = nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, size, size, 3) RGB -> (n, classes) margin-free logits. Raises ModelError as `heat_maps`."""
        block = last_block(self.model.backbone)
        if block is None:
            pooled = self.model.pool_maps(self._maps(self.model.maps(pixels)))
        else:
            with block.register_forward_pre_hook(self._tokens):
                pooled = self.model.pool(pixels)
        return self.model.classify(pooled)[self.head]

    def _maps(self, maps: Tensor) -> Tensor:
        if maps.dim() != 4:
            raise self._no_places()
        if maps.shape[1] == self.model.features:
            return self.places(maps)  # type: ignore[no-any-return]
        return self.places(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # type: ignore[no-any-return]

    def _tokens(self, _block: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """Class and register tokens come first; they are no places."""
        tokens, *others = given
        net: Any = self.model.backbone
        first, (height, width) = net.num_prefix_tokens, net.patch_embed.grid_size
        if tokens.dim() != 3 or tokens.shape[1] != first + height * width:
            raise self._no_places()
        places = self.places(tokens[:, first:].transpose(1, 2).unflatten(2, (height, width)))
        return (torch.cat([tokens[:, :first], places.flatten(2).transpose(1, 2)], dim=1), *others)

    def _no_places(self) -> ModelError:
        return ModelError(
            f"The last features of {type(self.model.backbone).__name__} do not belong to places of the image.",
            hint="Leave out --explain: it needs a convolutional network or a vision transformer of timm.",
        )


def last_block(net: Any) -> nn.Module | None:
    """The last block of a transformer whose patches keep their places; None of another network."""
    grid = getattr(getattr(net, "patch_embed", None), "grid_size", None)
    if grid is None or not hasattr(net, "num_prefix_tokens") or not len(getattr(net, "blocks", ())):
        return None
    block: nn.Module = net.blocks[-1]
    return block
