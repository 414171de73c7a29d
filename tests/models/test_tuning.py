"""Which weights of the backbone train: stages counted by hand, adapters against full training, a probe that stays."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_mask.errors import ModelError
from ssl_mask.models.classifier import Classifier, build_classifier
from ssl_mask.models.lora import LoraLinear, merged

VIT = {"backbone": "test_vit", "image_size": 160}


def build(backbone: str = "test_efficientnet", **options: Any) -> Classifier:
    settings: dict[str, Any] = {"weights": "none", "embedding_size": 16, "image_size": 64, **options}
    torch.manual_seed(0)
    return build_classifier({"shape": 3}, backbone=backbone, **settings)[0]


def images(size: int = 64, n: int = 4) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, size, size, 3), generator=rng, dtype=torch.uint8)


def trained(model: Classifier) -> set[str]:
    return {name for name, p in model.backbone.named_parameters() if p.requires_grad}


def names(model: Classifier, *starts: str) -> set[str]:
    return {name for name, _ in model.backbone.named_parameters() if name.startswith(starts)}


@pytest.mark.parametrize(
    ("backbone", "size", "count", "starts"),
    [
        ("test_efficientnet", 64, 1, ["blocks.4.", "conv_head.", "bn2."]),
        ("test_efficientnet", 64, 2, ["blocks.3.", "blocks.4.", "conv_head.", "bn2."]),
        ("test_convnext", 64, 1, ["stages.3.", "head."]),
        ("test_vit", 160, 2, ["blocks.4.", "blocks.5.", "norm."]),
        ("test_vit3", 160, 1, ["blocks.8.", "norm.", "attn_pool."]),  # as SigLIP: attention pools
        ("test_resnet", 64, 4, ["layer"]),
    ],
)
def test_last_n_trains_the_last_stages_and_what_is_above(
    backbone: str, size: int, count: int, starts: list[str]
) -> None:
    model = build(backbone, tuning="last-n", tuned_stages=count, image_size=size)
    assert trained(model) == names(model, *starts)
    assert all(p.requires_grad for part in (model.neck, model.heads) for p in part.parameters())


def test_all_stages_of_last_n_are_all_weights() -> None:
    assert trained(build(tuning="last-n", tuned_stages=6)) == names(build(), "")


def test_more_tuned_stages_than_there_are_is_refused() -> None:
    with pytest.raises(ModelError, match=r"model\.tuned_stages is 7, but the backbone has only 6 stages"):
        build(tuning="last-n", tuned_stages=7)


@pytest.mark.parametrize("pooling", ["avg", "gem"])
def test_what_a_probe_pools_never_changes(pooling: str) -> None:
    """Neither weights nor batch-norm statistics move, and nothing is random: features can be stored."""
    model = build("test_resnet", tuning="probe", pooling=pooling, dropout=0.5)
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    pooled = model.pool(images())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        model.train()(images())["shape"].square().sum().backward()
        optimizer.step()
    assert not pooled.requires_grad and torch.equal(model.train().pool(images()), pooled)
    assert all(torch.equal(before[k], v) for k, v in model.backbone.state_dict().items())
    assert all(p.grad is not None for part in (model.neck, model.heads) for p in part.parameters())


@pytest.mark.parametrize(
    ("backbone", "options"),
    [("test_resnet", {}), ("test_vit3", {"image_size": 160}), ("test_resnet", {"pooling": "gem"})],
)
def test_images_through_pool_and_classify_are_images_through_the_model(backbone: str, options: dict[str, Any]) -> None:
    model, batch = build(backbone, **options).eval(), images(options.get("image_size", 64))
    pooled = model.pool(batch)
    assert pooled.shape == (4, model.pooled_size)
    assert torch.equal(model.classify(pooled)["shape"], model(batch)["shape"])
    assert torch.equal(model.neck(pooled), model.embed(batch))


def test_heads_of_a_seed_start_alike_with_every_tuning() -> None:
    full = build(**VIT)
    for tuning in ("last-n", "lora", "probe"):
        model = build(**VIT, tuning=tuning)
        for part in ("neck", "heads", "backbone"):
            own = getattr(model, part).state_dict()
            assert all(torch.equal(own[k], v) for k, v in getattr(full, part).state_dict().items())


def test_adapters_change_nothing_at_the_start_and_are_all_that_trains() -> None:
    full, model = build(**VIT), build(**VIT, tuning="lora", lora_rank=4)
    batch = images(160)
    torch.testing.assert_close(model.eval()(batch)["shape"], full.eval()(batch)["shape"])
    adapters = {f"blocks.{i}.attn.{layer}.lora_{ab}" for i in range(6) for layer in ("qkv", "proj") for ab in "ab"}
    assert trained(model) == adapters
    model.train()(batch)["shape"].square().sum().backward()
    moved = {name for name, p in model.backbone.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {name for name in adapters if name.endswith("b")}  # A moves once B is not zero


def test_at_full_rank_a_step_of_an_adapter_is_a_step_of_the_weight() -> None:
    """With A the identity, W + B A moves exactly as W does: LoRA can do what full training does."""
    torch.manual_seed(0)
    full = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)).double()
    lora = copy.deepcopy(full)
    for number in (0, 2):
        layer = lora[number] = LoraLinear(lora[number].requires_grad_(False), 6)  # type: ignore[arg-type]
        with torch.no_grad():
            layer.lora_a.copy_(torch.eye(6)).requires_grad_(False)
    trains = [
        [p for n, p in full.named_parameters() if "weight" in n],
        [p for p in lora.parameters() if p.requires_grad],
    ]
    optimizers = [torch.optim.Adam(parameters, lr=0.05) for parameters in trains]
    batch = torch.randn(5, 6, dtype=torch.float64)
    for _ in range(4):
        for model, optimizer in zip((full, lora), optimizers, strict=True):
            optimizer.zero_grad()
            model(batch).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(lora(batch), full(batch), rtol=0, atol=1e-12)
    for number in (0, 2):
        torch.testing.assert_close(lora[number].weight, full[number].weight, rtol=0, atol=1e-12)


def with_learned_adapters(**options: Any) -> Classifier:
    model = build(**{**VIT, "tuning": "lora", **options})
    with torch.no_grad():
        for name, p in model.backbone.named_parameters():
            if name.endswith("lora_b"):
                p.normal_(generator=torch.Generator().manual_seed(1))
    return model.eval()


def test_merged_adapters_are_a_plain_network_that_says_the_same() -> None:
    model, plain = with_learned_adapters(), build(**VIT).eval()
    batch, before = images(160), build(**VIT).eval()(images(160))["shape"]
    plain.load_state_dict(merged(model.state_dict()))
    torch.testing.assert_close(plain(batch)["shape"], model(batch)["shape"], rtol=1e-4, atol=1e-4)
    assert (plain(batch)["shape"] - before).abs().max() > 0.01
    assert merged(plain.state_dict()).keys() == plain.state_dict().keys()


def test_a_network_that_reads_the_weight_itself_is_adapted_too() -> None:
    """timm's EVA and BEiT call `F.linear` with the weight of `qkv`, not the layer."""
    layer = LoraLinear(nn.Linear(3, 5), 2)
    nn.init.normal_(layer.lora_b)
    batch = torch.randn(4, 3)
    torch.testing.assert_close(nn.functional.linear(batch, layer.weight, layer.bias), layer(batch))
    layer.weight.sum().backward()
    assert layer.lora_b.grad is not None


