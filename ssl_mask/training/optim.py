"""Optimizer and learning-rate schedule. The schedule is a function of the step, so resuming needs no replay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ssl_mask.models.layers import depths
from ssl_mask.training.lean_optim import without_compiler


@without_compiler()
def build_optimizer(
    model: nn.Module, *, kind: str, lr: float, backbone_lr_scale: float, weight_decay: float, momentum: float,
    layer_decay: float = 1.0,
) -> torch.optim.Optimizer:  # fmt: skip
    """AdamW, Adam or SGD over groups of parameters: by learning rate, with weight decay or not (vectors have none).

    Args:
        lr: peak learning rate of the neck and the heads.
        backbone_lr_scale: the backbone's, as a multiple of it.
        layer_decay: d in (0, 1]. A layer of the backbone that is h layers below the heads has dʰ times that (Clark et
            al. 2020, arXiv 2003.10555).
    """
    below = {} if layer_decay == 1 else depths(model.get_submodule("backbone"))
    groups: dict[tuple[bool, bool, int], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            in_backbone, depth = name.startswith("backbone."), below.get(name.removeprefix("backbone."), 0)
            groups.setdefault((in_backbone, parameter.ndim > 1, depth), []).append(parameter)
    settings: list[dict[str, Any]] = [
        {
            "params": parameters,
            "peak_lr": lr * (backbone_lr_scale * layer_decay**depth if in_backbone else 1.0),
            "lr": 0.0,
            "weight_decay": weight_decay if decayed else 0.0,
        }
        for (in_backbone, decayed, depth), parameters in groups.items()
    ]
    if kind == "sgd":
        return torch.optim.SGD(settings, lr=lr, momentum=momentum, nesterov=momentum > 0)
    make = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[kind]
    optimizer: torch.optim.Optimizer = make(settings, lr=lr, fused=True)
    return optimizer


def lr_scale(kind: str, progress: float, *, warmup: float, final: float) -> float:
    """Share of the peak learning rate at `progress` in [0, 1).

    `one_cycle` (Smith & Topin, arXiv 1708.07120) rises from 1/25 along a cosine and falls along another; `cosine`,
    `plateau` and `constant` rise linearly from 0.
    """
    if kind == "one_cycle":
        if progress < warmup:
            return _cosine(1 / 25, 1.0, progress / warmup)
        return _cosine(1.0, final, (progress - warmup) / (1 - warmup))
    if progress < warmup:
        return progress / warmup
    if kind == "cosine":
        return _cosine(1.0, final, (progress - warmup) / (1 - warmup))
    return 1.0


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@dataclass
class Schedule:
    """Sets the learning rates before a step. Only `plateau` has a state: how often the rate was halved."""

    kind: str
    steps: int
    warmup: float
    final: float
    patience: int
    factor: float = 1.0
    best: float = -math.inf
    waited: int = 0

    def set(self, optimizer: torch.optim.Optimizer, step: int) -> float:
        """Set the rates of `step` (from 0); returns the share of the peak rate."""
        # + 1: with a linear warm-up the first step would otherwise train at rate 0 and be wasted.
        at = min((step + 1) / (self.steps + 1), 1.0)
        scale = self.factor * lr_scale(self.kind, at, warmup=self.warmup, final=self.final)
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * scale
        return scale

    def scored(self, score: float) -> None:
        """Update `plateau` with a validation score (higher is better)."""
        if score > self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.kind == "plateau" and self.waited >= self.patience:
            self.factor, self.waited = self.factor / 2, 0

    def state_dict(self) -> dict[str, float]:
        return {"factor": self.factor, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.factor, self.best, self.waited = float(state["factor"]), float(state["best"]), int(state["waited"])


def clipper(*, clip_norm: float | None, agc: float | None) -> Callable[[nn.Module], None] | None:
    """A function that clips the gradients of a model before a step; None: no clipping.

    Args:
        clip_norm: largest norm of all gradients together.
        agc: factor of adaptive gradient clipping (Brock et al. 2021, arXiv 2102.06171).
    """
    if clip_norm is None and agc is None:
        return None

    def clip(model: nn.Module) -> None:
        if agc is not None:
            from timm.utils.agc import adaptive_clip_grad

            adaptive_clip_grad([p for p in model.parameters() if p.grad is not None], clip_factor=agc)
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)

    return clip
