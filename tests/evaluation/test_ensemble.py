"""Weights of an ensemble against a slow loop, scikit-learn's scores and cases that can be told by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score, log_loss

from ssl_mask.data.predictions import PredictionTable
from ssl_mask.errors import DataError
from ssl_mask.evaluation.ensemble import JoinedTables, choose_weights, greedy_weights, join_tables, nested_parts

CLASSES = 4


def predictions(seed: int, sources: int, images: int, skill: Sequence[float]) -> tuple[NDArray[np.float64], list[int]]:
    """(sources, n, classes) probabilities of sources that lean to the true class by their skill, and true classes."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, CLASSES, images)
    scores = rng.normal(size=(sources, images, CLASSES))
    for source, strength in zip(scores, skill, strict=True):
        source[np.arange(images), true] += strength
    return np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True), true.tolist()


def quality(members: Sequence[NDArray[np.float64]], true: list[int]) -> tuple[float, float]:
    mean = [[sum(m[i][c] for m in members) / len(members) for c in range(CLASSES)] for i in range(len(true))]
    predicted = [row.index(max(row)) for row in mean]
    f1 = f1_score(true, predicted, labels=range(CLASSES), average="macro", zero_division=0)
    return float(f1), -float(log_loss(true, np.asarray(mean), labels=range(CLASSES)))


def slow_weights(probs: NDArray[np.float64], true: list[int], rounds: int) -> list[float]:
    bag: list[int] = []
    best: tuple[tuple[float, float], list[int]] | None = None
    for _ in range(rounds):
        scored = [(quality([probs[i] for i in [*bag, s]], true), s) for s in range(len(probs))]
        top = max((round(f, 12), round(nll, 9)) for (f, nll), _ in scored)
        bag.append(next(s for (f, nll), s in scored if (round(f, 12), round(nll, 9)) == top))
        if best is None or top > best[0]:
            best = top, [*bag]
    assert best is not None
    return [best[1].count(s) / len(best[1]) for s in range(len(probs))]


@pytest.mark.parametrize("seed", range(4))
def test_the_greedy_choice_is_that_of_a_slow_loop(seed: int) -> None:
    probs, true = predictions(seed, 3, 40, (0.8, 0.5, 1.0))
    assert greedy_weights(probs, np.asarray(true), rounds=8).tolist() == pytest.approx(slow_weights(probs, true, 8))


@pytest.mark.parametrize("seed", range(3))
def test_the_choice_is_between_the_best_source_and_the_best_of_all_means(seed: int) -> None:
    """Every mean of up to four sources, tried one by one."""
    probs, true = predictions(seed, 3, 40, (0.7, 0.7, 0.7))
    labels = np.asarray(true)
    weights = greedy_weights(probs, labels, rounds=4)
    chosen = f1_score(true, np.tensordot(weights, probs, axes=1).argmax(axis=1), average="macro")
    every = [
        quality([probs[i] for i in bag], true)[0]
        for size in range(1, 5)
        for bag in combinations_with_replacement(range(3), size)
    ]
    assert max(quality([p], true)[0] for p in probs) <= chosen <= max(every)


def test_of_equal_macro_f1_the_surer_source_is_taken_and_of_equals_the_first() -> None:
    true = np.asarray([0, 1, 2, 3])
    sure, unsure = (np.eye(CLASSES) * p + (1 - p) / CLASSES for p in (0.9, 0.5))
    assert greedy_weights(np.stack([unsure, sure, sure]), true).tolist() == [0, 1, 0]


def table(
    sha256: Sequence[str], true: Sequence[int], group: Sequence[str], fold: Sequence[int], probs: NDArray[np.float64],
    path: Sequence[str] | None = None,
) -> PredictionTable:  # fmt: skip
    names = np.asarray(path or [f"{s}.jpg" for s in sha256])
    return PredictionTable(
        tuple("abcd"), names, names, np.asarray(sha256), np.asarray(group), np.asarray(fold, np.int64),
        np.asarray(true, np.int64), probs.argmax(axis=1), probs.astype(np.float32), {},
    )  # fmt: skip


def plain_table(sha256: str, **changes: list[int] | list[str]) -> PredictionTable:
    """One row a letter; of class 0, group g and fold 0."""
    n = len(sha256)
    columns = {"true": [0] * n, "group": ["g"] * n, "fold": [0] * n} | changes
    return table(list(sha256), probs=np.arange(1, 4 * n + 1).reshape(n, 4) / 100, **columns)  # type: ignore[arg-type]


def test_tables_are_joined_by_digest_whatever_their_order() -> None:
    first, second = plain_table("xyz", fold=[0, 1, 2]), plain_table("zwy", fold=[2, 9, 1])
    joined = join_tables([first, second], ["one", "two"])
    assert joined.sha256.tolist() == ["y", "z"]
    assert joined.fold.tolist() == [1, 2]
    assert joined.probs[0, :, 0].tolist() == pytest.approx([0.05, 0.09])
    assert joined.probs[1, :, 0].tolist() == pytest.approx([0.09, 0.01])


def test_of_equal_images_the_first_by_path_stands_for_all() -> None:
    probs = np.arange(8).reshape(2, 4) / 10
    twice = table(["x", "x"], [0, 1], ["g", "h"], [0, 1], probs, path=["b.jpg", "a.jpg"])
    joined = join_tables([twice, twice], ["one", "two"])
    assert (joined.true.tolist(), joined.group.tolist()) == ([1], ["h"])


