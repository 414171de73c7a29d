"""Several heads as one distribution over their product, so that multi-head needs no second code path."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def joint_log_probs(logits: Mapping[str, Tensor]) -> Tensor:
    """Fold heads into one distribution: log p(a, b, …) = log p(a) + log p(b) + …; the last head varies fastest.

    The joint KL divergence is then the sum over heads of theirs, and the joint NLL the sum of their cross-entropies.

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
    """(n, classes) logits per head, divided by the head's temperature > 0 (1 if it has none); float32."""
    return {name: z.float() / temperatures.get(name, 1.0) for name, z in logits.items()}


def predicted_probs(logits: Mapping[str, Tensor], temperatures: Mapping[str, float]) -> Tensor:
    """(n, product of classes) calibrated joint probabilities, from (n, classes) logits per head."""
    return torch.exp(joint_log_probs(calibrated(logits, temperatures)))
