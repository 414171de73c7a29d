"""Mixup and CutMix against slow loops over pixels, images and heads (arXiv 1710.09412, arXiv 1905.04899)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from slow_reference import FACTORS, FLAT, Net, SlowUda, Table, apart, gradient, make_batch, numbered, slow_copy
from torch import Tensor

from ssl_mask.algorithms.adamatch import AdaMatchRule
from ssl_mask.algorithms.consistency import Consistency
from ssl_mask.algorithms.mixing import Mixed, Mixing, cutmix, mixup
from ssl_mask.algorithms.supervised import Supervised
from ssl_mask.algorithms.uda import UdaRule
from ssl_mask.config import validate
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.training.algorithm import make_supervised
from ssl_mask.types import Batch, Labeled


def images(count: int, size: int, seed: int) -> Tensor:
    return torch.randint(256, (count, size, size, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_mixup_is_a_slow_loop_over_pixels(share: float) -> None:
    first, second = images(2, 4, 0), images(2, 4, 1)
    pairs = zip(first.flatten().tolist(), second.flatten().tolist(), strict=True)
    expected = [share * a + (1 - share) * b for a, b in pairs]
    found = mixup(first, second, share)
    assert found.dtype == torch.uint8
    np.testing.assert_allclose(found.flatten().tolist(), expected, atol=0.51)  # rounded


@pytest.mark.parametrize("share", [0.0, 0.3, 0.75, 0.99, 1.0])
@pytest.mark.parametrize("centre", [(5, 5), (0, 9), (9, 1)])
def test_cutmix_is_a_slow_loop_over_pixels(share: float, centre: tuple[int, int]) -> None:
    first, second = images(2, 10, 0), images(2, 10, 1)
    half, taken = int(10 * np.sqrt(1 - share)) // 2, 0
    expected = first.clone()
    for row in range(10):
        for column in range(10):
            if all(c - half <= at < c + half for c, at in zip(centre, (row, column), strict=True)):
                expected[:, row, column] = second[:, row, column]
                taken += 1
    before = first.clone()
    found, kept = cutmix(first, second, share, centre)
    assert torch.equal(found, expected) and torch.equal(first, before)
    assert kept == pytest.approx(1 - taken / 100)


def coloured(size: int = 16) -> Labeled:
    """Image i has the colour 40 · i + 10, and the label i."""
    colours = (40 * torch.arange(6, dtype=torch.uint8) + 10)[:, None, None, None]
    return Labeled(colours.expand(6, size, size, 3).contiguous(), torch.arange(6)[:, None])


@pytest.mark.parametrize(
    "mixing", [Mixing(0.4, 0.0), Mixing(0.0, 1.0), Mixing(0.4, 1.0)], ids=["mixup", "cutmix", "both"]
)
def test_labels_and_shares_are_those_of_the_pixels(mixing: Mixing) -> None:
    torch.manual_seed(0)
    shares, blended = [], 0
    for _ in range(120):
        mixed = mixing(coloured())
        (share, own), (rest, other) = mixed.parts
        assert share + rest == pytest.approx(1) and own.labels[:, 0].tolist() == list(range(6))
        assert sorted(other.labels[:, 0].tolist()) == list(range(6))
        for image, a, b in zip(mixed.images, own.labels[:, 0], other.labels[:, 0], strict=True):
            mean = 10 + 40 * (share * a + rest * b)
            assert image.float().mean().item() == pytest.approx(mean.item(), abs=0.6)
        pairs = (own.labels != other.labels)[:, 0]
        blended += int(pairs.any() and not torch.isin(mixed.images, coloured().images).all())
        shares.append(share)
    if mixing.cutmix == 0:  # Beta(α, α): mean 1/2, variance 1 / (4 · (2α + 1))
        assert np.mean(shares) == pytest.approx(0.5, abs=0.1)
        assert np.var(shares) == pytest.approx(1 / (4 * 1.8), abs=0.04)
    assert (blended == 0) == (mixing.mixup == 0) and blended < 120 * (1 if mixing.cutmix == 0 else 0.7)


def test_off_changes_nothing_and_draws_nothing() -> None:
    before, labeled = torch.get_rng_state(), coloured()
    mixed = Mixing()(labeled)
    assert mixed.images is labeled.images and mixed.parts == ((1.0, labeled),)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_seed_of_a_step_gives_the_batch() -> None:
    def mixed(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return Mixing(0.4, 1.0)(coloured()).images

    assert torch.equal(mixed(1), mixed(1)) and not torch.equal(mixed(1), mixed(2))


class Fixed(Mixing):
    """A known pair of shares and order, and images of their own."""

    def __call__(self, labeled: Labeled) -> Mixed:
        count = len(labeled.images)
        return Mixed(labeled.images, ((0.7, labeled), (0.3, labeled.at(torch.arange(count).roll(1)))))


@pytest.mark.parametrize("joint", [False, True], ids=["factors", "joint"])
@pytest.mark.parametrize("tsa", ["off", "linear"])
def test_loss_is_that_of_both_labels_each_with_its_margin_and_weights(tsa: str, joint: bool) -> None:
    """A batch of labeled and pseudo-labeled images: weights of 0, soft targets, smoothing and class weights."""
    slow = SlowUda(
        {}, scale=12.0, margin=0.3, joint=joint, tsa=tsa, smoothing={"first": [0.1, 0.0, 0.2]},
        temperatures={"first": 1.5, "second": 0.8, "third": 1.2},
    )  # fmt: skip
    rng = torch.Generator().manual_seed(0)
    net = Table(**{n: (12.0 * (1.8 * torch.rand(6, k, generator=rng) - 0.9)).tolist() for n, k in FACTORS.items()})
    labels = make_batch(FACTORS, labeled=6, seed=3).labeled.labels
    weights = torch.rand(6, 3, generator=rng) * (torch.arange(18).view(6, 3) % 4 > 0)
    class_weights = {"third": torch.tensor([0.5, 1.0, 3.0])}
    supervised = Supervised(
        scale=12.0, margin=0.3, smoothing={"first": torch.tensor([0.1, 0.0, 0.2])}, weights=class_weights,
        mixing=Fixed(),
    )  # fmt: skip
    ours = Consistency(supervised, net, UdaRule(0.5, 0.4), joint=joint, tsa=tsa, temperatures=slow.temperatures)
    progress = 0.02
    found = ours.losses(net, Batch(Labeled(numbered(*range(6)), labels, weights)), progress)

    reference = slow_copy(net)
    rows = [{n: list(z[i].unbind()) for n, z in reference.rows.items()} for i in range(6)]  # type: ignore[operator,union-attr]
    expected, counts = dict.fromkeys(FACTORS, torch.zeros((), dtype=torch.float64)), dict.fromkeys(FACTORS, 0)
    for i, row in enumerate(rows):
        for head, name in enumerate(FACTORS):
            pairs = ((0.7, i), (0.3, (i - 1) % 6))
            if tsa != "off":
                p = sum(share * true_prob(slow, row, labels[j].tolist(), name) for share, j in pairs)
                classes = 18 if joint else FACTORS[name]
                if p >= progress * (1 - 1 / classes) + 1 / classes:
                    continue
            counts[name] += 1
            for share, j in pairs:
                label = int(labels[j, head])
                factor = float(weights[j, head]) * (float(class_weights[name][label]) if name in class_weights else 1.0)
                one = slow.one(row[name], label, slow.smoothing.get(name))
                expected[name] = expected[name] + share * factor * one
    for name, total in expected.items():
        assert found.terms[name].item() == pytest.approx((total / counts[name]).item(), rel=1e-4), name
    assert tsa == "off" or 0 < min(counts.values()) < 6
    whole = sum((total / counts[n] for n, total in expected.items()), torch.zeros(()))
    assert apart(gradient(net, found.total), gradient(reference, whole)) < 1e-4


def true_prob(slow: SlowUda, row: dict[str, list[Tensor]], label: list[int], head: str) -> float:
    cooled = {n: torch.stack(z) / slow.temperatures[n] for n, z in row.items()}
    probs = {n: z.softmax(0)[y].item() for (n, z), y in zip(cooled.items(), label, strict=True)}
    return float(np.prod(list(probs.values()))) if slow.joint else probs[head]


def test_soft_targets_are_mixed_and_the_training_accuracy_counts_both_labels() -> None:
    net = Table(**{"class": [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]})
    targets = {"class": torch.tensor([[0.6, 0.4, 0.0], [0.1, 0.1, 0.8]])}
    found = Supervised(scale=None, mixing=Fixed()).losses(
        net, Batch(Labeled(numbered(0, 1), torch.tensor([[0], [2]]), None, targets)), 0.0
    )
    log_p = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).log_softmax(1)
    soft = torch.stack([0.7 * targets["class"][i] + 0.3 * targets["class"][1 - i] for i in (0, 1)])
    assert found.terms["class"].item() == pytest.approx(-(soft * log_p).sum().item() / 2, rel=1e-5)
    assert found.stats["train_accuracy"].item() == pytest.approx(0.7 / 2)


def test_confidence_on_labeled_images_is_that_of_images_that_are_not_mixed() -> None:
    net, batch = Net(FLAT), make_batch(FLAT)
    plain = Consistency(Supervised(scale=None), net, AdaMatchRule(0.9, 0.5))
    mixed = Consistency(Supervised(scale=None, mixing=Mixing(1.0, 0.0)), net, AdaMatchRule(0.9, 0.5))
    terms = [each.losses(net, batch, 0.5).terms for each in (plain, mixed)]
    torch.testing.assert_close(plain.state_dict(), mixed.state_dict(), rtol=0, atol=0)
    assert terms[0]["consistency"].item() == pytest.approx(terms[1]["consistency"].item(), rel=1e-6)
    assert terms[0]["class"].item() != terms[1]["class"].item()


@pytest.mark.parametrize(("tuning", "expected"), [("full", Mixing(0.2, 1.0)), ("probe", Mixing())])
def test_features_of_a_probe_are_not_mixed(tuning: str, expected: Mixing) -> None:
    config = validate({"augment": {"mixup": 0.2, "cutmix": 1.0}, "model": {"tuning": tuning}})
    schema = LabelSchema((Factor("kind", ("a", "b")),))
    rows = tuple(Row(f"{i}.jpg", "", "train", f"t:{i}", (i,)) for i in range(2))
    manifest = Manifest(Path(), "table", schema, rows, False, Submission("image", ("kind",), "names"))
    assert make_supervised(config, manifest, torch.device("cpu")).mixing == expected


def test_annealing_looks_at_the_probability_of_both_labels() -> None:
    """p of labels 1 and 0 is 0.7 · 0.9 + 0.3 · 0.1 = 0.66, of 0 and 1 it is 0.34, of 1 and 1 it is 0.9; η = 0.75."""
    for labels, kept in (((1, 0), 1.0), ((1, 1), 0.0)):
        net = Table(**{"class": [[0.0, float(np.log(9))]] * 2})
        ours = Consistency(Supervised(scale=None, mixing=Fixed()), net, UdaRule(0.5, 0.4), tsa="linear")
        found = ours.losses(net, Batch(Labeled(numbered(0, 1), torch.tensor(labels)[:, None])), 0.5)
        assert found.stats["tsa_kept/class"].item() == kept
