"""The ArcFace margin as a pure function on cosines (Deng et al. 2019, arXiv 1801.07698, eq. 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def arcface_logits(cosine: Tensor, labels: Tensor, *, scale: float, margin: float) -> Tensor:
    """Training logits: s·cos(θ_y + m) for the true class, s·cos θ_j for the others.

    Where θ_y + m > π the cosine would rise again; there the monotone continuation cos θ − m·sin m is used.

    Args:
        cosine: (n, classes) cos θ in [-1, 1], of any float type.
        labels: (n,) int64 class indices.
        scale: s > 0.
        margin: m in radians, in [0, π/2).

    Returns:
        (n, classes) float32. The gradient is finite, also at cos θ = ±1.
    """
    cosine = cosine.float()
    true = cosine.gather(1, labels[:, None])
    # The slope of sin θ is infinite at cos θ = ±1; the floor keeps it finite and moves the value by less than 1e-3.
    sine = (1.0 - true.square()).clamp_min(1e-6).sqrt()
    with_margin = true * math.cos(margin) - sine * math.sin(margin)
    continued = true - margin * math.sin(margin)
    past_pi = true < -math.cos(margin)  # θ > π − m
    with_margin = torch.where(past_pi, continued, with_margin)
    if margin == 0.0:
        with_margin = true
    return scale * cosine.scatter(1, labels[:, None], with_margin)
