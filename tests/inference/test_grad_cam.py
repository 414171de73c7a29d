"""Grad-CAM against a slow calculation by hand, and on networks of which it is known where they look."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_mask.errors import InputError, ModelError
from ssl_mask.inference.grad_cam import heat_maps, need_captum
from ssl_mask.models.backbones import Backbone
from ssl_mask.models.classifier import Classifier, build_classifier

pytest.importorskip("captum", reason="sslmask[explain] is not installed")
HEADS = {"kind": 3, "cover": 2}
NETWORKS: dict[str, dict[str, Any]] = {
    "convolutions": {"backbone": "test_convnext", "image_size": 96},
    "gem": {"backbone": "test_convnext", "image_size": 96, "pooling": "gem"},
    "frozen": {"backbone": "test_convnext", "image_size": 96, "tuning": "probe"},
    "class token": {"backbone": "test_vit", "image_size": 96},
    "mean of tokens": {"backbone": "test_vit", "image_size": 96, "pooling": "avg"},
    "frozen tokens": {"backbone": "test_vit", "image_size": 96, "tuning": "probe"},
}


def build(**options: Any) -> Classifier:
    torch.manual_seed(0)
    return build_classifier(HEADS, weights="none", embedding_size=16, **options)[0].eval()


def images(size: int, n: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, size, size, 3), generator=rng, dtype=torch.uint8)


def by_hand(model: Classifier, image: Tensor, head: str, number: int) -> np.ndarray:
    """Of one image: the gradient of the score by the last features, its mean over places, ReLU of the weighted sum."""
    net: Any = model.backbone
    pixels = (image[None].permute(0, 3, 1, 2).float() - model.mean) / model.std
    if hasattr(net, "cls_token"):
        with torch.no_grad():
            tokens = net._pos_embed(net.patch_embed(pixels))
            for block in net.blocks[:-1]:
                tokens = block(tokens)
        features = tokens.clone().requires_grad_()
        score = model.classify(net.forward_head(net.norm(net.blocks[-1](features)), pre_logits=True))[head][0, number]
        (gradient,) = torch.autograd.grad(score, features)
        values, slopes = features[0, 1:].detach().numpy(), gradient[0, 1:].numpy()
        side = round(len(values) ** 0.5)
        values, slopes = (a.reshape(side, side, -1).transpose(2, 0, 1) for a in (values, slopes))
    else:
        features = net.forward_features(pixels).detach().requires_grad_()
        gem = model.gem
        pooled = gem(features.flatten(2).mT) if gem else net.forward_head(features, pre_logits=True)
        (gradient,) = torch.autograd.grad(model.classify(pooled)[head][0, number], features)
        values, slopes = features[0].detach().numpy(), gradient[0].numpy()
    found = np.zeros(values.shape[1:])
    for channel in range(len(values)):
        weight = float(slopes[channel].mean())
        for row in range(found.shape[0]):
            for column in range(found.shape[1]):
                found[row, column] += weight * float(values[channel, row, column])
    return np.maximum(found, 0)


@pytest.mark.parametrize("network", NETWORKS)
def test_it_is_what_is_calculated_by_hand(network: str) -> None:
    model, pixels = build(**NETWORKS[network]), images(96)
    for head, classes in {"kind": [2, 0], "cover": [1, 1]}.items():
        maps = heat_maps(model, pixels, head, classes)
        expected = np.stack([by_hand(model, i, head, c) for i, c in zip(pixels, classes, strict=True)])
        assert maps.shape == expected.shape and maps.min() >= 0 and expected.max() > 0
        np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-3 * expected.max())


class Corner(nn.Module):
    """Sees the mean red of each eighth by eighth, but nothing outside of the upper right corner."""

    def forward_features(self, pixels: Tensor) -> Tensor:
        eighths = nn.functional.avg_pool2d(pixels, pixels.shape[-1] // 8)
        corner = torch.zeros(8, 8)
        corner[:2, 6:] = 1.0
        return eighths[:, :1] * corner

    def forward_head(self, features: Tensor, pre_logits: bool) -> Tensor:
        return features.mean(dim=(2, 3)) if pre_logits else features


def test_of_a_network_that_sees_one_corner_the_heat_is_there() -> None:
    backbone = Backbone(Corner(), 1, 64, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    head = nn.Linear(1, 2)
    head.weight.data, head.bias.data = torch.tensor([[1.0], [-1.0]]), torch.zeros(2)
    model = Classifier(
        backbone, (nn.Identity(), 1), {"red": head}, nn.Identity(), pooled_size=1, gem=False, freeze_norm=False,
        probe=False,
    )  # fmt: skip
    model.dropout = _Once()
    red, other = heat_maps(model, images(64), "red", [0, 1])
    assert (red[:2, 6:] > 0).all() and red.sum() == red[:2, 6:].sum()
    assert other.sum() == 0  # no place speaks for it


class _Once(nn.Module):
    def forward(self, embedding: Tensor) -> list[Tensor]:
        return [embedding]


def corners(n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images of noise whose class is the colour of a spot in one corner."""
    pixels = torch.randint(90, 160, (n, 96, 96, 3), generator=rng, dtype=torch.uint8)
    kinds = torch.randint(2, (n,), generator=rng)
    for i, kind in enumerate(kinds.tolist()):
        pixels[i, :32, 64:] = torch.tensor([230, 20, 20] if kind else [20, 20, 230], dtype=torch.uint8)
    return pixels, kinds


@pytest.mark.slow
@pytest.mark.parametrize("network", ["class token", "convolutions"])
def test_a_network_that_learned_from_one_corner_looks_there(network: str) -> None:
    model, rng = build(**NETWORKS[network], neck="none").train(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(15):
        pixels, kinds = corners(16, rng)
        loss = nn.functional.cross_entropy(model(pixels)["cover"], kinds)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pixels, kinds = corners(16, rng)
    maps = heat_maps(model, pixels, "cover", kinds.tolist())
    with torch.no_grad():
        assert (model(pixels)["cover"].argmax(1) == kinds).float().mean() > 0.9
    cells = maps.shape[1] // 3
    share = maps[:, :cells, -cells:].sum() / maps.sum()
    assert share > 0.5  # in a ninth of the area


def test_the_weights_and_their_gradients_are_left_alone() -> None:
    model = build(**NETWORKS["class token"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    heat_maps(model, images(96), "kind", [0, 1])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not model.backbone.blocks[-1]._forward_pre_hooks


def test_a_network_with_tokens_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(**NETWORKS["class token"])
    embed = model.backbone._pos_embed
    monkeypatch.setattr(model.backbone, "_pos_embed", lambda x: torch.cat([embed(x), embed(x)[:, :1]], dim=1))
    with pytest.raises(ModelError, match="do not belong to places"):
        heat_maps(model, images(96), "kind", [0, 1])
    assert not model.backbone.blocks[-1]._forward_pre_hooks


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(InputError, match="--explain needs captum") as caught:
        need_captum()
    assert "sslmask[explain]" in caught.value.hint
