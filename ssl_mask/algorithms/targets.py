"""What the strong views of unlabeled images are trained towards."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Targets(NamedTuple):
    """The targets of the strong views. An image counts, and gets a strong view, if one of its weights is not 0."""

    probs: dict[str, Tensor]
    """(n, classes) probabilities per head."""
    weights: dict[str, Tensor]
    """(n,) in [0, 1] per head."""

    def at(self, rows: Tensor) -> Targets:
        """The targets of (k,) positions."""
        return Targets({k: p[rows] for k, p in self.probs.items()}, {k: w[rows] for k, w in self.weights.items()})
