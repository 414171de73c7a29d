"""UDA against a slow loop over images, and a test for each defect that was found in other implementations."""

from __future__ import annotations

import math

import pytest
import torch
from slow_reference import (
    FACTORS,
    FLAT,
    Net,
    SlowUda,
    Table,
    Views,
    apart,
    asked_of,
    gradient,
    make_batch,
    numbered,
    slow_copy,
    step,
    with_rule,
)

from ssl_mask.algorithms.consistency import Consistency
from ssl_mask.algorithms.fixmatch import FixMatchRule
from ssl_mask.algorithms.rule import Rule
from ssl_mask.algorithms.supervised import Supervised
from ssl_mask.algorithms.uda import UdaRule
from ssl_mask.types import Batch, Labeled, Unlabeled

HEADS = {
    "flat": (FLAT, {"thresholds": {"class": 0.6}, "temperatures": {"class": 1.7}}),
    "factors": (
        FACTORS,
        {
            "thresholds": {"first": 0.93, "second": 0.97, "third": 0.9},
            "temperatures": {"first": 1.5, "second": 0.8, "third": 2.5},
        },
    ),
    "joint": (
        FACTORS,
        {"thresholds": {"joint": 0.5}, "joint": True, "temperatures": {"first": 1.5, "second": 0.8, "third": 1.2}},
    ),
}


def algorithm(slow: SlowUda, net: torch.nn.Module) -> Consistency:
    """Ours, with the settings of the slow one."""
    smoothing = {name: torch.tensor(values) for name, values in slow.smoothing.items()}
    return Consistency(
        supervised=Supervised(scale=slow.scale, margin=slow.margin, smoothing=smoothing),
        teacher=net,
        rule=UdaRule(slow.thresholds, slow.sharpen),
        weight=slow.weight,
        start=slow.start,
        ramp_up=slow.ramp_up,
        joint=slow.joint,
        tsa=slow.tsa,
        temperatures=slow.temperatures,
    )


def compare(heads: dict[str, int], slow: SlowUda, progress: float, seed: int = 0) -> list[int]:
    """Terms, total and gradient of both; returns the survivors."""
    net, batch = Net(heads, seed=seed), make_batch(heads, seed=seed)
    losses, ours = step(algorithm(slow, net), net, batch, progress)
    reference = slow_copy(net)
    terms, survivors = slow.losses(reference, batch, progress)
    assert list(losses.terms) == list(terms)
    for name, term in terms.items():
        assert losses.terms[name].item() == pytest.approx(term.item(), rel=1e-5, abs=1e-9), name
    total = sum(terms.values(), torch.zeros(()))
    assert losses.total.item() == pytest.approx(total.item(), rel=1e-5)
    assert apart(ours, gradient(reference, total)) < 1e-5
    return survivors


@pytest.mark.parametrize("tsa", ["off", "linear", "log", "exp"])
@pytest.mark.parametrize("setting", HEADS)
def test_loss_and_gradient_equal_a_slow_loop(setting: str, tsa: str) -> None:
    heads, given = HEADS[setting]
    for seed in range(2):
        survivors = compare(heads, SlowUda(**given, tsa=tsa, weight=2.5), progress=0.8, seed=seed)
        assert 0 < len(survivors) < 10  # else nothing is shown


@pytest.mark.parametrize("setting", HEADS)
def test_with_margin_and_smoothing_the_bar_sees_logits_without_margin(setting: str) -> None:
    heads, given = HEADS[setting]
    smoothing = {name: [0.1 * (k % 2) for k in range(n)] for name, n in heads.items()}
    slow = SlowUda(**given, tsa="linear", scale=30.0, margin=0.3, smoothing=smoothing)
    compare(heads, slow, progress=0.6)


@pytest.mark.parametrize("sharpen", [0.25, 1.0, 3.0])
def test_every_sharpening(sharpen: float) -> None:
    compare(FLAT, SlowUda(thresholds={"class": 0.5}, sharpen=sharpen), progress=0.0)


