"""Backbones: weight files, and what is said when something does not fit."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from ssl_mask.errors import ModelError
from ssl_mask.models.backbones import create_backbone

SMALL = "test_efficientnet"


def test_unknown_name_is_answered_with_the_closest() -> None:
    with pytest.raises(ModelError, match=r"model\.backbone: timm has no model 'resnet81'") as caught:
        create_backbone("resnet81")
    assert "'resnet18'" in caught.value.hint


def write(state: dict[str, Any], path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_weights_come_back_from_a_file(tmp_path: Path, name: str) -> None:
    state = create_backbone(SMALL, weights="none").net.state_dict()
    path = write(state, tmp_path / name)
    loaded = create_backbone(SMALL, weights=str(path)).net.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_a_training_checkpoint_with_a_classifier_fits_too(tmp_path: Path) -> None:
    state = timm.create_model(SMALL, num_classes=7).state_dict()
    path = write({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "w.pth")
    loaded = create_backbone(SMALL, weights=str(path)).net.state_dict()
    assert torch.equal(loaded["conv_stem.weight"], state["conv_stem.weight"])


class Malice:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("by_torch", [True, False])
def test_code_in_a_weight_file_is_refused_and_not_run(tmp_path: Path, by_torch: bool) -> None:
    ran, path = tmp_path / "ran", tmp_path / "w.pth"
    if by_torch:
        torch.save({"conv_stem.weight": Malice(ran)}, path)
    else:
        path.write_bytes(pickle.dumps({"conv_stem.weight": Malice(ran)}))
    with pytest.raises(ModelError, match=r"w\.pth is damaged"):
        create_backbone(SMALL, weights=str(path))
    assert not ran.exists()


def test_a_file_of_another_network_is_refused_by_tensor(tmp_path: Path) -> None:
    state = create_backbone(SMALL, weights="none").net.state_dict()
    del state["bn1.weight"]
    with pytest.raises(ModelError, match=r"1 of \d+ tensors .*such as bn1\.weight"):
        create_backbone(SMALL, weights=str(write(state, tmp_path / "w.pth")))
    state["bn1.weight"] = torch.zeros(3)
    with pytest.raises(ModelError, match=r"1 of \d+ tensors .*such as bn1\.weight"):
        create_backbone(SMALL, weights=str(write(state, tmp_path / "w.pth")))


@pytest.mark.parametrize("name", ["absent.pth", "notes.txt", "broken.safetensors", "list.pth"])
def test_an_unusable_file_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "list.pth":
        torch.save([1, 2], path)
    elif name != "absent.pth":
        path.write_text("no weights")
    with pytest.raises(ModelError, match=name):
        create_backbone(SMALL, weights=str(path))


def test_a_failed_download_names_three_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ModelError, match="could not be downloaded: no route to host") as caught:
        create_backbone("resnet18")
    for way in ("model.weights=FILE", "model.backbone=embedded", "model.weights=none"):
        assert way in caught.value.hint


def test_a_download_error_without_words_is_still_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ModelError, match="could not be downloaded"):
        create_backbone("resnet18")
