"""What `explore` counts and measures, against loops, another library and calculation by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.evaluation.plane import plane
from ssl_mask.evaluation.shift import auc, auc_interval, shift
from ssl_mask.guard.findings import File, Findings, Pair, PoolRecord
from ssl_mask.reports.html.explore.copies import copies_of
from ssl_mask.reports.html.explore.counts import class_counts, mixed_groups, pool_counts
from ssl_mask.reports.html.explore.embedding import embedding_of
from ssl_mask.reports.html.explore.exploration import verdict
from ssl_mask.reports.html.explore.images import Images, sample, shares
from ssl_mask.reports.html.explore.page import spread
from ssl_mask.reports.html.explore.pixels import distances, scan, unusual

SCHEMA = LabelSchema((Factor("kind", ("cat", "dog")), Factor("cover", ("no", "yes", "half"))))


def images_made(pool: list[int], joint: list[int], group: list[str]) -> Images:
    names = ("train", "val", "test", "unlabeled")
    paths = tuple(f"{i}.png" for i in range(len(pool)))
    return Images(SCHEMA, (Path("x"),) * 4, names, names, np.asarray(pool), paths, paths, np.asarray(group),
                  np.asarray(joint))  # fmt: skip


def random_images(n: int = 400) -> Images:
    rng = np.random.default_rng(0)
    pool = np.sort(rng.integers(0, 4, n))
    joint = np.where(pool < 2, rng.integers(0, 6, n), -1)
    group = [f"g{g}" if g else "" for g in rng.integers(0, 40, n)]
    return images_made(pool.tolist(), joint.tolist(), group)


def test_classes_pools_and_groups_are_counted() -> None:
    images = images_made([0, 0, 0, 1, 1, 2], [0, 0, 4, 0, 5, -1], ["a", "a", "b", "c", "c", "d"])
    assert [(p.name, p.images, p.groups, p.smallest, p.median, p.largest) for p in pool_counts(images)] == [
        ("train", 3, 2, 1, 1.5, 2), ("val", 2, 1, 2, 2.0, 2), ("test", 1, 1, 1, 1.0, 1), ("unlabeled", 0, 0, 0, 0.0, 0),
    ]  # fmt: skip
    cat, dog = class_counts(images, 0)
    assert (cat.name, cat.images, cat.groups, cat.pools[:2]) == ("cat", 3, 2, ((2, 1), (1, 1)))
    assert (dog.images, dog.groups, dog.pools[:2]) == (2, 2, ((1, 1), (1, 1)))
    assert [c.images for c in class_counts(images)] == [3, 0, 0, 0, 1, 1]


def test_counts_agree_with_a_loop() -> None:
    images = random_images()
    for factor in (-1, 0, 1):
        for c, found in enumerate(class_counts(images, factor)):
            own = [
                i for i in range(len(images))
                if images.joint[i] >= 0
                and (images.joint[i] if factor < 0 else divmod(int(images.joint[i]), 3)[factor]) == c
            ]  # fmt: skip
            assert found.images == len(own)
            assert found.groups == len({images.group[i] for i in own} - {""})
            for k, (count, groups) in enumerate(found.pools):
                inside = [i for i in own if images.pool[i] == k]
                assert (count, groups) == (len(inside), len({images.group[i] for i in inside} - {""}))


def test_a_label_that_hardly_ever_differs_within_a_group_is_named() -> None:
    group = [f"g{i // 3}" for i in range(90)]
    joint = [3 * ((i // 3) % 2) + i % 3 for i in range(90)]
    joint[4] = 3 - 3 * (joint[4] // 3) + 1  # one image of g1 is of the other kind
    kind, cover = mixed_groups(images_made([0] * 90, joint, group))
    assert (kind.factor, kind.groups, kind.differing) == ("kind", 30, 1)
    assert kind.rare == (("g1", "2 dog, 1 cat", (4, 3, 5)),)
    assert (cover.differing, cover.rare) == (30, ())
    assert mixed_groups(images_made([0], [0], [""])) == []


def test_unlike_the_others_is_far_from_the_median() -> None:
    rng = np.random.default_rng(0)
    brightness = rng.normal(100, 10, 200)
    brightness[[3, 7]] = 5, 1
    size = np.full(200, 512.0)
    size[9] = 32
    values = np.stack([brightness, rng.normal(2, 0.1, 200), size, np.full(200, 0.75)], axis=1)
    values[11] = np.nan
    found = {u.words: u.rows for u in unusual(values)}
    assert found["much darker"][:2] == (7, 3) and found["much smaller"] == (9,) and "much wider" not in found
    away = brightness - np.median(brightness)
    assert distances(brightness) == pytest.approx(0.6745 * away / np.median(np.abs(away)))
    assert not distances(np.asarray([1.0] * 8 + [2.0] * 2)).any()  # two of ten are not unusual
    assert not distances(np.full(3, np.nan)).any()


def test_images_are_measured(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 80, 3), 200, np.uint8)).save(tmp_path / "a.png")
    told: list[tuple[int, int]] = []
    found = scan([tmp_path / "a.png", tmp_path / "gone.png"], lambda done, total: told.append((done, total)))
    assert found[0].tolist() == [200, -2, 40, 2.0] and np.isnan(found[1]).all()
    assert told == [(1, 2), (2, 2)]


def test_the_area_under_the_curve_is_that_of_sklearn() -> None:
    rng = np.random.default_rng(0)
    second, score = rng.random(80) < 0.4, rng.integers(0, 12, 80) / 10
    weights = rng.integers(0, 4, (5, 80)).astype(np.float64)
    expected = [roc_auc_score(second, score, sample_weight=w) for w in weights]
    assert auc(score, second, weights) == pytest.approx(expected)
    assert np.isnan(auc(score, second, second[None].astype(np.float64))).all()
    interval = auc_interval(score, second, np.arange(80))
    assert interval.value == pytest.approx(roc_auc_score(second, score))
    assert interval.low < interval.value < interval.high
    wide = auc_interval(np.repeat(score, 4), np.repeat(second, 4), np.repeat(np.arange(80), 4))
    assert wide.high - wide.low > 0.8 * (interval.high - interval.low)  # four copies of an image teach nothing new


def test_pools_that_differ_are_told_apart_and_others_are_not() -> None:
    rng = np.random.default_rng(1)
    features, second = rng.normal(0, 1, (160, 20)), np.arange(160) % 2 == 1
    group = np.asarray([f"g{i // 4}" for i in range(160)])
    same = shift(features, second, group)
    assert same is not None and same.auc.low < 0.5 < same.auc.high
    features[second, 0] += 6
    other = shift(features, second, group)
    assert other is not None and other.auc.low > 0.95
    assert shift(features[:30], second[:30], group[:30]) is None
    # What is known of a group in training is not asked about: a mark of each group alone tells nothing.
    marks = np.eye(40)[np.arange(160) // 4] * 50
    by_group = shift(marks, np.arange(160) // 4 % 2 == 1, group)
    assert by_group is not None and by_group.auc.value < 0.6


def test_the_plane_is_that_of_the_principal_components() -> None:
    features = np.random.default_rng(0).normal(0, 1, (50, 10)) * np.arange(1, 11)
    scaled = features / np.linalg.norm(features, axis=1, keepdims=True)
    found, full = plane(features), PCA(svd_solver="full").fit(scaled)
    assert np.abs(found.places) == pytest.approx(np.abs(full.transform(scaled)[:, :2]), abs=1e-6)
    assert found.explained == pytest.approx(full.explained_variance_ratio_[:2].sum())
    assert plane(np.ones((4, 3))).explained == 0


def test_the_most_test_like_labeled_images_come_first() -> None:
    images = images_made([0] * 60 + [2] * 60, [i % 6 for i in range(60)] + [-1] * 60, [f"g{i}" for i in range(120)])
    features = np.random.default_rng(0).normal(0, 1, (120, 5)).astype(np.float32)
    features[60:, 0] += 4
    features[[5, 17], 0] += 5  # two labeled images that look like test images
    found = embedding_of(images, np.arange(120), features)
    assert found is not None
    (difference,) = found.differences
    assert {row for row, _ in difference.most_alike(2)} == {5, 17}
    assert all(row >= 60 for row, _ in difference.least_alike(3))
    assert difference.halves is None and embedding_of(images, np.arange(2), features[:2]) is None


def test_persons_of_a_pool_without_groups_are_no_shift() -> None:
    """Several images of each person, and nothing else that differs: the AUC alone would call that a shift."""
    person = np.random.default_rng(0).normal(0, 1, (60, 12)).repeat(6, axis=0)
    features = (person + np.random.default_rng(1).normal(0, 0.1, person.shape)).astype(np.float32)
    group = [f"g{i // 6}" if i < 180 else "" for i in range(360)]
    images = images_made([0] * 180 + [2] * 180, [i % 6 for i in range(180)] + [-1] * 180, group)
    found = embedding_of(images, np.arange(360), features)
    assert found is not None
    (difference,) = found.differences
    assert difference.shift.auc.low > 0.5 and difference.halves is not None
    assert difference.shift.auc.low < difference.chance and "no more from the labeled ones" in verdict(difference)
    features[180:] += 2
    moved = embedding_of(images, np.arange(360), features)
    assert moved is not None and "differ much" in verdict(moved.differences[0])


def test_pairs_of_the_guard_are_sorted_out() -> None:
    def pair(first: str, second: str, kind: Any, labels: tuple[str, str] = ("a", "a"), score: float = 1.0) -> Pair:
        return Pair(first, second, kind, score, f"{kind}{score}", "y", "1", "2", *labels, "", 2)

    files = tuple(File(f"{i}.png", digest, "", "") for i, digest in enumerate(("1", "1", "1", "2", "", "")))
    pools = (PoolRecord("test", "test", "", files[3:], {"5.png": "torn", "4.png": "empty"}, ""),
             PoolRecord("train", "train", "", files[:3], {}, ""))  # fmt: skip
    pairs = (
        pair("test", "train", "bytes", ("b", "a")), pair("train", "train", "near", score=0.8),
        pair("train", "train", "near", ("a", "b"), 0.9), pair("test", "train", "near", ("", "a"), 0.7),
        pair("test", "train", "review", ("b", "a"), 0.5), pair("test", "train", "group"),
    )  # fmt: skip
    found = copies_of(Findings(pools, pairs, (), {}))
    assert [p.first for p in found.conflicts] == ["bytes1.0", "near0.9"]
    assert [p.first for p in found.across] == ["near0.7"] and [p.first for p in found.within] == ["near0.8"]
    assert [p.first for p in found.perhaps] == ["review0.5"]
    assert (found.between, found.groups, found.same_files) == (2, 1, {"train": 2})
    assert found.unreadable == {"test": ("4.png: empty", "5.png: torn")}
    assert ("test", "train", "near", 1) in found.kinds and len(found.kinds) == 5


def test_a_sample_is_fair() -> None:
    assert shares([10, 1000, 1000], 100) == [10, 45, 45] and shares([3, 4, 5], 100) == [3, 4, 5]
    images = random_images()
    assert sample(images, 1000).tolist() == list(range(400))
    rows = sample(images, 60)
    assert len(rows) == 60 and rows.tolist() == sample(images, 60).tolist() == sorted(set(rows.tolist()))
    assert [int(np.isin(images.pool[rows], own).sum()) for own in ((0, 1), (2,), (3,))] == [20, 20, 20]
    assert set(images.joint[rows].tolist()) == {-1, 0, 1, 2, 3, 4, 5}


def test_a_contact_sheet_shows_many_groups() -> None:
    images = images_made([0] * 12, [0] * 12, ["a"] * 8 + ["b", "c", "", ""])
    first = spread(images, np.arange(12), 5)
    assert {8, 9, 10, 11} < set(first) and len(spread(images, np.arange(12), 100)) == 12
