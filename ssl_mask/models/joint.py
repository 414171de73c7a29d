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
        logits: (n, classes) a head, in order.

    Returns:
        (n, product of classes) float32 log-probabilities.
    """
    heads = [F.log_softmax(z.float(), dim=1) for z in logits.values()]
    joint = heads[0]
    for head in heads[1:]:
        joint = (joint[:, :, None] + head[:, None, :]).flatten(1)
    return joint


def marginals(joint: Tensor, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """Each factor's probabilities from (n, product) joint probabilities."""
    shaped = joint.reshape(len(joint), *sizes.values())
    axes = range(1, shaped.dim())
    return {name: shaped.sum(dim=[a for a in axes if a != axis]) if shaped.dim() > 2 else shaped
            for axis, name in zip(axes, sizes, strict=True)}  # fmt: skip


def calibrated(logits: Mapping[str, Tensor], temperatures: Mapping[str, float]) -> dict[str, Tensor]:
    """Logits divided by each head's temperature (1 where none is given)."""
    return {name: z.float() / temperatures.get(name, 1.0) for name, z in logits.items()}


def predicted_probs(logits: Mapping[str, Tensor], temperatures: Mapping[str, float]) -> Tensor:
    """Calibrated joint probabilities, (n, product)."""
    return torch.exp(joint_log_probs(calibrated(logits, temperatures)))
