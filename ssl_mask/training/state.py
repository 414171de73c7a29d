"""The state that is needed to resume a run: weights, their average, optimizer, schedule, algorithm, progress.

Loading it cannot run code: `torch.load(weights_only=True)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ssl_mask.errors import ModelError
from ssl_mask.files import atomic_path
from ssl_mask.training.loop import Training


def save_state(path: Path, training: Training, progress: Mapping[str, Any]) -> None:
    """Write everything that is needed to resume. `progress` is plain data (step, best score, …)."""
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
    """Load a saved state into `training`; returns its `progress`.

    Raises:
        ModelError: the file is missing, damaged, or of another network.
    """
    if not path.is_file():
        raise ModelError(
            f"There is no saved state {path}.", hint="The run stopped before its first save: start a new run."
        )
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
