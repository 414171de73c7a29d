"""Several heads as one distribution: against explicit products, and the identities that multi-head rests on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.models.joint import calibrated, joint_log_probs, predicted_probs

SIZES = {"first": 3, "second": 2, "third": 4}
SCHEMA = LabelSchema(tuple(Factor(n, tuple(f"{n}{i}" for i in range(k))) for n, k in SIZES.items()))


def logits(seed: int, n: int = 6) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {name: 2 * torch.randn(n, k, generator=rng) for name, k in SIZES.items()}


def labels(n: int = 6) -> Tensor:
    rng = torch.Generator().manual_seed(9)
    return torch.stack([torch.randint(k, (n,), generator=rng) for k in SIZES.values()], dim=1)


def test_joint_is_the_product_of_heads_in_the_schemas_order() -> None:
    heads = logits(0)
    joint = joint_log_probs(heads).exp()
    probs = [z.softmax(1) for z in heads.values()]
    for row in range(6):
        for indices in itertools.product(*map(range, SIZES.values())):
            column = int(SCHEMA.join(np.array([indices]))[0])
            expected = np.prod([float(p[row, i]) for p, i in zip(probs, indices, strict=True)])
            assert joint[row, column].item() == pytest.approx(expected, rel=1e-4)


def test_joint_sums_to_one() -> None:
    torch.testing.assert_close(joint_log_probs(logits(0)).exp().sum(1), torch.ones(6))


def test_joint_kl_is_the_sum_of_head_kls() -> None:
    p, q = logits(0), logits(1)
    joint = F.kl_div(joint_log_probs(q), joint_log_probs(p), log_target=True, reduction="batchmean")
    heads = [F.kl_div(q[k].log_softmax(1), p[k].log_softmax(1), log_target=True, reduction="batchmean") for k in p]
    torch.testing.assert_close(joint, torch.stack(heads).sum())


def test_joint_nll_is_the_sum_of_cross_entropies() -> None:
    heads, true = logits(0), labels()
    joint = F.nll_loss(joint_log_probs(heads), torch.from_numpy(SCHEMA.join(true.numpy())))
    parts = [F.cross_entropy(z, true[:, i]) for i, z in enumerate(heads.values())]
    torch.testing.assert_close(joint, torch.stack(parts).sum())


def test_sharpening_the_joint_is_sharpening_each_head() -> None:
    heads, temperature = logits(0), 0.4
    sharp_joint = (joint_log_probs(heads) / temperature).softmax(1)
    by_head = predicted_probs(heads, dict.fromkeys(SIZES, temperature))
    torch.testing.assert_close(sharp_joint, by_head)


def test_one_head_is_its_own_joint() -> None:
    one = {"class": logits(0)["third"]}
    torch.testing.assert_close(joint_log_probs(one).exp(), one["class"].softmax(1))


def test_temperature_divides_only_the_heads_it_names() -> None:
    heads = logits(0)
    cooled = calibrated(heads, {"second": 4.0})
    torch.testing.assert_close(cooled["second"], heads["second"] / 4)
    assert torch.equal(cooled["first"], heads["first"])
