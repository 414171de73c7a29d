"""Backbones: any timm model by name, and embedded ones, whose ImageNet weights come in Python packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from ssl_mask.errors import ModelError, did_you_mean
from ssl_mask.models.embedded import EMBEDDED, embedded_state
from ssl_mask.models.lean_timm import resolve_model_data_config, timm
from ssl_mask.models.weights import load_file_into, set_image_size


@dataclass(frozen=True)
class Backbone:
    """A feature extractor and what its pretrained weights expect."""

    net: nn.Module
    features: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def create_backbone(
    name: str, *, weights: str = "auto", drop_path: float = 0.0, image_size: int | None = None
) -> Backbone:
    """A timm network without its classifier.

    Args:
        name: of an embedded backbone, or a timm model name, with or without its `.tag`.
        weights: `auto` (pretrained), `none`, or a .safetensors/.pth file of the same network.
        drop_path: rate of stochastic depth, in [0, 1).
        image_size: width and height of its images in pixels; None: those of the pretrained network.

    Raises:
        ModelError: unknown name, weights that cannot be downloaded, read or do not fit, an image size that does not
            suit the network's patches.
    """
    packaged = EMBEDDED.get(name)
    timm_name = packaged.timm_name if packaged else name
    if not timm.is_model(timm_name):
        hint = did_you_mean(name.split(".", maxsplit=1)[0], [*EMBEDDED, *timm.list_models()])
        raise ModelError(f"model.backbone: timm has no model {name!r}.", hint=hint)
    net = _create(timm_name, download=weights == "auto" and packaged is None, drop_path=drop_path)
    expected: dict[str, Any] = resolve_model_data_config(net)
    if packaged:
        expected |= {"input_size": (3, packaged.image_size), "mean": packaged.mean, "std": packaged.std}
        if weights == "auto":
            net.load_state_dict(embedded_state(name))
    own_size = int(max(expected["input_size"][1:]))
    size = image_size or own_size
    if weights not in {"auto", "none"}:
        load_file_into(net, weights, size)
    elif size != own_size:
        set_image_size(net, size)
    mean, std = (tuple(map(float, expected[name])) for name in ("mean", "std"))
    return Backbone(net, int(net.num_features), size, mean, std)  # type: ignore[arg-type]


def _create(name: str, *, download: bool, drop_path: float) -> Any:
    options = {"drop_path_rate": drop_path} if drop_path else {}
    try:
        return timm.create_model(name, pretrained=download, num_classes=0, **options)
    except TypeError as error:
        raise ModelError(
            f"model.drop_path: {name} does not support it ({error}).", hint="Set it to 0, or choose another backbone."
        ) from error
    except Exception as error:  # hub clients raise many kinds: no network, no such file, no permission
        if not download:
            raise
        raise ModelError(
            f"The pretrained weights of {name} could not be downloaded: {_first_line(error)}",
            hint="Three ways out: --set model.weights=FILE.safetensors (weights that you have), "
            "--set model.backbone=embedded (needs no download), or --set model.weights=none (from scratch).",
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
