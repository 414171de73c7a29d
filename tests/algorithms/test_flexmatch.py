"""FlexMatch against slow loops over the pool, for several steps (arXiv 2110.08263, sections 3.1 to 3.3)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from slow_reference import (
    FACTORS,
    FLAT,
    POOL,
    Net,
    SlowUda,
    assert_terms,
    make_batch,
    probs_of,
    slow_views,
    softmax,
    with_rule,
)

from ssl_mask.algorithms.flexmatch import NONE, FlexMatchRule, learning_effects, updated
from ssl_mask.data.batches import Stream
from ssl_mask.training.algorithm import gather_in_order


class SlowFlexMatch:
    """One head, as in the authors' Algorithm 1."""

    def __init__(self, classes: int, tau: float) -> None:
        self.tau, self.last = tau, dict.fromkeys(range(POOL), NONE)
        self.classes = classes

    def thresholds(self) -> list[float]:
        status = [sum(c == k for c in self.last.values()) for k in range(self.classes)]
        most = max(*status, POOL - sum(status))
        return [s / most / (2 - s / most) * self.tau for s in status]

    def kept(self, rows: list[int], probs: list[list[float]]) -> list[bool]:
        """Whether each target counts; then the status moves."""
        thresholds = self.thresholds()
        found = [max(p) >= thresholds[p.index(max(p))] for p in probs]
        for row, p in zip(rows, probs, strict=True):
            if max(p) > self.tau:
                self.last[row] = p.index(max(p))
        return found


@pytest.mark.parametrize(
    ("heads", "joint", "tau"), [(FLAT, False, 0.75), (FACTORS, False, 0.9), (FACTORS, True, 0.6)],
    ids=["flat", "factors", "joint"],
)  # fmt: skip
def test_eight_steps_equal_slow_loops(heads: dict[str, int], joint: bool, tau: float) -> None:
    net, folded = Net(heads), SlowUda({}, joint=joint)
    ours = with_rule(FlexMatchRule(tau, POOL), net, joint=joint)
    state = {n: SlowFlexMatch(c, tau) for n, c in ({"joint": 18} if joint else heads).items()}
    shares = []
    for number in range(8):
        batch = make_batch(heads, seed=number)
        assert batch.unlabeled is not None and batch.unlabeled.rows is not None
        losses = ours.losses(net, batch, 0.5)
        slow, *views = slow_views(net, batch)
        weak, strong = ([folded.targets_of(row) for row in rows] for rows in views)
        expected = torch.zeros((), dtype=torch.float64)
        for name, head in state.items():
            probs = probs_of(weak, name)
            kept = head.kept(batch.unlabeled.rows.tolist(), probs)
            for i in (i for i, counts in enumerate(kept) if counts):
                expected = expected - softmax(strong[i][name])[probs[i].index(max(probs[i]))].log() / len(weak)
            assert ours.rule.running.values[f"{name}/last"].tolist() == list(head.last.values())
            shares.append(sum(kept) / len(kept))
            assert losses.stats[f"mask_rate/{name}"].item() == pytest.approx(shares[-1])
        assert_terms(net, losses, slow, {"consistency": expected})
    assert shares[0] == 1.0 and 0.2 < min(shares) < 1.0  # a threshold that starts at 0, and rises


def test_thresholds_by_hand() -> None:
    """Ten images: five never sure, four of class 0, one of class 1; then all sure."""
    last = torch.tensor([NONE] * 5 + [0] * 4 + [1], dtype=torch.int32)
    assert learning_effects(last, 3).tolist() == pytest.approx([4 / 5, 1 / 5, 0])
    assert learning_effects(torch.tensor([0] * 8 + [1] * 2, dtype=torch.int32), 3).tolist() == [1.0, 0.25, 0.0]
    rule = FlexMatchRule(0.9, 10)
    rule.running.values["class/beta"] = torch.tensor([1.0, 0.25, 0.0])  # thresholds 0.9, 0.9 · 0.25 / 1.75, 0
    logits = torch.tensor([[0.89, 0.06, 0.05], [0.91, 0.05, 0.04], [0.3, 0.4, 0.3], [0.3, 0.3, 0.4]]).log()
    assert rule.targets({"class": logits}).weights["class"].tolist() == [0, 1, 1, 1]


def test_the_later_of_two_views_counts_and_an_unsure_one_changes_nothing() -> None:
    last = torch.tensor([2, NONE, 1], dtype=torch.int32)
    found = updated(last, torch.tensor([1, 0, 1, 2]), torch.tensor([0, NONE, 3, NONE]))
    assert found.tolist() == [2, 3, 1] and last.tolist() == [2, NONE, 1]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_bring_together_the_batch_of_one(processes: int) -> None:
    def rows(rank: int, ranks: int) -> torch.Tensor:
        return torch.tensor([d.row for d in Stream(5, 8, 0, rank, ranks).batch(0)])

    every = torch.cat([rows(rank, processes) for rank in range(processes)])
    accelerator: Any = SimpleNamespace(num_processes=processes, gather=lambda _: every)
    assert torch.equal(gather_in_order(accelerator, rows(0, processes)), rows(0, 1))
