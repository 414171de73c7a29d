"""The best weights of a run with all that is needed to predict. safetensors: loading runs no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssl_mask.errors import ModelError
from ssl_mask.files import atomic_path

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
