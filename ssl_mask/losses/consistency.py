"""Consistency between two views of unlabeled images, and training signal annealing (UDA, arXiv 1904.12848)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def kl_divergence(target: Tensor, logits: Tensor) -> Tensor:
    """KL(target ‖ softmax(logits)) of each image; cross-entropy if targets are one-hot.

    Args:
        target: (n, classes) probabilities without gradient.
        logits: (n, classes), of any float type.

    Returns:
        (n,) float32, ≥ 0 up to rounding.
    """
    log_p = F.log_softmax(logits.float(), dim=1)
    return (torch.xlogy(target, target) - target * log_p).sum(dim=1)


def annealing_threshold(kind: str, progress: float, classes: int) -> float:
    """η(t) = α(t)·(1 − 1/K) + 1/K; labeled images with p_correct below η are trained on (UDA, section 2.3).

    Args:
        kind: `linear` (α = t), `log` (1 − exp(−5t)) or `exp` (exp(5(t − 1))).
        progress: t in [0, 1].
        classes: K ≥ 1.

    Returns:
        η in [1/K, 1].
    """
    alpha = {
        "linear": progress,
        "log": 1.0 - math.exp(-5.0 * progress),
        "exp": math.exp(5.0 * (progress - 1.0)),
    }[kind]
    return alpha * (1.0 - 1.0 / classes) + 1.0 / classes
