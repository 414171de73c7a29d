"""Cross-entropy, focal and label-smoothed losses as one formula, and class weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def classification_losses(
    logits: Tensor,
    labels: Tensor,
    *,
    gamma: float = 0.0,
    smoothing: Tensor | None = None,
    weights: Tensor | None = None,
    targets: Tensor | None = None,
) -> Tensor:
    """w_y · Σ_k q_k · (1 − p_k)^γ · (−log p_k) of each image, with q the smoothed one-hot label.

    γ = 0 is cross-entropy; q one-hot and γ > 0 is the focal loss (Lin et al. 2017, arXiv 1708.02002, eq. 4).
    Average these over images, not over weights: then the result is the same however processes share a batch.

    Args:
        logits: (n, classes), of any float type.
        labels: (n,) int64 class indices.
        gamma: focusing parameter ≥ 0.
        smoothing: (classes,) ε_y for label y in [0, 1): q = (1 − ε_y)·onehot + ε_y / classes.
        weights: (classes,) factor ≥ 0 of the loss of label y.
        targets: (n, classes) probabilities instead of one-hot labels; smoothing and weights still follow `labels`.

    Returns:
        (n,) float32, ≥ 0.
    """
    log_p = F.log_softmax(logits.float(), dim=1)
    target = F.one_hot(labels, logits.shape[1]).to(log_p.dtype) if targets is None else targets
    if smoothing is not None:
        moved = smoothing[labels][:, None]
        target = target * (1.0 - moved) + moved / logits.shape[1]
    if gamma:
        target = target * (1.0 - log_p.exp()).clamp_min(0.0).pow(gamma)
    per_image = -(target * log_p).sum(dim=1)
    if weights is not None:
        per_image = per_image * weights[labels]
    return per_image


def balanced_weights(counts: Tensor) -> Tensor:
    """Inverse frequency, n / (classes · n_k), scaled so that the mean over images is 1. Empty classes get 0.

    Args:
        counts: (classes,) images of each class.

    Returns:
        (classes,) float32.
    """
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp_min(1)), 0.0).float()


def effective_weights(counts: Tensor, *, beta: float = 0.999) -> Tensor:
    """(1 − β) / (1 − β^n_k), scaled so that the mean over images is 1 (Cui et al. 2019, arXiv 1901.05555, eq. 4).

    Args:
        counts: (classes,) images of each class. Empty classes get 0.
        beta: β in [0, 1); 0 weighs all classes equally, towards 1 it becomes inverse frequency.

    Returns:
        (classes,) float32.
    """
    raw = torch.where(counts > 0, (1 - beta) / (1 - beta ** counts.clamp_min(1).double()), 0.0)
    return (raw * counts.sum() / (raw * counts).sum()).float()
