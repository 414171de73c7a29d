"""SoftMatch against slow loops over several steps (arXiv 2301.10921, eq. 5 to 7; aligned for weights only)."""

from __future__ import annotations

import math

import pytest
import torch
from slow_reference import FACTORS, FLAT, Net, assert_terms, make_batch, probs_of, slow_views, softmax, with_rule

from ssl_mask.algorithms.softmatch import SoftMatchRule


class SlowSoftMatch:
    """One head."""

    def __init__(self, classes: int, momentum: float, sigmas: float) -> None:
        self.momentum, self.sigmas = momentum, sigmas
        self.shares = [1 / classes] * classes
        self.mu, self.var = 1 / classes, 1.0

    def weights(self, probs: list[list[float]]) -> list[float]:
        """One per image; moves the statistics first."""
        n, m = len(probs), self.momentum
        self.shares = [m * s + (1 - m) * sum(row[c] for row in probs) / n for c, s in enumerate(self.shares)]
        tops = []
        for row in probs:
            aligned = [p / len(row) / share for p, share in zip(row, self.shares, strict=True)]
            tops.append(max(aligned) / sum(aligned))
        mean = sum(tops) / n
        var = sum((top - mean) ** 2 for top in tops) / (n - 1)
        self.mu, self.var = m * self.mu + (1 - m) * mean, m * self.var + (1 - m) * var
        return [
            1.0 if t >= self.mu else math.exp(-((t - self.mu) ** 2) * self.sigmas**2 / (2 * self.var)) for t in tops
        ]


def follow(heads: dict[str, int], *, momentum: float = 0.3, sigmas: float = 2.0) -> None:
    net = Net(heads)
    ours = with_rule(SoftMatchRule(momentum, sigmas), net, weight=2.0)
    state = {name: SlowSoftMatch(n, momentum, sigmas) for name, n in heads.items()}
    least = 1.0
    for number in range(4):
        batch = make_batch(heads, seed=number)
        losses = ours.losses(net, batch, 0.5)
        slow, weak, strong = slow_views(net, batch)
        expected = torch.zeros((), dtype=torch.float64)
        for name, head in state.items():
            probs = probs_of(weak, name)
            weights = head.weights(probs)
            least = min(least, *weights)
            for i, weight in enumerate(weights):
                label = probs[i].index(max(probs[i]))  # of the prediction that is not aligned
                expected = expected - 2.0 * weight * softmax(strong[i][name])[label].log() / len(weak)
            assert losses.stats[f"mask_rate/{name}"].item() == pytest.approx(sum(weights) / len(weights), rel=1e-5)
            values = ours.rule.running.values
            assert values[f"{name}/mu"].item() == pytest.approx(head.mu, rel=1e-5)
            assert values[f"{name}/var"].item() == pytest.approx(head.var, rel=1e-4)
            assert values[name].tolist() == pytest.approx(head.shares, rel=1e-5)
        assert_terms(net, losses, slow, {"consistency": expected})
    assert least < 0.8  # else the weights were of no matter


@pytest.mark.parametrize("sigmas", [2.0, 1.0])
@pytest.mark.parametrize("heads", [FLAT, FACTORS], ids=["flat", "factors"])
def test_four_steps_equal_a_slow_loop(heads: dict[str, int], sigmas: float) -> None:
    follow(heads, sigmas=sigmas)
