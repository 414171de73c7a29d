"""The weak pass: who makes it, in which mode, and what it leaves behind."""

from __future__ import annotations

import copy

import pytest
import torch
from slow_reference import (
    FACTORS,
    FLAT,
    Net,
    SlowUda,
    apart,
    asked_of,
    gradient,
    make_batch,
    slow_copy,
    step,
    with_rule,
)
from torch import Tensor, nn

from ssl_mask.algorithms.consistency import mode_of
from ssl_mask.algorithms.uda import UdaRule

RULE = (0.5, 0.4)


def statistics(net: Net) -> list[Tensor]:
    return [buffer.clone() for buffer in net.norm.buffers()]


def modes(net: nn.Module) -> list[bool]:
    return [module.training for module in net.modules()]


class Failing(Net):
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        super().forward(images)
        raise RuntimeError("broken")


@pytest.mark.parametrize("before", [True, False], ids=["trained", "evaluated"])
@pytest.mark.parametrize("weak_training_mode", [False, True])
def test_only_training_mode_moves_the_teachers_batch_norm(weak_training_mode: bool, before: bool) -> None:
    teacher, net, batch = Net(FLAT, norm="batch").train(before), Net(FLAT), make_batch(FLAT)
    kept = statistics(teacher)
    with_rule(UdaRule(*RULE), teacher, weak_training_mode=weak_training_mode).losses(net, batch, 0.5)
    same = [torch.equal(a, b) for a, b in zip(kept, statistics(teacher), strict=True)]
    assert same == [not weak_training_mode] * 3
    assert modes(teacher) == [before] * len(modes(teacher))


@pytest.mark.parametrize("weak_training_mode", [False, True])
def test_live_batch_norm_counts_the_strong_pass_and_in_training_mode_the_weak_one(weak_training_mode: bool) -> None:
    net, batch = Net(FLAT, norm="batch"), make_batch(FLAT)
    with_rule(UdaRule(*RULE), net, weak_training_mode=weak_training_mode).losses(net, batch, 0.5)
    assert net.norm.num_batches_tracked.item() == 1 + weak_training_mode
    assert all(modes(net))


def test_evaluation_mode_predicts_with_the_running_statistics() -> None:
    net, batch = Net(FLAT, norm="batch"), make_batch(FLAT)
    with torch.no_grad():
        expected = copy.deepcopy(net).eval()(batch.unlabeled.weak)["class"].softmax(1).amax(1).mean()  # type: ignore[union-attr]
        other = copy.deepcopy(net)(batch.unlabeled.weak)["class"].softmax(1).amax(1).mean()  # type: ignore[union-attr]
    found = with_rule(UdaRule(*RULE), net).losses(net, batch, 0.5).stats["confidence/class"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-5) and abs(found - other) > 1e-3


@pytest.mark.parametrize("before", [True, False], ids=["trained", "evaluated"])
@pytest.mark.parametrize("weak_training_mode", [False, True])
def test_mode_comes_back_after_an_error(weak_training_mode: bool, before: bool) -> None:
    teacher = Failing(FLAT, norm="batch").train(before)
    ours = with_rule(UdaRule(*RULE), teacher, weak_training_mode=weak_training_mode)
    with pytest.raises(RuntimeError, match="broken"):
        ours.losses(Net(FLAT), make_batch(FLAT), 0.5)
    assert modes(teacher) == [before] * len(modes(teacher)) and torch.is_grad_enabled()


def test_modules_that_are_frozen_in_evaluation_mode_stay_so_where_nothing_changes() -> None:
    teacher = Net(FLAT, norm="batch").train()
    teacher.norm.eval()
    with mode_of(teacher, training=True):
        assert not teacher.norm.training
    assert teacher.training and not teacher.norm.training


def test_targets_are_the_teachers() -> None:
    net, teacher, batch = Net(FLAT, seed=0), Net(FLAT, seed=1), make_batch(FLAT)
    _, ours = step(with_rule(UdaRule(*RULE), teacher), net, batch)
    # What the teacher predicts on weak views, the loop below takes from the live network: so it is given a network
    # that predicts as the teacher where it is asked without gradient.
    slow, slow_teacher = slow_copy(net), slow_copy(teacher)

    class Both(nn.Module):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return slow(images) if torch.is_grad_enabled() else slow_teacher(images)  # type: ignore[no-any-return]

    def slow_gradient(both: nn.Module) -> tuple[Tensor, list[int]]:
        terms, survivors = SlowUda({"class": 0.5}).losses(both, batch, 0.5)
        return gradient(slow, sum(terms.values(), torch.zeros(()))), survivors

    (expected, survivors), (mistaken, _) = slow_gradient(Both()), slow_gradient(slow)
    assert survivors and apart(ours, expected) < 1e-5
    assert apart(ours, mistaken) > 1e-2


def test_an_averaged_teacher_gives_targets_once_it_was_calibrated() -> None:
    net, batch = Net(FLAT), make_batch(FLAT)
    ours, resumed, live, fixed = (
        with_rule(UdaRule(*RULE), net, teacher_weights=of, calibrates=calibrates)
        for of, calibrates in (("ema", True), ("ema", True), ("live", True), ("ema", False))
    )
    labels_only = gradient(net, ours.losses(net, batch._replace(unlabeled=None), 0.5).total)
    losses, found = step(ours, net, batch)
    assert losses.terms["consistency"].item() == 0 and torch.equal(found, labels_only) and asked_of(batch) == []
    ours.calibrate({"class": 1.5})
    resumed.load_state_dict(ours.state_dict())
    found, again = (step(each, net, batch)[1] for each in (ours, resumed))
    live.calibrate({"class": 1.5})
    assert torch.equal(found, again) and torch.equal(found, step(live, net, batch)[1])
    assert not torch.equal(found, labels_only)
    assert fixed.losses(net, batch, 0.5).terms["consistency"].item() > 0


def test_teacher_gets_no_gradient_and_follows_its_weights() -> None:
    net, teacher, batch = Net(FLAT, seed=0), Net(FLAT, seed=1), make_batch(FLAT)
    ours = with_rule(UdaRule(*RULE), teacher)
    first = ours.losses(net, batch, 0.5)
    first.total.backward()
    assert all(p.grad is None for p in teacher.parameters()) and all(p.grad is not None for p in net.parameters())
    teacher.load_state_dict(net.state_dict())
    then = ours.losses(net, batch, 0.5).terms["consistency"].item()
    assert then == with_rule(UdaRule(*RULE), net).losses(net, batch, 0.5).terms["consistency"].item()
    assert then != first.terms["consistency"].item()


@pytest.mark.parametrize("heads", [FLAT, FACTORS], ids=["flat", "factors"])
def test_autocast_does_not_lose_the_gradient_of_weights_cast_in_the_weak_pass(heads: dict[str, int]) -> None:
    net, batch = Net(heads), make_batch(heads)
    exact = step(with_rule(UdaRule(*RULE), net), net, batch)[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = with_rule(UdaRule(*RULE), net).losses(net, batch, 0.5)
    losses.total.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.ne(0).any(), name
    found = torch.cat([p.grad.double().flatten() for p in net.parameters() if p.grad is not None])
    assert torch.cosine_similarity(found, exact, dim=0) > 0.9
