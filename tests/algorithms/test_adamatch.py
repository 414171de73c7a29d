"""AdaMatch against slow loops, for several steps (arXiv 2106.04732; order of the steps as in the authors' code)."""

from __future__ import annotations

import pytest
import torch
from slow_reference import (
    FACTORS,
    FLAT,
    Net,
    SlowUda,
    assert_terms,
    make_batch,
    probs_of,
    rows_of,
    slow_views,
    softmax,
    with_rule,
)

from ssl_mask.algorithms.adamatch import AdaMatchRule
from ssl_mask.config import validate
from ssl_mask.errors import ConfigError


class SlowAdaMatch:
    """One head."""

    def __init__(self, classes: int, tau: float, momentum: float) -> None:
        self.tau, self.momentum = tau, momentum
        self.labeled, self.unlabeled = [1 / classes] * classes, [1 / classes] * classes

    def targets(self, labeled: list[list[float]], weak: list[list[float]]) -> list[int | None]:
        """The class of each image, or None where it does not count."""
        self.labeled, self.unlabeled = self.moved(self.labeled, labeled), self.moved(self.unlabeled, weak)
        threshold = self.tau * sum(max(p) for p in labeled) / len(labeled)
        found: list[int | None] = []
        for p in weak:
            raised = [x * (a + 1e-6) / (b + 1e-6) for x, a, b in zip(p, self.labeled, self.unlabeled, strict=True)]
            top = max(raised)
            found.append(raised.index(top) if top / sum(raised) >= threshold else None)
        return found

    def moved(self, before: list[float], probs: list[list[float]]) -> list[float]:
        m = self.momentum
        return [m * old + (1 - m) * sum(p[c] for p in probs) / len(probs) for c, old in enumerate(before)]


@pytest.mark.parametrize(
    ("heads", "joint", "tau"), [(FLAT, False, 0.95), (FACTORS, False, 0.75), (FACTORS, True, 0.9)],
    ids=["flat", "factors", "joint"],
)  # fmt: skip
def test_six_steps_equal_slow_loops(heads: dict[str, int], joint: bool, tau: float) -> None:
    net, folded = Net(heads), SlowUda({}, joint=joint)
    ours = with_rule(AdaMatchRule(tau, 0.4), net, joint=joint)
    state = {n: SlowAdaMatch(c, tau, 0.4) for n, c in ({"joint": 18} if joint else heads).items()}
    counted = images = changed = 0
    for number in range(6):
        batch = make_batch(heads, seed=number)
        losses = ours.losses(net, batch, 0.5)
        slow, *unlabeled = slow_views(net, batch)
        views = (rows_of(slow, batch.labeled.images), *unlabeled)
        labeled, weak, strong = ([folded.targets_of(row) for row in rows] for rows in views)
        expected = torch.zeros((), dtype=torch.float64)
        for name, head in state.items():
            probs = [probs_of(rows, name) for rows in (labeled, weak)]
            targets = head.targets(*probs)
            for i, target in enumerate(targets):
                if target is not None:
                    expected = expected - softmax(strong[i][name])[target].log() / len(weak)
                    changed += target != probs[1][i].index(max(probs[1][i]))
            kept = [t is not None for t in targets]
            assert losses.stats[f"mask_rate/{name}"].item() == pytest.approx(sum(kept) / len(kept))
            values = ours.rule.running.values
            assert values[f"{name}/labeled"].tolist() == pytest.approx(head.labeled, rel=1e-5)
            assert values[f"{name}/unlabeled"].tolist() == pytest.approx(head.unlabeled, rel=1e-5)
            counted, images = counted + sum(kept), images + len(kept)
        assert_terms(net, losses, slow, {"consistency": expected})
    assert 0.3 < counted / images < 0.95
    assert changed > 0  # else alignment was of no matter


def test_labeled_images_are_seen_by_the_teacher_without_gradient() -> None:
    teacher, net, batch = Net(FLAT, seed=1), Net(FLAT), make_batch(FLAT)
    ours = with_rule(AdaMatchRule(0.9, 0.0), teacher)
    ours.losses(net, batch, 0.5)
    top = teacher(batch.labeled.images)["class"].softmax(1).amax(1).mean()
    assert ours.rule.running.values["class/confidence"].item() == pytest.approx(top.item(), rel=1e-6)
    assert not ours.rule.running.values["class/confidence"].requires_grad


def test_a_second_alignment_is_refused() -> None:
    with pytest.raises(ConfigError, match="leave alignment out"):
        validate({"algorithm": {"name": "adamatch", "alignment": "prior"}})