@pytest.mark.parametrize(
    ("progress", "share"), [(0.0, 0.0), (0.19, 0.0), (0.2, 0.0), (0.3, 0.25), (0.5, 0.75), (0.6, 1.0), (1.0, 1.0)]
)
def test_weight_starts_late_and_rises(progress: float, share: float) -> None:
    slow = SlowUda(thresholds={"class": 0.5}, weight=3.0, start=0.2, ramp_up=0.4)
    net = Net(FLAT)
    assert algorithm(slow, net).strength(progress) == pytest.approx(3.0 * share, abs=1e-12)
    compare(FLAT, slow, progress)


def test_without_ramp_up_the_weight_is_whole_from_its_start_on() -> None:
    slow = SlowUda(thresholds={"class": 0.5}, weight=3.0, start=0.2)
    assert [algorithm(slow, Net(FLAT)).strength(t) for t in (0.0, 0.1999, 0.2, 1.0)] == [0.0, 0.0, 3.0, 3.0]


def test_some_steps_keep_some_labeled_images_and_not_others() -> None:
    """That the comparisons above are not all of one kind."""
    net, batch = Net(FLAT), make_batch(FLAT, labeled=40)
    slow = SlowUda(thresholds={"class": 0.5}, tsa="linear")
    shares = [algorithm(slow, net).losses(net, batch, t).stats["tsa_kept/class"].item() for t in (0.0, 0.5, 1.0)]
    assert shares == sorted(shares) and shares[0] < shares[2] and 0 < shares[1] < 1
    compare(FLAT, slow, progress=0.0)


# ---- the peers' defects ----


def looked_up(
    rows: list[list[float]], labeled: list[tuple[int, int]], pairs: list[tuple[int, int]]
) -> tuple[Table, Batch]:
    """A table of logits, labeled (row, label) pairs and unlabeled (weak row, strong row) pairs."""
    images = numbered(*[row for row, _ in labeled])
    labels = torch.tensor([[label] for _, label in labeled])
    views = Unlabeled(numbered(*[weak for weak, _ in pairs]), Views(numbered(*[strong for _, strong in pairs])))
    return Table(**{"class": rows}), Batch(Labeled(images, labels), views)


def two_classes(p: float) -> list[float]:
    """Logits of (p, 1 − p)."""
    return [math.log(p), math.log(1 - p)]


def kl(target: float, answer: float) -> float:
    """Between (target, 1 − target) and (answer, 1 − answer)."""
    return target * math.log(target / answer) + (1 - target) * math.log((1 - target) / (1 - answer))


def test_sharpening_is_applied_to_the_target() -> None:
    net, batch = looked_up([two_classes(0.9), two_classes(0.6)], [(0, 0)], [(0, 1)])
    for sharpen in (0.4, 1.0, 2.0):
        target = 0.9 ** (1 / sharpen) / (0.9 ** (1 / sharpen) + 0.1 ** (1 / sharpen))
        found = with_rule(UdaRule(0.8, sharpen), net).losses(net, batch, 0.0).terms["consistency"].item()
        assert found == pytest.approx(kl(target, 0.6), rel=1e-5)


@pytest.mark.parametrize(("p", "sharpen", "kept"), [(0.6, 0.1, 0.0), (0.9, 4.0, 1.0)])
def test_mask_is_on_the_unsharpened_p(p: float, sharpen: float, kept: float) -> None:
    net, batch = looked_up([two_classes(p), two_classes(0.5)], [(0, 0)], [(0, 1)])
    assert with_rule(UdaRule(0.8, sharpen), net).losses(net, batch, 0.0).stats["kept"].item() == kept


@pytest.mark.parametrize(("temperature", "kept"), [(1.0, 1.0), (4.0, 0.0)])
def test_mask_is_on_the_calibrated_p(temperature: float, kept: float) -> None:
    net, batch = looked_up([two_classes(0.9), two_classes(0.5)], [(0, 0)], [(0, 1)])
    ours = with_rule(UdaRule(0.8, 0.4), net)
    ours.calibrate({"class": temperature})
    assert ours.losses(net, batch, 0.0).stats["kept"].item() == kept


