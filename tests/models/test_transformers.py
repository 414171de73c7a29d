"""Transformers and ConvNeXt: image sizes, position embeddings, pooling, and weights of another size or tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from ssl_mask.errors import ModelError
from ssl_mask.models import backbones
from ssl_mask.models.classifier import Classifier, build_classifier, take_over
from ssl_mask.models.weights import set_image_size

TINY = {"depth": 2, "embed_dim": 48, "num_heads": 2}
FAMILIES: dict[str, tuple[str, dict[str, Any], int]] = {
    # As CLIP: a norm before the blocks. DINOv2: layer scale. DINOv3: rotary positions, registers. Swin: windows.
    "clip": ("vit_base_patch32_clip_224", TINY, 96),
    "dinov2": ("vit_small_patch14_reg4_dinov2", TINY, 112),
    "dinov3": ("vit_small_patch16_dinov3", TINY, 112),
    "siglip": ("vit_base_patch16_siglip_224", TINY, 112),
    "beit": ("beit_base_patch16_224", TINY, 112),
    "swin": ("swin_tiny_patch4_window7_224", {"depths": (1, 1), "embed_dim": 24, "num_heads": (2, 2)}, 112),
    "convnext": ("test_convnext", {}, 64),
}
"""A network of timm, how it is made small, and an image size that is not its own."""


def build(backbone: str, **options: Any) -> Classifier:
    settings: dict[str, Any] = {"weights": "none", "embedding_size": 16, **options}
    torch.manual_seed(0)
    return build_classifier({"shape": 3}, backbone=backbone, **settings)[0]


def images(size: int, n: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, size, size, 3), generator=rng, dtype=torch.uint8)


def made_small(name: str, patch: pytest.MonkeyPatch) -> tuple[str, int]:
    """The name and the image size of a family, whose networks are small from now on."""
    create, (network, small, size) = timm.create_model, FAMILIES[name]
    patch.setattr(backbones.timm, "create_model", lambda given, **options: create(given, **{**small, **options}))
    return network, size


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    return made_small(request.param, monkeypatch)


def test_every_family_trains_at_another_image_size(family: tuple[str, int]) -> None:
    name, size = family
    model = build(name, image_size=size).train()
    logits = model(images(size))["shape"]
    logits.square().sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None]
    assert logits.shape == (2, 3) and logits.isfinite().all() and silent == []
    assert model.image_size == size


def test_every_family_can_be_probed_and_predicts_from_its_weights_alone(family: tuple[str, int]) -> None:
    name, size = family
    model = build(name, image_size=size, tuning="probe").train()
    pooled = model.pool(images(size))
    assert torch.equal(model.pool(images(size)), pooled) and pooled.shape == (2, model.pooled_size)
    fresh = build(name, image_size=size)
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(fresh.eval()(images(size))["shape"], model.eval()(images(size))["shape"])


def test_every_transformer_takes_adapters_that_learn(family: tuple[str, int]) -> None:
    name, size = family
    if name == "test_convnext":
        with pytest.raises(ModelError, match="no linear layer"):
            build(name, image_size=size, tuning="lora")
        return
    model = build(name, image_size=size, tuning="lora", lora_rank=2).train()
    model(images(size))["shape"].square().sum().backward()
    adapters = {n: p for n, p in model.backbone.named_parameters() if ".lora_" in n}
    assert {n for n, p in model.backbone.named_parameters() if p.requires_grad} == adapters.keys() != set()
    assert all(p.grad is not None and p.grad.any() for n, p in adapters.items() if n.endswith("lora_b"))


def test_position_embeddings_are_resampled_and_the_class_tokens_is_kept() -> None:
    own, other = build("test_vit"), build("test_vit", image_size=96)
    (before, after) = (m.backbone.pos_embed.detach() for m in (own, other))
    assert before.shape == (1, 101, 64) and after.shape == (1, 37, 64)
    torch.testing.assert_close(after, resample_abs_pos_embed(before, [6, 6]))
    assert torch.equal(after[:, 0], before[:, 0])
    assert all(
        torch.equal(v, other.backbone.state_dict()[k]) for k, v in own.backbone.state_dict().items() if k != "pos_embed"
    )


def write(state: dict[str, Tensor], folder: Path) -> Path:
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "w.safetensors")
    return folder / "w.safetensors"


@pytest.mark.parametrize("saved", [160, 96, 128])
def test_a_weight_file_of_any_image_size_fits(tmp_path: Path, saved: int) -> None:
    """Of the network's own size (160), of a run at this size (96), of a run at another one (128)."""
    given = build("test_vit", image_size=saved).state_dict()
    path = write(given, tmp_path)
    loaded = build("test_vit", image_size=96, weights=str(path)).backbone.state_dict()
    grid = saved // 16
    expected = resample_abs_pos_embed(given["backbone.pos_embed"], [6, 6], [grid, grid])
    torch.testing.assert_close(loaded.pop("pos_embed"), expected)
    assert all(torch.equal(v, given[f"backbone.{k}"]) for k, v in loaded.items())


