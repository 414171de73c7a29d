"""A fresh algorithm with a saved state goes on as the one that it was saved from."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from slow_reference import FLAT, POOL, Net, make_batch, with_rule

from ssl_mask.algorithms.adamatch import AdaMatchRule
from ssl_mask.algorithms.consistency import Consistency
from ssl_mask.algorithms.flexmatch import FlexMatchRule
from ssl_mask.algorithms.freematch import FreeMatchRule
from ssl_mask.algorithms.running import Alignment
from ssl_mask.algorithms.softmatch import SoftMatchRule
from ssl_mask.algorithms.supervised import Supervised
from ssl_mask.algorithms.uda import UdaRule

MAKERS: dict[str, Callable[[Net], Consistency]] = {
    "uda": lambda net: with_rule(UdaRule(0.6, 0.4), net),
    "flexmatch": lambda net: with_rule(FlexMatchRule(0.6, POOL), net),
    "adamatch": lambda net: with_rule(AdaMatchRule(0.9, 0.7), net),
    "freematch": lambda net: with_rule(FreeMatchRule(0.7, 0.1), net),
    "softmatch": lambda net: with_rule(SoftMatchRule(0.7, 2.0), net),
    "aligned": lambda net: with_rule(UdaRule(0.6, 0.4), net, alignment=Alignment(None, 0.7)),
    "aligned softmatch": lambda net: with_rule(SoftMatchRule(0.7, 2.0), net, alignment=Alignment(None, 0.7)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_next_losses_are_the_same(name: str) -> None:
    net = Net(FLAT)
    first, second, ignorant = (MAKERS[name](net) for _ in range(3))
    for seed in range(3):
        first.losses(net, make_batch(FLAT, seed=seed), 0.5)
        first.calibrate({"class": 1.3 + 0.1 * seed})
    second.load_state_dict({k: v.clone() for k, v in first.state_dict().items()})
    for seed in (7, 8):  # the second step also shows that what moves goes on moving
        batch = make_batch(FLAT, seed=seed)
        ours, theirs, others = (a.losses(net, batch, 0.5) for a in (first, second, ignorant))
        assert torch.equal(ours.total, theirs.total) and not torch.equal(ours.total, others.total)
        torch.testing.assert_close(ours.stats, theirs.stats, rtol=0, atol=0)
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("name", MAKERS)
def test_saved_state_does_not_move_with_the_training(name: str) -> None:
    net = Net(FLAT)
    algorithm = MAKERS[name](net)
    algorithm.losses(net, make_batch(FLAT), 0.5)
    saved = algorithm.state_dict()
    kept = copy.deepcopy(saved)
    algorithm.calibrate({"class": 3.0})
    algorithm.losses(net, make_batch(FLAT, seed=1), 0.5)
    torch.testing.assert_close(saved, kept, rtol=0, atol=0)


def test_temperature_given_by_hand_is_not_calibrated_away() -> None:
    fixed = with_rule(UdaRule(0.6, 0.4), Net(FLAT), temperatures={"class": 2.0}, calibrates=False)
    fixed.calibrate({"class": 5.0})
    assert fixed.temperatures == {"class": 2.0}


def test_algorithm_without_state_refuses_one() -> None:
    Supervised(scale=None).load_state_dict({})
    with pytest.raises(ValueError, match="temperature"):
        Supervised(scale=None).load_state_dict({"temperature/class": torch.tensor(1.0)})
