"""The state that is needed to resume a run: weights, their average, optimizer, schedule, algorithm, progress.

Loading it cannot run code: `torch.load(weights_only=True)`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from ssl_mask.errors import MismatchError, ModelError
from ssl_mask.files import atomic_path
from ssl_mask.models.tensors import load_tensors
from ssl_mask.reading import reading
from ssl_mask.runs.seal import tensors_digest
from ssl_mask.training.lean_optim import without_compiler
from ssl_mask.training.loop import Training


@without_compiler()
def save_state(path: Path, training: Training, progress: Mapping[str, Any], *, origin: str) -> None:
    """Write everything that is needed to resume. `progress` is plain data (step, best score, …).

    Args:
        origin: of the run, see `ssl_mask.runs.seal.origin_of`.
    """
    accelerator = training.accelerator
    content: dict[str, Any] = {
        "model": training.live.state_dict(),
        "ema": training.ema.module.state_dict() if training.ema is not None else None,
        "optimizer": training.optimizer.state_dict(),
        "schedule": training.schedule.state_dict(),
        "algorithm": training.algorithm.state_dict(),
        "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else None,
        "progress": dict(progress),
    }
    content["made_by"] = _made_by(origin, _weights_digest(content))
    with atomic_path(path) as partial, partial.open("wb") as file:
        torch.save(content, file)


@without_compiler()
def load_state(path: Path, training: Training, *, origin: str, earlier: Collection[str] = ()) -> Any:
    """Load a saved state into `training`; returns its `progress`, which nobody has checked yet.

    Args:
        origin: of the run.
        earlier: its origins of before, which the state may be bound to still.

    Raises:
        ModelError: the file is missing, damaged, or of another network.
        MismatchError: it is of another run, or its weights were changed.
    """
    if not path.is_file():
        raise ModelError(
            f"There is no saved state {path}.",
            hint="It was removed (sslmask runs gc), or never saved: start a new run (--init-from takes its weights).",
        )
    with reading(path, ModelError, hint="Restore it from a copy, or start a new run (--init-from takes its weights)."):
        # On the CPU first: loading copies each tensor to where it belongs, and `cpu:0` is no place to torch.load.
        content = load_tensors(path)
        weights = _weights_digest(content)
        if content["made_by"] not in {_made_by(each, weights) for each in (origin, *earlier)}:
            raise MismatchError(
                f"{path} was not saved by this run, or it has changed since.",
                hint="Restore it from a copy, or start a new run.",
            )
        training.live.load_state_dict(content["model"])
        if training.ema is not None:
            training.ema.module.load_state_dict(content["ema"])
        _refuse_misfit(content["optimizer"], training.optimizer)
        training.optimizer.load_state_dict(content["optimizer"])
        training.algorithm.load_state_dict(content["algorithm"])
        if training.accelerator.scaler is not None and content["scaler"] is not None:
            training.accelerator.scaler.load_state_dict(content["scaler"])
        training.schedule.load_state_dict(content["schedule"])
        return content["progress"]


def _refuse_misfit(given: Mapping[str, Any], optimizer: Any) -> None:
    """An optimizer takes any state; one that does not fit fails in the first step, or trains something else.

    Raises:
        ValueError: other settings or other parameters than the optimizer's.
    """
    own = optimizer.state_dict()["param_groups"]
    if [group.keys() for group in given["param_groups"]] != [group.keys() for group in own]:
        raise ValueError("its optimizer has other settings")
    for ours, theirs in zip(own, given["param_groups"], strict=True):
        if any(type(theirs[key]) is not type(value) for key, value in ours.items()):
            raise ValueError("its optimizer has settings of another kind")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for position, state in given["state"].items():
        shape = parameters[position].shape
        if any(isinstance(v, torch.Tensor) and v.dim() and v.shape != shape for v in state.values()):
            raise ValueError("its optimizer is of another network")


def _made_by(origin: str, weights: str) -> str:
    """Binds the weights to the run, so that nothing enters by a state that was put in the place of another one."""
    return f"{origin} {weights}"


def _weights_digest(content: Mapping[str, Any]) -> str:
    tensors = {f"model/{k}": v for k, v in content["model"].items()}
    tensors |= {f"ema/{k}": v for k, v in (content["ema"] or {}).items()}
    return tensors_digest(tensors)