@pytest.mark.parametrize(
    ("rule", "kept"), [(UdaRule(0.5, 0.4), 0.0), (FixMatchRule(0.5), 1.0)], ids=["uda", "fixmatch"]
)
def test_p_exactly_at_the_threshold_is_out_for_uda_and_in_for_fixmatch(rule: Rule, kept: float) -> None:
    net, batch = looked_up([[0.0, 0.0]], [(0, 0)], [(0, 0)])
    losses = with_rule(rule, net).losses(net, batch, 0.0)
    assert losses.stats["kept"].item() == kept and losses.stats["mask_rate/class"].item() == kept


def test_annealing_keeps_a_confidently_wrong_image_and_drops_a_confidently_right_one() -> None:
    net, batch = looked_up([two_classes(0.99), two_classes(0.98)], [(0, 1), (1, 0)], [(0, 0)])
    losses = with_rule(UdaRule(0.8, 0.4), net, tsa="linear").losses(net, batch, 0.5)  # η = 0.75
    assert losses.stats["tsa_kept/class"].item() == 0.5
    assert losses.terms["class"].item() == pytest.approx(-math.log(0.01), rel=1e-4)


def test_annealed_sum_is_divided_by_the_kept() -> None:
    rows = [two_classes(0.99), two_classes(0.6), two_classes(0.3)]
    net, batch = looked_up(rows, [(0, 0), (1, 0), (2, 0), (0, 0), (0, 0)], [(0, 0)])
    losses = with_rule(UdaRule(0.8, 0.4), net, tsa="linear").losses(net, batch, 0.5)
    assert losses.terms["class"].item() == pytest.approx(-(math.log(0.6) + math.log(0.3)) / 2, rel=1e-5)


def test_a_batch_of_which_annealing_keeps_nothing_has_no_supervised_loss() -> None:
    net, batch = looked_up([two_classes(0.9)], [(0, 0), (0, 0)], [(0, 0)])
    losses, grads = step(with_rule(UdaRule(0.95, 0.4), net, tsa="linear"), net, batch, 0.5)
    assert losses.total.item() == 0.0 and grads.eq(0).all()


def test_annealing_uses_the_calibrated_p() -> None:
    net, batch = looked_up([two_classes(0.9)], [(0, 0)], [(0, 0)])
    ours = with_rule(UdaRule(0.95, 0.4), net, tsa="linear")
    ours.calibrate({"class": 4.0})  # p = 0.634 < 0.75
    assert ours.losses(net, batch, 0.5).stats["tsa_kept/class"].item() == 1.0


def test_joint_annealing_has_a_bar_of_all_combinations() -> None:
    rows = {"first": [two_classes(0.6), two_classes(0.3)], "second": [two_classes(0.6), two_classes(0.7)]}
    batch = Batch(Labeled(numbered(0, 1), torch.tensor([[0, 0], [0, 0]])), Unlabeled(numbered(0), Views(numbered(0))))
    net = Table(**rows)
    losses = with_rule(UdaRule(0.8, 0.4), net, tsa="linear", joint=True).losses(net, batch, 0.0)  # η = 1/4
    # p of the true combinations are 0.36 and 0.21: the first is dropped in both heads, the second kept in both.
    assert [losses.terms[k].item() for k in rows] == pytest.approx([-math.log(0.3), -math.log(0.7)], rel=1e-5)


def test_margin_moves_no_image_over_the_annealing_bar() -> None:
    net, batch = looked_up([[2.0, 0.0], [0.0, 1.0]], [(0, 0), (1, 0)], [(0, 0)])  # p = 0.88 and 0.27
    ours = with_rule(UdaRule(0.95, 0.4), net, tsa="linear")
    ours.supervised = Supervised(scale=30.0, margin=0.3)  # with the margin p of both would be below 0.01
    assert ours.losses(net, batch, 0.5).stats["tsa_kept/class"].item() == 0.5


def test_consistency_is_the_mean_over_all_unlabeled_images() -> None:
    rows = [two_classes(0.9), two_classes(0.6), two_classes(0.7)]
    net, batch = looked_up(rows, [(0, 0)], [(1, 0), (0, 2), (1, 0), (2, 0)])
    losses = with_rule(UdaRule(0.8, 1.0), net).losses(net, batch, 0.0)
    assert losses.terms["consistency"].item() == pytest.approx(kl(0.9, 0.7) / 4, rel=1e-5)
    assert losses.stats["kept"].item() == losses.stats["mask_rate/class"].item() == 0.25