def test_images_of_no_group_fit_wherever_their_paths_begin() -> None:
    """A gallery has absolute paths; both name an image whose group is not known by its path."""
    ours, theirs = plain_table("xy"), plain_table("xy")
    ours = replace(ours, group=ours.path)
    theirs = replace(theirs, path=(paths := np.asarray(["/data/x.jpg", "/data/y.jpg"])), group=paths)
    assert join_tables([ours, theirs], ["one", "two"]).group.tolist() == ours.path.tolist()
    with pytest.raises(DataError, match="has the group"):
        join_tables([plain_table("xy"), theirs], ["one", "two"])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (plain_table("vw"), "one, two have validated no image in common"),
        (plain_table("xy", true=[0, 1]), r"y\.jpg has the class 1 in two and 0 in one"),
        (plain_table("xy", group=["h", "g"]), r"x\.jpg has the group h in two and g in one"),
        (plain_table("xy", fold=[0, 3]), r"y\.jpg has the fold 3 in two and 0 in one"),
    ],
)
def test_tables_that_do_not_fit_are_refused(other: PredictionTable, message: str) -> None:
    with pytest.raises(DataError, match=message):
        join_tables([plain_table("xy"), other], ["one", "two"])


def joined_of(probs: NDArray[np.float64], true: list[int], groups: int, folds: int) -> JoinedTables:
    """Groups in turn, and folds of whole groups."""
    n = len(true)
    group = np.arange(n) % groups
    names, digests = np.asarray([f"g{g:03}" for g in group]), np.asarray([f"{i:04}" for i in range(n)])
    return JoinedTables(digests, np.asarray(true), names, group % folds, probs)


def slow_gain(joined: JoinedTables, parts: list[int]) -> float:
    """Each part is predicted with weights from the others, image by image."""
    true = joined.true.tolist()
    nested = [-1] * len(true)
    for part in set(parts):
        rest = [i for i, p in enumerate(parts) if p != part]
        weights = greedy_weights(joined.probs[:, rest], np.asarray([true[i] for i in rest])).tolist()
        for i in (i for i, p in enumerate(parts) if p == part):
            mean = [sum(w * p[i][c] for w, p in zip(weights, joined.probs, strict=True)) for c in range(CLASSES)]
            nested[i] = mean.index(max(mean))
    plain = joined.probs.mean(axis=0).argmax(axis=1).tolist()
    after, before = (f1_score(true, p, labels=range(CLASSES), average="macro") for p in (nested, plain))
    return float(after - before)


def test_the_gain_is_that_of_weights_from_the_other_folds() -> None:
    probs, true = predictions(5, 2, 30, (0.9, 0.6))
    joined = joined_of(probs, true, groups=15, folds=3)
    choice = choose_weights(joined)
    assert choice.gain.value == pytest.approx(slow_gain(joined, joined.fold.tolist()))
    plain = probs.mean(axis=0).argmax(axis=1)
    assert choice.mean == pytest.approx(f1_score(true, plain, labels=range(CLASSES), average="macro"))
    assert (choice.images, choice.groups) == (30, 15)
    assert choice.weights.tolist() == greedy_weights(probs, np.asarray(true)).tolist()


def test_a_source_that_knows_nothing_is_left_out_and_the_weights_are_kept() -> None:
    probs, true = predictions(0, 3, 300, (2.0, 0.0, 0.0))
    choice = choose_weights(joined_of(probs, true, groups=60, folds=5))
    assert choice.kept and choice.gain.low > 0 and choice.weights[0] > 0.8


def test_luck_among_equals_is_no_gain() -> None:
    """On the images that chose them the weights look better than the plain mean; on the other folds they are not."""
    probs, true = predictions(1, 6, 300, [0.7] * 6)
    choice = choose_weights(joined_of(probs, true, groups=60, folds=5))
    own = np.tensordot(choice.weights, probs, axes=1).argmax(axis=1)
    assert f1_score(true, own, average="macro") > choice.mean
    assert not choice.kept and choice.gain.low <= 0


def test_a_gain_whose_interval_reaches_zero_is_not_kept() -> None:
    probs, true = predictions(1, 3, 150, (0.9, 0.7, 0.6))
    choice = choose_weights(joined_of(probs, true, groups=30, folds=5))
    assert choice.gain.low < 0 < choice.gain.value and not choice.kept


def test_one_fold_is_parted_by_whole_groups() -> None:
    probs, true = predictions(2, 2, 70, (1.0, 1.0))
    joined = joined_of(probs, true, groups=14, folds=1)
    parts = nested_parts(joined.fold, joined.group)
    assert set(parts.tolist()) == set(range(5))
    owner = dict(zip(joined.group.tolist(), parts.tolist(), strict=True))
    assert [owner[g] for g in joined.group.tolist()] == parts.tolist()
    few, one = (joined_of(probs, true, groups=groups, folds=1) for groups in (3, 1))
    assert set(nested_parts(few.fold, few.group).tolist()) == {0, 1, 2}
    with pytest.raises(DataError, match="All 70 images that can choose weights are of one group"):
        nested_parts(one.fold, one.group)
