"""FixMatch against a slow loop (arXiv 2001.07685, eq. 3 and 4)."""

from __future__ import annotations

import pytest
import torch
from slow_reference import (
    FACTORS,
    FLAT,
    Net,
    apart,
    gradient,
    make_batch,
    rows_of,
    slow_views,
    softmax,
    step,
    with_rule,
)

from ssl_mask.algorithms.fixmatch import FixMatchRule


@pytest.mark.parametrize(
    ("heads", "thresholds"),
    [(FLAT, {"class": 0.7}), (FACTORS, {"first": 0.6, "second": 0.9, "third": 0.7})],
    ids=["flat", "factors"],
)
def test_loss_and_gradient_equal_a_slow_loop(heads: dict[str, int], thresholds: dict[str, float]) -> None:
    net, batch = Net(heads), make_batch(heads)
    losses, ours = step(with_rule(FixMatchRule(thresholds), net, weight=1.5), net, batch)

    slow, weak, strong = slow_views(net, batch)
    unlabeled, counted = torch.zeros((), dtype=torch.float64), 0
    for i, heads_of_image in enumerate(weak):
        for name, row in heads_of_image.items():
            probs = [p.item() for p in softmax(row)]
            if max(probs) >= thresholds[name]:
                counted += 1
                unlabeled = unlabeled - 1.5 * softmax(strong[i][name])[probs.index(max(probs))].log() / len(weak)
    labeled = torch.zeros((), dtype=torch.float64)
    for row, labels in zip(rows_of(slow, batch.labeled.images), batch.labeled.labels.tolist(), strict=True):
        for (_, z), label in zip(row.items(), labels, strict=True):
            labeled = labeled - softmax(z)[label].log() / len(batch.labeled.labels)

    assert 0 < counted < len(weak) * len(heads)
    assert losses.terms["consistency"].item() == pytest.approx(unlabeled.item(), rel=1e-5)
    assert losses.total.item() == pytest.approx((labeled + unlabeled).item(), rel=1e-5)
    assert apart(ours, gradient(slow, labeled + unlabeled)) < 1e-5