def adapted(**options: Any) -> Classifier:
    """A network whose adapters have learned something."""
    tuned = build("test_vit", tuning="lora", **options).eval()
    with torch.no_grad():
        for name, p in tuned.named_parameters():
            if name.endswith("lora_b"):
                p.normal_(generator=torch.Generator().manual_seed(1))
    return tuned


@pytest.mark.parametrize("options", [{}, {"tuning": "lora", "lora_rank": 3}, {"tuning": "last-n"}, {"tuning": "probe"}])
def test_a_run_goes_on_from_one_with_adapters_whatever_its_own_tuning_is(options: dict[str, Any]) -> None:
    source, model = adapted(), build("test_vit", **options)
    trains = {n for n, p in model.named_parameters() if p.requires_grad}
    assert take_over(model, source.state_dict(), image_size=160, origin="best") == []
    torch.testing.assert_close(model.eval()(images(160))["shape"], source(images(160))["shape"], rtol=1e-4, atol=1e-4)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == trains


def test_a_run_goes_on_from_one_of_another_image_size() -> None:
    source, model = build("test_vit", image_size=160), build("test_vit", image_size=96, tuning="probe")
    with torch.no_grad():
        source.backbone.pos_embed.normal_()
    assert take_over(model, source.state_dict(), image_size=160, origin="best") == []
    expected = resample_abs_pos_embed(source.backbone.pos_embed, [6, 6])
    torch.testing.assert_close(model.backbone.pos_embed.detach(), expected.detach())
    assert model(images(96))["shape"].isfinite().all() and not model.backbone.pos_embed.requires_grad


def test_a_run_of_another_backbone_is_refused() -> None:
    source, model = build("test_efficientnet", image_size=100), build("test_vit")
    with pytest.raises(ModelError, match=r"best \(x\) has another backbone: backbone\.cls_token does not fit"):
        take_over(model, source.state_dict(), image_size=100, origin="best (x)")


def test_a_file_with_adapters_is_loaded_with_what_they_learned(tmp_path: Path) -> None:
    tuned = adapted()
    path = write(tuned.state_dict(), tmp_path)
    loaded = build("test_vit", weights=str(path)).eval()
    torch.testing.assert_close(loaded.pool(images(160)), tuned.pool(images(160)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pooling", ["own", "avg", "token"])
def test_pooling_of_a_transformer(pooling: str) -> None:
    model = build("test_vit", pooling=pooling, neck="none").eval()
    pixels = (images(160).permute(0, 3, 1, 2).float() - model.mean) / model.std
    with torch.no_grad():
        tokens = model.backbone.forward_features(pixels)
        expected = tokens[:, 1:].mean(dim=1) if pooling == "avg" else tokens[:, 0]
        torch.testing.assert_close(model.embed(images(160)), expected)


def test_attention_pooling_may_be_replaced() -> None:
    own, mean = build("test_vit3"), build("test_vit3", pooling="avg")
    assert any("attn_pool" in k for k in own.state_dict()) and not any("attn_pool" in k for k in mean.state_dict())
    assert mean.eval()(images(160))["shape"].isfinite().all()


@pytest.mark.parametrize("backbone", ["test_vit3", "test_convnext", "test_efficientnet"])
def test_a_class_token_that_is_not_there_is_refused(backbone: str) -> None:
    with pytest.raises(ModelError, match=rf"model\.pooling token: {backbone} has no class token"):
        build(backbone, pooling="token")


def test_frozen_windows_stay_frozen_when_the_image_size_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    name, size = made_small("swin", monkeypatch)
    model = build(name, tuning="probe")
    before = {n: p.shape for n, p in model.backbone.named_parameters()}
    set_image_size(model.backbone, size)
    assert any(p.shape != before[n] for n, p in model.backbone.named_parameters())
    assert not any(p.requires_grad for p in model.backbone.parameters())


def test_channels_last_changes_nothing_for_a_transformer() -> None:
    model = build("test_vit").eval()
    assert model.backbone.patch_embed.proj.weight.is_contiguous(memory_format=torch.channels_last)
    expected = model(images(160))["shape"]
    plain = model.to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(plain(images(160))["shape"], expected, rtol=1e-4, atol=1e-4)
