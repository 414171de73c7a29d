"""The backbones of the presets: timm has them with pretrained weights, and they can be built as the preset asks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
import torch

from ssl_mask.config import resolve
from ssl_mask.models.classifier import build_classifier
from ssl_mask.models.embedded import EMBEDDED

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
TRANSFORMERS = ["probe_gpu", "lora_gpu", "siglip_gpu", "convnext_gpu"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_backbone_that_a_preset_names_has_pretrained_weights(path: Path) -> None:
    asked = resolve([{"preset": path.stem}], has_gpu=lambda: False).model.backbone
    advised = re.findall(r"model\.backbone=(\S+)", path.read_text(encoding="utf-8"))
    known = {*timm.list_pretrained(), *EMBEDDED}
    assert [name for name in (asked, *advised) if name not in known] == []


@pytest.mark.slow
@pytest.mark.parametrize("preset", TRANSFORMERS)
def test_a_preset_of_a_large_backbone_takes_a_step(preset: str) -> None:
    settings = resolve([{"preset": preset}], has_gpu=lambda: False).model.model_dump(exclude={"sync_norm"})
    model, size = build_classifier({"shape": 3}, **{**settings, "weights": "none"})
    model(torch.zeros(2, size, size, 3, dtype=torch.uint8))["shape"].square().sum().backward()
    trained = [n for n, p in model.named_parameters() if p.requires_grad]
    assert all(p.grad is not None for n, p in model.named_parameters() if n in set(trained))
    assert any(n.startswith("backbone.") for n in trained) is (settings["tuning"] != "probe")
