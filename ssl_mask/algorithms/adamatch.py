"""AdaMatch (Berthelot et al. 2022, arXiv 2106.04732): a threshold relative to the confidence on labeled images.

Left out is its random logit interpolation, which mixes the labeled logits of two training passes, with and without the
unlabeled images, so that batch statistics suit both. It needs a second backward pass, a network with batch norm, and
all unlabeled images in the first pass; here only those that count are in it. Its warm-up of λ over the first half of
the training is `algorithm.ramp_up=0.5` (a line, where the paper has half a cosine).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_mask.algorithms.fixmatch import hard
from ssl_mask.algorithms.rule import Rule, Seen
from ssl_mask.algorithms.running import uniform
from ssl_mask.algorithms.targets import Targets
from ssl_mask.algorithms.uda import confidence, threshold_of
from ssl_mask.types import Averaging, HeadTensors

TINY = 1e-6
"""Keeps classes that are hardly predicted possible, as in the authors' code."""


class AdaMatchRule(Rule):
    """One-hot targets where max p̃ ≥ τ · c, with p̃ ∝ p · p̂_labeled / p̂_unlabeled.

    c is the mean confidence on the labeled images of the batch; p̂ are the running mean predictions on labeled and
    unlabeled images (distribution alignment).
    """

    needs_labeled = True

    def __init__(self, threshold: float | Mapping[str, float], momentum: float) -> None:
        """
        Args:
            threshold: τ in [0, 1], one for all heads or one per head.
            momentum: of the mean predictions, in [0, 1); they start at 1/classes.
        """
        super().__init__(momentum)
        self.threshold = threshold

    def observe(self, seen: Seen, mean: Averaging) -> None:
        assert seen.labeled is not None  # for the type checker: it is asked for
        for name, z in seen.logits.items():
            labeled = F.softmax(seen.labeled[name], dim=1)
            self.running.values[f"{name}/confidence"] = mean(labeled.amax(dim=1).mean())
            self.running.move(f"{name}/labeled", mean(labeled.mean(dim=0)), start=uniform(z))
            self.running.move(f"{name}/unlabeled", mean(F.softmax(z, dim=1).mean(dim=0)), start=uniform(z))

    def targets(self, logits: HeadTensors) -> Targets:
        aligned = {name: z + self._shift(name, z) for name, z in logits.items()}
        weights = {}
        for name, z in aligned.items():
            threshold = threshold_of(self.threshold, name) * self.running.get(f"{name}/confidence", z.new_ones(()))
            weights[name] = (confidence(z) >= threshold).float()
        return Targets({name: hard(z) for name, z in aligned.items()}, weights)

    def _shift(self, name: str, logits: Tensor) -> Tensor:
        """(classes,) log of the ratio that aligns p."""
        labeled, unlabeled = (self.running.get(f"{name}/{of}", uniform(logits)) for of in ("labeled", "unlabeled"))
        return torch.log((labeled + TINY) / (unlabeled + TINY))
