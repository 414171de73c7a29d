"""Running means and distribution alignment (arXiv 1911.09785, section 3.1) against loops."""

from __future__ import annotations

import pytest
import torch
from slow_reference import FACTORS, FLAT, Net, make_batch, with_rule
from torch import Tensor

from ssl_mask.algorithms.running import Alignment, Running, uniform
from ssl_mask.algorithms.uda import UdaRule
from ssl_mask.models.joint import joint_log_probs
from ssl_mask.types import one_process


def softmaxes(logits: Tensor) -> list[list[float]]:
    rows = []
    for row in logits.double():
        powers = row.exp().tolist()
        rows.append([p / sum(powers) for p in powers])
    return rows


def test_running_mean_equals_a_loop() -> None:
    running, expected = Running(0.8), 0.5
    for value in (1.0, 2.0, -3.0):
        running.move("x", torch.tensor(value), start=torch.tensor(0.5))
        expected = 0.8 * expected + 0.2 * value
        assert running.values["x"].item() == pytest.approx(expected, rel=1e-6)
    assert running.get("x", torch.tensor(9.0)).item() == pytest.approx(expected, rel=1e-6)
    assert running.get("y", torch.tensor(9.0)).item() == 9.0


def test_no_momentum_is_the_last_value_and_full_momentum_the_first() -> None:
    last, first = Running(0.0), Running(1.0)
    for value in (1.0, 4.0):
        last.move("x", torch.tensor(value), start=torch.tensor(0.5))
        first.move("x", torch.tensor(value), start=torch.tensor(0.5))
    assert [last.values["x"].item(), first.values["x"].item()] == [4.0, 0.5]


def test_uniform_sums_to_one() -> None:
    assert uniform(torch.zeros(3, 4)).tolist() == [0.25] * 4


@pytest.mark.parametrize("prior", [None, [0.5, 0.2, 0.1, 0.15, 0.05]], ids=["uniform", "prior"])
def test_shifted_logits_are_p_times_target_over_the_running_mean(prior: list[float] | None) -> None:
    targets = None if prior is None else {"class": torch.tensor(prior)}
    alignment, momentum = Alignment(targets, 0.7), 0.7
    wanted, mean = prior or [0.2] * 5, [0.2] * 5
    rng = torch.Generator().manual_seed(0)
    for _ in range(4):
        logits = 2 * torch.randn(6, 5, generator=rng) + torch.tensor([1.0, 0.0, 0.0, -1.0, 0.0])
        alignment.observe({"class": logits}, one_process)
        probs = softmaxes(logits)
        mean = [momentum * m + (1 - momentum) * sum(p[c] for p in probs) / 6 for c, m in enumerate(mean)]
        assert alignment.running.values["class"].tolist() == pytest.approx(mean, rel=1e-5)
        shifted = alignment.shifted({"class": logits})["class"].softmax(1).tolist()
        for found, row in zip(shifted, probs, strict=True):
            aligned = [p * w / m for p, w, m in zip(row, wanted, mean, strict=True)]
            assert found == pytest.approx([a / sum(aligned) for a in aligned], rel=1e-5)


def test_before_anything_was_seen_uniform_alignment_changes_nothing() -> None:
    logits = {"class": torch.randn(4, 5, generator=torch.Generator().manual_seed(0))}
    torch.testing.assert_close(Alignment(None, 0.9).shifted(logits), logits)


def test_class_without_labeled_images_stays_possible() -> None:
    alignment = Alignment({"class": torch.tensor([1.0, 0.0])}, 0.9)
    shifted = alignment.shifted({"class": torch.tensor([[0.0, 30.0]])})["class"]
    assert shifted.isfinite().all() and shifted.argmax(1).item() == 1


def test_alignment_goes_before_the_mask_and_its_mean_is_of_predictions_not_aligned() -> None:
    net, batch = Net(FLAT), make_batch(FLAT)
    prior = torch.tensor([0.6, 0.1, 0.1, 0.1, 0.1])
    ours = with_rule(UdaRule(0.7, 0.4), net, alignment=Alignment({"class": prior}, 0.5), temperatures={"class": 2.0})
    mean = torch.full((5,), 0.2)
    for _ in range(3):
        stats = ours.losses(net, batch, 0.5).stats
        probs = torch.softmax(net(batch.unlabeled.weak)["class"].detach() / 2.0, dim=1)  # type: ignore[union-attr]
        mean = 0.5 * mean + 0.5 * probs.mean(0)
        aligned = probs * prior / mean
        tops = (aligned / aligned.sum(1, keepdim=True)).amax(1)
        assert stats["confidence/class"].item() == pytest.approx(tops.mean().item(), rel=1e-4)
        assert stats["mask_rate/class"].item() == pytest.approx((tops > 0.7).float().mean().item())


def test_joint_alignment_is_over_all_combinations() -> None:
    net, batch = Net(FACTORS), make_batch(FACTORS)
    ours = with_rule(UdaRule(0.3, 0.4), net, alignment=Alignment(None, 0.0), joint=True)
    ours.losses(net, batch, 0.5)
    assert ours.alignment is not None
    expected = joint_log_probs(net(batch.unlabeled.weak)).exp().mean(0).detach()  # type: ignore[union-attr]
    torch.testing.assert_close(ours.alignment.running.values, {"joint": expected})


def test_judging_validation_images_aligns_and_changes_nothing() -> None:
    net, batch = Net(FLAT), make_batch(FLAT)
    ours = with_rule(UdaRule(0.5, 0.4), net, alignment=Alignment(None, 0.5), temperatures={"class": 2.0})
    ours.losses(net, batch, 0.5)
    before = {k: v.clone() for k, v in ours.state_dict().items()}
    logits = net(batch.labeled.images)["class"].detach()
    targets = ours.targets({"class": logits})
    torch.testing.assert_close(ours.state_dict(), before, rtol=0, atol=0)
    aligned = torch.softmax(logits / 2.0, 1) * 0.2 / ours.alignment.running.values["class"]  # type: ignore[union-attr]
    aligned = aligned / aligned.sum(1, keepdim=True)
    assert torch.equal(targets.weights["class"], (aligned.amax(1) > 0.5).float())
    sharp = aligned ** (1 / 0.4)
    torch.testing.assert_close(targets.probs["class"], sharp / sharp.sum(1, keepdim=True))
