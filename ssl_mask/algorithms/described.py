"""What is logged of the targets of a batch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ssl_mask.algorithms.targets import Targets
from ssl_mask.types import HeadTensors

HISTOGRAM_BINS = 10


def described(weak: HeadTensors, targets: Targets) -> dict[str, Tensor]:
    """Statistics of a batch's targets for the log: shares of all unlabeled images, so that batches can be averaged."""
    stats: dict[str, Tensor] = {}
    for name, logits in weak.items():
        confidence, predicted = F.softmax(logits, dim=1).max(dim=1)
        weights, classes = targets.weights[name], logits.shape[1]
        bins = (confidence * HISTOGRAM_BINS).long().clamp_max(HISTOGRAM_BINS - 1)
        stats[f"mask_rate/{name}"] = weights.mean()
        stats[f"confidence/{name}"] = confidence.mean()
        stats[f"histogram/{name}"] = F.one_hot(bins, HISTOGRAM_BINS).float().mean(dim=0)
        stats[f"predicted/{name}"] = F.one_hot(predicted, classes).float().mean(dim=0)
        trained = F.one_hot(targets.probs[name].argmax(dim=1), classes)
        stats[f"selected/{name}"] = (trained * weights[:, None]).mean(dim=0)
    return stats
