"""What photos of one person lend one another, against plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import gmean

from ssl_mask.data.layouts import read_dataset
from ssl_mask.selection.groups import constant_factors, lend, pool_groups

SIZES = {"cover": 3, "kind": 2}
GROUPS = np.asarray(["ann", "bob", "", "ann", "cy", "", "bob", "ann"])


def sample(seed: int, groups: NDArray[np.str_] = GROUPS) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {f: softmax(rng.normal(size=(len(groups), k)) * 2, axis=1).astype(np.float32) for f, k in SIZES.items()}


def test_a_factor_is_constant_when_no_labeled_group_varies() -> None:
    labels = np.asarray([[0, 1], [2, 0], [1, 1], [1, 1], [0, 1], [2, 0], [2, 0], [-1, -1]])
    assert constant_factors(labels, GROUPS).tolist() == [False, True]
    labels[3, 1] = 0
    assert constant_factors(labels, GROUPS).tolist() == [False, False]


def test_unknown_labels_and_rows_without_group_prove_nothing() -> None:
    groups = np.asarray(["", "", "ann", "ann", "bob"])
    assert constant_factors(np.asarray([[0], [1], [1], [1], [0]]), groups).tolist() == [True]
    assert constant_factors(np.asarray([[0], [0], [1], [-1], [0]]), groups).tolist() == [False]
    assert constant_factors(np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=str)).tolist() == [False, False]


@pytest.mark.parametrize("seed", range(10))
def test_constant_factors_are_a_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, labels = rng.choice(["", "a", "b", "c", "d", "e"], 9), rng.integers(-1, 2, (9, 3))
    expected = []
    for column in labels.T:
        seen = [[v for v, g in zip(column, groups, strict=True) if g == name and v >= 0] for name in "abcde"]
        pairs = [values for values in seen if len(values) >= 2]
        expected.append(bool(pairs) and all(len(set(values)) == 1 for values in pairs))
    assert constant_factors(labels, groups).tolist() == expected


def test_known_groups_lend_their_labels() -> None:
    probs = sample(0)
    known = {"ann": (2, 1), "cy": (0, -1), "": (0, 0), "unseen": (0, 0)}
    lent = lend(probs, GROUPS, known, {"kind": 1})
    assert lent["cover"] is probs["cover"]
    assert lent["kind"].dtype == np.float32
    for row, group in enumerate(GROUPS):
        expected = [0, 1] if group == "ann" else probs["kind"][row].tolist()
        assert lent["kind"][row].tolist() == expected
    assert (probs["kind"] == sample(0)["kind"]).all(), "the input is not written to"


def test_unreadable_photos_stay_without_prediction() -> None:
    probs = sample(0)
    probs["kind"][0] = np.nan
    for given in (lend(probs, GROUPS, {"ann": (0, 1)}, {"kind": 1}), pool_groups(probs, GROUPS, ["kind"])):
        assert np.isnan(given["kind"][0]).all()
        assert not np.isnan(given["kind"][1:]).any()


@pytest.mark.parametrize("seed", range(5))
def test_pooled_groups_share_their_geometric_mean(seed: int) -> None:
    probs = sample(seed)
    pooled = pool_groups(probs, GROUPS, ["kind"])
    assert pooled["cover"] is probs["cover"]
    for row, group in enumerate(GROUPS):
        if group in ("", "cy"):
            assert pooled["kind"][row].tolist() == probs["kind"][row].tolist()
        else:
            mean = gmean(probs["kind"][group == GROUPS].astype(np.float64), axis=0)
            assert pooled["kind"][row] == pytest.approx(mean / mean.sum(), abs=1e-6)


def test_a_photo_that_rules_a_class_out_has_no_veto() -> None:
    groups = np.asarray(["ann"] * 3)
    pooled = pool_groups({"kind": np.asarray([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])}, groups, ["kind"])["kind"]
    assert pooled == pytest.approx(np.tile([1.0, 0.0], (3, 1)), abs=1e-6)


def test_pooling_keeps_what_was_lent() -> None:
    lent = lend(sample(0), GROUPS, {"ann": (0, 1)}, {"kind": 1})
    pooled = pool_groups(lent, GROUPS, ["kind"])
    assert pooled["kind"][GROUPS == "ann"] == pytest.approx(np.tile([0.0, 1.0], (3, 1)), abs=1e-12)


def test_nothing_to_pool_is_fine() -> None:
    empty = {"kind": np.empty((0, 2), dtype=np.float32)}
    nobody = np.empty(0, dtype=str)
    assert pool_groups(empty, nobody, ["kind"])["kind"].shape == (0, 2)
    assert lend(empty, nobody, {}, {"kind": 0})["kind"].shape == (0, 2)


def test_real_persons_change_their_mask_and_nothing_else(mask18: Path) -> None:
    train = read_dataset(mask18).where("train")
    constant = constant_factors(train.labels, train.groups)
    names = [f.name for f in train.schema.factors]
    assert dict(zip(names, constant.tolist(), strict=True)) == {"mask": False, "gender": True, "age": True}
