"""Several heads as one distribution over their product, so that multi-head needs no second code path."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def joint_log_probs(logits: Mapping[str, Tensor]) -> Tensor:
    """Fold heads into one distribution: log p(a, b, …) = log p(a) + log p(b) + …, the last head fastest.

    Joint KL is then the sum of the heads' KLs and joint NLL the sum of their cross-entropies.

    Args:
        logits: (n, classes) per head, in order.

    Returns:
        (n, product of classes) float32 log-probabilities.
    """
    heads = [F.log_softmax(z.float(), dim=1) for z in logits.values()]
    joint = heads[0]
    for head in heads[1:]:
        joint = (joint[:, :, None] + head[:, None, :]).flatten(1)
    return joint


def calibrated(logits: Mapping[str, Tensor], temperatures: Mapping[str, float]) -> dict[str, Tensor]:
    """Logits divided by each head's temperature (1 where none is given)."""
    return {name: z.float() / temperatures.get(name, 1.0) for name, z in logits.items()}


def predicted_probs(logits: Mapping[str, Tensor], temperatures: Mapping[str, float]) -> Tensor:
    """Calibrated joint probabilities, (n, product)."""
    return torch.exp(joint_log_probs(calibrated(logits, temperatures)))
