"""The classifier: bytes in, logits per head out, and each of its options against a hand calculation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_mask.errors import ModelError
from ssl_mask.models.backbones import create_backbone
from ssl_mask.models.classifier import Classifier, build_classifier
from ssl_mask.models.heads import CosineHead, GeM, build_neck

HEADS = {"shape": 3, "colour": 2}


def build(backbone: str = "test_efficientnet", **options: Any) -> Classifier:
    settings = {"weights": "none", "embedding_size": 16, **options}
    return build_classifier(HEADS, backbone=backbone, **settings)[0]


def photos(size: int = 160, n: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, size, size, 3), generator=rng, dtype=torch.uint8)


@pytest.mark.parametrize("backbone", ["test_vit", "test_efficientnet", "test_convnext"])
@pytest.mark.parametrize("pooling", ["avg", "gem"])
def test_every_family_and_pooling_gives_logits_a_head(backbone: str, pooling: str) -> None:
    logits = build(backbone, pooling=pooling).eval()(photos())
    assert {name: tuple(z.shape) for name, z in logits.items()} == {"shape": (2, 3), "colour": (2, 2)}
    assert all(z.dtype == torch.float32 and z.isfinite().all() for z in logits.values())


def test_embedded_normalises_as_its_weights_expect() -> None:
    model, size = build_classifier({"class": 2}, image_size=64, neck="none")
    assert size == 64
    images = photos(64)
    pixels = (images.permute(0, 3, 1, 2).double() / 255 - 127 / 255) / (128 / 255)
    net = create_backbone("embedded").net.eval()
    with torch.no_grad():
        torch.testing.assert_close(model.eval().embed(images), net(pixels.float()), atol=1e-4, rtol=1e-4)


def test_own_mean_and_std_replace_the_backbones() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    model = build(mean=mean, std=std, neck="none").eval()
    pixels = torch.stack([(photos()[..., c].float() / 255 - mean[c]) / std[c] for c in range(3)], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(model.embed(photos()), model.backbone(pixels), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("head", ["arcface", "linear"])
def test_logits_stay_float32_under_bf16(head: str) -> None:
    model = build(head=head).eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        logits = model(photos())
    assert {z.dtype for z in logits.values()} == {torch.float32}


@pytest.mark.parametrize("scale", [5.0, 30.0])
def test_cosine_logits_stay_within_the_scale(scale: float) -> None:
    head = CosineHead(8, 4, scale=scale)
    embedding = torch.cat([100 * torch.randn(50, 8), head.weight.detach(), -head.weight.detach()])
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(embedding)
    expected = scale * nn.functional.cosine_similarity(embedding[:, None], head.weight[None], dim=2)
    assert logits.dtype == torch.float32 and logits.abs().max() <= scale * (1 + 1e-5)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_several_dropout_masks_are_averaged_and_off_in_eval() -> None:
    model = build(dropout=0.5, dropout_samples=3, neck="none", freeze_norm=True).train()
    views: list[Tensor] = []
    hook = model.dropout.register_forward_hook(lambda _, __, out: views.extend(out))
    logits = model(photos())["shape"]
    assert len(views) == 3 and not torch.equal(views[0], views[1])
    torch.testing.assert_close(logits, sum(model.heads["shape"](v) for v in views) / 3)
    hook.remove()
    assert all(
        torch.equal(a, b) for a, b in zip(model.eval()(photos()).values(), model(photos()).values(), strict=True)
    )


def test_gem_of_power_one_is_the_mean_and_of_high_power_the_maximum() -> None:
    features = torch.rand(3, 49, 8) + 0.1
    torch.testing.assert_close(GeM(1.0)(features), features.mean(dim=1))
    torch.testing.assert_close(GeM(60.0)(features), features.amax(dim=1), rtol=0.08, atol=0.0)


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_convnext", "test_vit"])
def test_gem_pools_positions_and_not_channels(backbone: str) -> None:
    model = build(backbone, pooling="gem", neck="none").eval()
    seen: list[Tensor] = []
    assert model.gem is not None
    model.gem.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    width = model.embed(photos()).shape[1]
    features = model.backbone.forward_features(torch.zeros(2, 3, 160, 160))
    # The first token of the transformer is its class token.
    positions = features.shape[1] - 1 if features.dim() == 3 else features[0, 0].numel()
    assert seen[0].shape == (2, positions, width) and width == model.features


@pytest.mark.parametrize(
    ("kind", "layers"),
    [("none", []), ("linear-bn", ["Linear", "BatchNorm1d"]), ("linear-bn-prelu", ["Linear", "BatchNorm1d", "PReLU"])],
)
def test_necks(kind: str, layers: list[str]) -> None:
    neck, width = build_neck(kind, 24, 16)
    assert [type(m).__name__ for m in neck.children()] == layers
    assert neck(torch.randn(4, 24)).shape == (4, width) and width == (16 if layers else 24)


def statistics(model: Classifier) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in model.backbone.state_dict().items() if "running" in k}


@pytest.mark.parametrize("freeze", [True, False])
def test_freeze_norm_keeps_the_statistics_in_training(freeze: bool) -> None:
    model = build(freeze_norm=freeze).train()
    before = statistics(model)
    model(photos(n=4))
    kept = all(torch.equal(before[k], v) for k, v in statistics(model).items())
    assert before and kept is freeze and model.training


def test_frozen_stages_get_no_gradient() -> None:
    model = build(freeze_stages=1)
    model(photos())["shape"].sum().backward()
    assert model.backbone.conv_stem.weight.grad is None  # type: ignore[union-attr]
    assert model.heads["shape"].weight.grad is not None


def test_an_image_size_that_the_network_refuses_is_named() -> None:
    """Without this, the pixels of the last columns would not be seen."""
    with pytest.raises(
        ModelError, match=r"model\.image_size: 100 is not a multiple of the backbone's patch size 16"
    ) as e:
        build("test_vit", image_size=100)
    assert e.value.hint == "Use 96 or 112."
    with pytest.raises(ModelError, match=r"model\.image_size: test_coatnet cannot take images of 100 px"):
        build("test_coatnet", image_size=100)


def test_a_state_dict_is_all_that_prediction_needs() -> None:
    trained, fresh = build(mean=(0.1, 0.2, 0.3)).eval(), build().eval()
    fresh.load_state_dict(trained.state_dict())
    torch.testing.assert_close(fresh(photos())["shape"], trained(photos())["shape"])
