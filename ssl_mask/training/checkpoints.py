"""Two files: the best weights with all that is needed to predict, and the state needed to continue.

Neither can run code when it is loaded: safetensors, and `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssl_mask.errors import ModelError
from ssl_mask.files import atomic_path
from ssl_mask.training.loop import Training

FORMAT = "1"


@dataclass(frozen=True)
class Checkpoint:
    """Best weights, and what they are: model section, size, schema, temperatures, scores."""

    weights: dict[str, Tensor]
    about: dict[str, Any]


def save_checkpoint(path: Path, model: nn.Module, about: Mapping[str, Any]) -> None:
    """Write a model's weights; `about` (JSON-able) goes into the file's header."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    with atomic_path(path) as partial:
        save_file(tensors, partial, metadata={"format": FORMAT, "sslmask": json.dumps(about)})


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ModelError: missing, damaged, or not one of ours.
    """
    if not path.is_file():
        raise ModelError(f"No checkpoint {path}.", hint="The run has not been evaluated yet: resume it.")
    try:
        with safe_open(path, framework="pt") as header:
            metadata = header.metadata() or {}
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"The checkpoint {path} is damaged: {error}") from error
    if "sslmask" not in metadata:
        raise ModelError(f"{path} was not written by sslmask.", hint="Foreign weights go to model.weights=FILE.")
    return Checkpoint(dict(weights), json.loads(metadata["sslmask"]))


def save_state(path: Path, training: Training, progress: Mapping[str, Any]) -> None:
    """Write all that continuing needs. `progress` is plain data (step, best score, …)."""
    accelerator = training.accelerator
    content = {
        "model": accelerator.unwrap_model(training.model).state_dict(),
        "ema": training.ema.module.state_dict() if training.ema is not None else None,
        "optimizer": training.optimizer.state_dict(),
        "schedule": training.schedule.state_dict(),
        "algorithm": training.algorithm.state_dict(),
        "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else None,
        "progress": dict(progress),
    }
    with atomic_path(path) as partial:
        torch.save(content, partial)


def load_state(path: Path, training: Training) -> dict[str, Any]:
    """Put a saved state back; returns its `progress`.

    Raises:
        ModelError: missing, damaged, or of another network.
    """
    if not path.is_file():
        raise ModelError(f"No saved state {path}.", hint="The run stopped before its first save: start it anew.")
    try:
        content = torch.load(path, map_location=training.accelerator.device, weights_only=True)
        training.accelerator.unwrap_model(training.model).load_state_dict(content["model"])
        if training.ema is not None:
            training.ema.module.load_state_dict(content["ema"])
        training.optimizer.load_state_dict(content["optimizer"])
        training.algorithm.load_state_dict(content["algorithm"])
        if training.accelerator.scaler is not None and content["scaler"] is not None:
            training.accelerator.scaler.load_state_dict(content["scaler"])
    except Exception as error:  # torch raises many kinds for a damaged or foreign file
        raise ModelError(f"Cannot continue from {path}: {str(error).splitlines()[0]}") from error
    training.schedule.load_state_dict(content["schedule"])
    return dict(content["progress"])


def init_from(model: nn.Module, checkpoint: Checkpoint, *, where: Path) -> list[str]:
    """Copy a checkpoint's weights into a fresh model. Heads that do not fit keep their fresh weights.

    Returns:
        The names of the tensors that were left fresh.

    Raises:
        ModelError: the backbone does not fit.
    """
    own = model.state_dict()
    fits = {k: v for k, v in checkpoint.weights.items() if k in own and own[k].shape == v.shape}
    fresh = [k for k in own if k not in fits]
    misfit = [k for k in fresh if k.startswith("backbone.")]
    if misfit:
        raise ModelError(
            f"{where} has another backbone ({checkpoint.about['model']['backbone']}): {misfit[0]} does not fit.",
            hint="Use the same model.backbone as that run.",
        )
    model.load_state_dict({**own, **fits})
    return fresh
