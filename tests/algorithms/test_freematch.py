"""FreeMatch against slow loops over several steps (arXiv 2205.07246, eq. 5 to 11; empty bins as their code)."""

from __future__ import annotations

import pytest
import torch
from slow_reference import (
    FACTORS,
    FLAT,
    Net,
    Row,
    asked_of,
    assert_terms,
    gradient,
    make_batch,
    probs_of,
    slow_views,
    softmax,
    with_rule,
)
from torch import Tensor, nn

from ssl_mask.algorithms.freematch import FreeMatchRule
from ssl_mask.types import Batch


def sum_norm(values: list[Tensor]) -> list[Tensor]:
    total = sum(values[1:], values[0])
    return [v / total for v in values]


class SlowFreeMatch:
    """One head."""

    def __init__(self, classes: int, momentum: float) -> None:
        self.momentum = momentum
        self.tau = 1 / classes
        self.shares = [1 / classes] * classes
        self.histogram = [1 / classes] * classes

    def observe(self, probs: list[list[float]]) -> None:
        """Eq. 5, 6 and the histogram before eq. 11."""
        n, m = len(probs), self.momentum
        self.tau = m * self.tau + (1 - m) * sum(max(row) for row in probs) / n
        for c in range(len(self.shares)):
            self.shares[c] = m * self.shares[c] + (1 - m) * sum(row[c] for row in probs) / n
            votes = sum(row.index(max(row)) == c for row in probs)
            self.histogram[c] = m * self.histogram[c] + (1 - m) * votes / n

    def counts(self, row: list[float]) -> bool:
        """Eq. 7 and 8."""
        return max(row) >= self.shares[row.index(max(row))] / max(self.shares) * self.tau

    def fairness(self, strong: list[Row], count: int) -> Tensor:
        """Eq. 9 to 11, `strong` being the probabilities of the images whose target counts."""
        classes = len(self.shares)
        mean = [sum((row[c] for row in strong), torch.zeros(())) / count for c in range(classes)]
        votes = [sum(max(row).item() == row[c].item() for row in strong) / count for c in range(classes)]
        pool = sum_norm([torch.tensor(p / h).double() for p, h in zip(self.shares, self.histogram, strict=True)])
        batch = sum_norm([p / v if v > 0 else 0 * p for p, v in zip(mean, votes, strict=True)])
        return sum((a * (b + 1e-12).log() for a, b in zip(pool, batch, strict=True)), torch.zeros(()))


def slow_step(
    net: nn.Module, batch: Batch, state: dict[str, SlowFreeMatch], fairness: float
) -> tuple[nn.Module, dict[str, Tensor], list[int]]:
    """A slow copy, its unsupervised terms and survivors; moves `state`."""
    slow, weak, strong = slow_views(net, batch)
    terms, survivors = {"consistency": torch.zeros(()), "extra": torch.zeros(())}, set()
    for name, head in state.items():
        probs = probs_of(weak, name)
        head.observe(probs)
        rows = [i for i, p in enumerate(probs) if head.counts(p)]
        answers = {i: softmax(strong[i][name]) for i in rows}
        for i in rows:
            terms["consistency"] = terms["consistency"] - answers[i][probs[i].index(max(probs[i]))].log() / len(weak)
        if rows:
            terms["extra"] = terms["extra"] + fairness * head.fairness(list(answers.values()), len(weak))
        survivors.update(rows)
    return slow, terms, sorted(survivors)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("heads", [FLAT, FACTORS], ids=["flat", "factors"])
def test_four_steps_equal_a_slow_loop(heads: dict[str, int], dense: bool) -> None:
    net, momentum, fairness = Net(heads), 0.6, 0.3
    ours = with_rule(FreeMatchRule(momentum, fairness), net, dense=dense)
    state, kept = {name: SlowFreeMatch(n, momentum) for name, n in heads.items()}, []
    for number in range(4):
        batch = make_batch(heads, seed=number)
        losses = ours.losses(net, batch, 0.5)
        slow, terms, survivors = slow_step(net, batch, state, fairness)
        assert dense or asked_of(batch) == [survivors]
        kept.append(len(survivors))
        assert_terms(net, losses, slow, terms)
        for name, head in state.items():
            values = ours.rule.running.values
            assert values[f"{name}/tau"].item() == pytest.approx(head.tau, rel=1e-5)
            assert values[f"{name}/p"].tolist() == pytest.approx(head.shares, rel=1e-5)
            assert values[f"{name}/h"].tolist() == pytest.approx(head.histogram, rel=1e-5)
    assert min(kept) < 10 or heads is FACTORS


def test_targets_are_hard_and_thresholds_differ_between_classes() -> None:
    rule = FreeMatchRule(0.9, 0.0)
    rule.running.values = {"class/tau": torch.tensor(0.8), "class/p": torch.tensor([0.6, 0.3, 0.1])}
    probs = torch.tensor([[0.79, 0.2, 0.01], [0.81, 0.1, 0.09], [0.4, 0.41, 0.19], [0.45, 0.39, 0.16]])
    targets = rule.targets({"class": probs.log()})  # thresholds 0.8, 0.4 and 0.133
    assert targets.weights["class"].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert targets.probs["class"].tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_without_fairness_there_is_no_term() -> None:
    net = Net(FLAT)
    assert "extra" not in with_rule(FreeMatchRule(0.9, 0.0), net).losses(net, make_batch(FLAT), 0.5).terms


def test_fairness_without_a_counting_image_is_zero_with_a_gradient_of_zero() -> None:
    net, batch = Net(FLAT), make_batch(FLAT)
    rule = FreeMatchRule(1.0, 0.5)
    rule.running.values = {"class/tau": torch.tensor(1.0), "class/p": torch.full((5,), 0.2)}
    losses = with_rule(rule, net).losses(net, batch, 0.5)
    assert asked_of(batch) == [[]] and losses.terms["extra"].item() == 0.0
    assert gradient(net, losses.terms["extra"]).eq(0).all()