@pytest.mark.parametrize("dense", [False, True])
def test_weak_views_get_no_gradient_and_strong_ones_do(dense: bool) -> None:
    rows = [two_classes(0.9), two_classes(0.6), two_classes(0.5)]
    net, batch = looked_up(rows, [(2, 0)], [(0, 1)])
    with_rule(UdaRule(0.8, 0.4), net, dense=dense).losses(net, batch, 0.0).total.backward()
    grads = net.rows["class"].grad
    assert grads is not None and grads[0].eq(0).all() and grads[1].ne(0).all()


def test_strong_views_are_asked_of_each_batch_for_the_survivors_only() -> None:
    rows = [two_classes(0.9), two_classes(0.6), two_classes(0.7)]
    net, first = looked_up(rows, [(0, 0)], [(1, 2), (0, 2), (1, 2), (0, 2)])
    ours = with_rule(UdaRule(0.8, 1.0), net)
    before = ours.losses(net, first, 0.0).terms["consistency"].item()
    assert asked_of(first) == [[1, 3]]
    second = Batch(first.labeled, Unlabeled(first.unlabeled.weak, Views(numbered(1, 1, 1, 1))))  # type: ignore[union-attr]
    after = ours.losses(net, second, 0.0).terms["consistency"].item()
    assert asked_of(second) == [[1, 3]] and asked_of(first) == [[1, 3]]
    assert [before, after] == pytest.approx([kl(0.9, 0.7) / 2, kl(0.9, 0.6) / 2], rel=1e-5)
    none = Batch(first.labeled, Unlabeled(numbered(1, 1), Views(numbered(2, 2))))
    assert ours.losses(net, none, 0.0).terms["consistency"].item() == 0.0 and asked_of(none) == [[]]


def test_a_target_that_counts_in_one_head_moves_only_that_head() -> None:
    net = Table(sure=[two_classes(0.95), two_classes(0.6)], unsure=[two_classes(0.7), two_classes(0.6)])
    views = Unlabeled(numbered(0), Views(numbered(1)))
    batch = Batch(Labeled(numbered(0), torch.tensor([[0, 0]])), views)
    losses = with_rule(UdaRule({"sure": 0.9, "unsure": 0.9}, 1.0), net).losses(net, batch, 0.0)
    assert losses.terms["consistency"].item() == pytest.approx(kl(0.95, 0.6), rel=1e-5)
    losses.terms["consistency"].backward()
    sure, unsure = net.rows["sure"].grad, net.rows["unsure"].grad
    assert sure is not None and sure[1].ne(0).all() and (unsure is None or unsure.eq(0).all())
    assert losses.stats["mask_rate/sure"].item() == 1.0 and losses.stats["mask_rate/unsure"].item() == 0.0


def test_before_its_start_no_weak_or_strong_view_is_looked_at() -> None:
    net, batch = Net(FLAT), make_batch(FLAT)
    losses = with_rule(UdaRule(0.5, 0.4), torch.nn.Identity(), start=0.5).losses(net, batch, 0.4)
    assert losses.terms["consistency"].item() == 0.0 and asked_of(batch) == []


def test_logged_shares_equal_a_loop() -> None:
    net, batch = Net(FLAT), make_batch(FLAT, unlabeled=12)
    stats = with_rule(UdaRule(0.6, 0.4), net).losses(net, batch, 0.0).stats
    probs = net(batch.unlabeled.weak)["class"].softmax(1).tolist()  # type: ignore[union-attr]
    histogram, predicted, selected = [0.0] * 10, [0.0] * 5, [0.0] * 5
    for row in probs:
        top = max(row)
        histogram[min(int(top * 10), 9)] += 1 / 12
        predicted[row.index(top)] += 1 / 12
        selected[row.index(top)] += (top > 0.6) / 12
    for name, expected in {"histogram": histogram, "predicted": predicted, "selected": selected}.items():
        assert stats[f"{name}/class"].tolist() == pytest.approx(expected, abs=1e-6), name
    assert stats["confidence/class"].item() == pytest.approx(sum(map(max, probs)) / 12, rel=1e-5)
    assert stats["mask_rate/class"].item() == pytest.approx(sum(selected), rel=1e-5)
