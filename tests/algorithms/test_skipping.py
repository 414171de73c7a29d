"""Work in proportion to the mask: skipping images and cutting batches changes no gradient on networks of LayerNorm."""

from __future__ import annotations

import pytest
import torch
from slow_reference import FACTORS, FLAT, POOL, Net, Views, apart, asked_of, gradient, make_batch, step, with_rule
from torch import Tensor

from ssl_mask.algorithms.adamatch import AdaMatchRule
from ssl_mask.algorithms.fixmatch import FixMatchRule
from ssl_mask.algorithms.flexmatch import FlexMatchRule
from ssl_mask.algorithms.freematch import FreeMatchRule
from ssl_mask.algorithms.rule import Rule
from ssl_mask.algorithms.softmatch import SoftMatchRule
from ssl_mask.algorithms.uda import UdaRule
from ssl_mask.types import Batch, Labeled, Unlabeled


def both_ways(rule: type[Rule], settings: tuple[object, ...], norm: str = "layer", **more: object) -> tuple[float, int]:
    """Distance of the survivors' gradient from the dense one, and the number of survivors of 12."""
    heads = FACTORS if more.get("joint") else FLAT
    grads, asked = [], []
    for dense in (False, True):
        net, batch = Net(heads, norm=norm), make_batch(heads, unlabeled=12)
        grads.append(step(with_rule(rule(*settings), net, dense=dense, **more), net, batch)[1])
        asked.append(asked_of(batch)[0])
    assert asked[1] == list(range(12))
    return apart(*grads), len(asked[0])


@pytest.mark.parametrize(
    ("rule", "settings", "more"),
    [
        (UdaRule, (0.7, 0.4), {}),
        (UdaRule, (0.6, 0.4), {"joint": True}),
        (UdaRule, (0.7, 0.4), {"tsa": "linear"}),
        (FixMatchRule, (0.7,), {}),
        (FreeMatchRule, (0.3, 0.05), {}),
        (AdaMatchRule, (0.9, 0.5), {}),
    ],
    ids=["uda", "joint", "annealed", "fixmatch", "freematch", "adamatch"],
)
def test_survivors_only_is_dense(rule: type[Rule], settings: tuple[object, ...], more: dict[str, object]) -> None:
    distance, survivors = both_ways(rule, settings, **more)
    assert distance < 1e-6 and 0 < survivors < 12


@pytest.mark.parametrize(("threshold", "survivors"), [(0.0, 12), (0.999999, 0)])
def test_also_where_all_or_none_survive(threshold: float, survivors: int) -> None:
    distance, found = both_ways(UdaRule, (threshold, 0.4))
    assert distance < 1e-6 and found == survivors


def test_softmatch_and_the_first_batch_of_flexmatch_skip_nothing() -> None:
    assert both_ways(SoftMatchRule, (0.9, 2.0)) == (0.0, 12)
    assert both_ways(FlexMatchRule, (0.7, POOL)) == (0.0, 12)


def test_differs_with_batch_norm_as_documented() -> None:
    distance, survivors = both_ways(UdaRule, (0.7, 0.4), norm="batch")
    assert distance > 1e-3 and 0 < survivors < 12


@pytest.mark.parametrize("count", [1, 2, 4])
def test_gradients_of_equal_parts_average_to_the_whole(count: int) -> None:
    net, batch = Net(FLAT), make_batch(FLAT, labeled=8, unlabeled=16)
    rule = UdaRule(0.7, 0.4)
    whole = step(with_rule(rule, net), net, batch)[1]
    parts = [step(with_rule(rule, net), net, part)[1] for part in batch.parts(count)]
    assert len(parts) == count
    assert apart(torch.stack(parts).mean(dim=0), whole) < 1e-6


def test_strong_views_of_a_part_are_those_of_its_images() -> None:
    batch = make_batch(FLAT, labeled=8, unlabeled=16)
    assert batch.unlabeled is not None
    for number, part in enumerate(batch.parts(4)):
        assert part.unlabeled is not None
        assert torch.equal(part.unlabeled.weak, batch.unlabeled.weak[4 * number : 4 * number + 4])
        rows = torch.tensor([3, 1])
        assert torch.equal(part.unlabeled.strong(rows), batch.unlabeled.strong.images[rows + 4 * number])  # type: ignore[attr-defined]
        assert torch.equal(part.labeled.images, batch.labeled.images[2 * number : 2 * number + 2])
        assert torch.equal(part.labeled.labels, batch.labeled.labels[2 * number : 2 * number + 2])


def test_parts_of_parts_and_batches_without_unlabeled_images() -> None:
    batch = make_batch(FLAT, labeled=8, unlabeled=16)
    inner = batch.parts(2)[1].parts(2)[1]
    assert inner.unlabeled is not None
    assert torch.equal(inner.unlabeled.strong(torch.tensor([0, 3])), batch.unlabeled.strong.images[[12, 15]])  # type: ignore[union-attr]
    assert [part.unlabeled for part in Batch(batch.labeled).parts(2)] == [None, None]


def test_every_step_makes_one_forward_pass_with_gradient() -> None:
    """With several processes a second one, or none, would hang or mix up their gradients."""
    net, sizes = Net(FLAT), []
    net.register_forward_hook(lambda _, inputs, __: sizes.append((len(inputs[0]), torch.is_grad_enabled())))
    for threshold in (0.0, 0.7, 0.999999):
        batch = make_batch(FLAT)
        with_rule(UdaRule(threshold, 0.4), net).losses(net, batch, 0.5)
        assert sizes == [(10, False), (6 + len(asked_of(batch)[0]), True)]
        sizes.clear()


def test_all_weights_have_a_gradient_where_none_survives() -> None:
    net, batch = Net(FLAT), make_batch(FLAT)
    with_rule(UdaRule(0.999999, 0.4), net).losses(net, batch, 0.5).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_images_of_one_row_each_are_alone() -> None:
    """The gradient of a batch is the mean of those of its images: no image sees another."""
    net, batch, rule = Net(FLAT), make_batch(FLAT, labeled=4, unlabeled=4), UdaRule(0.5, 0.4)
    assert batch.unlabeled is not None

    def alone(i: int) -> Tensor:
        views = Unlabeled(batch.unlabeled.weak[i, None], Views(batch.unlabeled.strong.images[i, None]))  # type: ignore[union-attr,attr-defined]
        one = Batch(Labeled(batch.labeled.images[i, None], batch.labeled.labels[i, None]), views)
        return gradient(net, with_rule(rule, net).losses(net, one, 0.5).total)

    whole = step(with_rule(rule, net), net, batch)[1]
    assert apart(torch.stack([alone(i) for i in range(4)]).mean(dim=0), whole) < 1e-6
