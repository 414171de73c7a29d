"""Splits: whole groups, every row once, and refusals that name what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_mask.data.manifest import Manifest, Row, Split, Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.data.splits import keep_labels_of, refuse_shared_groups, split
from ssl_mask.errors import DataError

SCHEMA = LabelSchema((Factor("class", ("cat", "dog", "owl")),))


def manifest(rows: list[Row]) -> Manifest:
    return Manifest(
        Path(), "table", SCHEMA, tuple(rows), grouped=True, submission=Submission("id", ("class",), "names")
    )


def row(number: int, group: str, label: int | None, side: Split = "train") -> Row:
    return Row(f"{number}.jpg", group, side, f"t.csv:{number}", None if label is None else (label,))


def thirty_groups() -> Manifest:
    labeled = [row(i, f"g{i // 4:02d}", (i // 4) % 3) for i in range(120)]
    return manifest([*labeled, *(row(200 + i, "", None, "test") for i in range(5)), row(300, "", None, "unlabeled")])


def cut(given: Manifest, fold: int = 0, seed: int = 0, folds: int = 5, min_groups: int = 2) -> Manifest:
    return split(given, folds=folds, fold=fold, seed=seed, min_groups=min_groups)


def validates(made: Manifest) -> set[str]:
    return {r.path for r in made.where("val").rows}


def test_no_group_stands_on_both_sides_in_any_fold() -> None:
    for fold in range(5):
        made = cut(thirty_groups(), fold)
        assert not set(made.where("train").groups) & set(made.where("val").groups)
        refuse_shared_groups(made)


def test_only_the_side_of_labeled_rows_changes() -> None:
    given, made = thirty_groups(), cut(thirty_groups())
    assert [r._replace(split="train") if r.split == "val" else r for r in made.rows] == list(given.rows)
    assert made.where("train") and made.where("val")


def test_folds_partition_the_labeled_rows() -> None:
    parts = [validates(cut(thirty_groups(), fold)) for fold in range(5)]
    assert sum(map(len, parts)) == 120 and len(set().union(*parts)) == 120
    assert len(set(map(frozenset, parts))) == 5


def test_every_class_is_in_every_fold() -> None:
    for fold in range(5):
        assert set(cut(thirty_groups(), fold).where("val").joint.tolist()) == {0, 1, 2}


def test_a_seed_fixes_the_split() -> None:
    assert validates(cut(thirty_groups(), seed=3)) == validates(cut(thirty_groups(), seed=3))
    assert validates(cut(thirty_groups(), seed=3)) != validates(cut(thirty_groups(), seed=4))


def test_a_given_split_is_honoured() -> None:
    given = manifest([row(1, "a", 0), row(2, "b", 1, "val"), row(3, "c", 1, "test")])
    assert cut(given) == given


@pytest.mark.parametrize(("one", "other"), [("train", "val"), ("train", "test"), ("val", "test")])
def test_a_given_split_with_a_group_on_both_sides_is_refused(one: Split, other: Split) -> None:
    given = manifest([row(1, "x", 0), row(2, "y", 1, "val"), row(3, "a", 0, one), row(4, "a", 0, other)])
    with pytest.raises(DataError, match=rf"Group 'a' .*{one} \(t\.csv:3\) and {other} \(t\.csv:4\)"):
        cut(given)


def test_a_group_in_train_and_test_is_refused_also_when_validation_is_cut_here() -> None:
    rows = list(thirty_groups().rows)
    with pytest.raises(DataError, match="Group 'g00' is in two splits"):
        cut(manifest([*rows, row(999, "g00", None, "test")]))


def rare() -> Manifest:
    return manifest([*(row(i, f"g{i}", i % 2) for i in range(20)), row(90, "lonely", 2), row(91, "lonely", 2)])


def test_a_class_with_one_group_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"Class owl has only 1 group\(s\) \(lonely\)") as caught:
        cut(rare())
    assert "data.min_groups=1" in caught.value.hint


def test_a_class_with_one_group_may_be_accepted() -> None:
    made = cut(rare(), min_groups=1)
    assert len({r.split for r in made.rows if r.group == "lonely"}) == 1


@pytest.mark.parametrize("groups", [4, 6])
def test_too_little_data_for_the_folds_is_a_data_error(groups: int) -> None:
    given = manifest([row(i, f"g{i}", i % 2) for i in range(groups)])
    with pytest.raises(DataError, match="5 folds"):
        cut(given)


def test_labels_of_few_groups_are_part_of_those_of_more_and_stratified() -> None:
    kinds = {"a": 40, "b": 20, "c": 4}
    groups = [(f"{kind}{n}", label) for label, (kind, count) in enumerate(kinds.items()) for n in range(count)]
    whole = manifest([row(3 * i + j, group, label) for i, (group, label) in enumerate(groups) for j in range(3)])
    kept: list[set[str]] = []
    for count in (8, 16, 32):
        part = keep_labels_of(whole, count, seed=3)
        kept.append(set(part.where("train").groups))
        assert len(kept[-1]) == count
        assert len(part) == len(whole)
        assert all(r.labels is None for r in part.where("unlabeled").rows)
        shares = [sum(g.startswith(kind) for g in kept[-1]) for kind in kinds]
        assert shares == pytest.approx([count * n / 64 for n in kinds.values()], abs=1.01)
    assert kept[0] < kept[1] < kept[2]
    assert set(keep_labels_of(whole, 16, seed=4).where("train").groups) != kept[1]


def test_more_labeled_groups_than_there_are_is_an_error() -> None:
    with pytest.raises(DataError, match=r"data\.labeled_groups is 65, but there are only 1 "):
        keep_labels_of(manifest([row(0, "a", 0)]), 65, seed=0)