@pytest.mark.parametrize(
    ("backbone", "hint"),
    [
        ("test_convnext", "Set model.lora_targets to some of fc1, fc2, or choose model.tuning=last-n."),
        ("test_resnet", "Choose model.tuning=last-n."),
    ],
)
def test_a_network_without_such_layers_is_refused_with_what_it_has(backbone: str, hint: str) -> None:
    with pytest.raises(ModelError, match=r"no linear layer whose name ends in qkv or proj") as caught:
        build(backbone, tuning="lora")
    assert caught.value.hint == hint


def test_targets_are_whole_ends_of_names() -> None:
    model = build("test_convnext", tuning="lora", lora_targets=("mlp.fc1",))
    assert trained(model) and all(".mlp.fc1.lora_" in name for name in trained(model))
    with pytest.raises(ModelError):
        build("test_convnext", tuning="lora", lora_targets=("c1",))


def test_batch_statistics_beside_adapters_stay() -> None:
    model = build(**VIT, tuning="lora").train()
    assert model.freeze_norm and model.backbone.training


@pytest.mark.parametrize("count", [0, 1, 3])
def test_freezing_takes_the_stem_and_the_first_stages(count: int) -> None:
    model = build("tf_efficientnet_lite0", freeze_stages=count)
    starts = ("conv_stem.", "bn1.", *(f"blocks.{i}." for i in range(count - 1)))
    assert trained(model) == names(model, "") - (names(model, *starts) if count else set())


def test_more_stages_than_there_are_is_refused() -> None:
    with pytest.raises(ModelError, match=r"model\.freeze_stages is 99, but"):
        build(freeze_stages=99)
