"""What to label next, against scipy and plain loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as scipy_entropy

from ssl_mask.selection.acquisition import (
    CANDIDATES,
    choose,
    disagreement,
    entropy,
    group_means,
    group_vectors,
    k_center,
    rarity,
    uncertainty,
)


def drawn(rng: np.random.Generator, rows: int, **sizes: int) -> dict[str, NDArray[Any]]:
    return {name: rng.dirichlet(np.full(size, 0.5), rows) for name, size in sizes.items()}


def unit(rng: np.random.Generator, rows: int, width: int = 5) -> NDArray[np.float64]:
    made = rng.normal(size=(rows, width))
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True))


def test_entropy_and_uncertainty_against_scipy() -> None:
    probs = drawn(np.random.default_rng(0), 20, color=3, size=2)
    for own in probs.values():
        np.testing.assert_allclose(entropy(own), scipy_entropy(own, base=own.shape[1], axis=1), atol=1e-12)
    expected = [np.mean([scipy_entropy(own[i], base=own.shape[1]) for own in probs.values()]) for i in range(20)]
    np.testing.assert_allclose(uncertainty(probs), expected)
    extremes = entropy(np.array([[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3], [np.nan, np.nan, np.nan]]))
    assert extremes[0] == 0 and extremes[1] == pytest.approx(1) and np.isnan(extremes[2])
    assert entropy(np.ones((2, 1))).tolist() == [0, 0]


def test_disagreement_of_two_is_their_jensen_shannon_divergence() -> None:
    rng = np.random.default_rng(1)
    one, other = drawn(rng, 20, color=3, size=2), drawn(rng, 20, color=3, size=2)
    expected = [
        np.mean([jensenshannon(one[f][i], other[f][i]) ** 2 / math.log(one[f].shape[1]) for f in one])
        for i in range(20)
    ]
    np.testing.assert_allclose(disagreement([one, other]), expected, atol=1e-12)


def test_disagreement_of_several_against_a_loop() -> None:
    rng = np.random.default_rng(2)
    members, shares = [drawn(rng, 6, color=4) for _ in range(3)], [0.5, 0.25, 0.25]
    for i in range(6):
        each = [member["color"][i] for member in members]
        mean = [sum(w * p[c] for w, p in zip(shares, each, strict=True)) for c in range(4)]
        apart = scipy_entropy(mean) - sum(w * scipy_entropy(p) for w, p in zip(shares, each, strict=True))
        assert disagreement(members, np.asarray(shares))[i] == pytest.approx(apart / math.log(4))
    unsure = {"color": np.full((1, 4), 0.25)}
    assert disagreement([unsure, unsure]).tolist() == [0]


def test_rarity_by_hand() -> None:
    probs = {"color": np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]), "size": np.array([[0.2, 0.8], [1.0, 0.0]])}
    counts = {"color": np.array([10, 5, 0]), "size": np.array([4, 4])}
    np.testing.assert_allclose(rarity(probs, counts), [(0.5 * 0.5 + 0) / 2, (1 + 0) / 2])


def test_a_group_counts_once_and_what_is_unreadable_not_at_all() -> None:
    group_of = np.array([0, 1, 0, 1, 1])
    np.testing.assert_allclose(group_means(np.array([1, 2, 3, np.nan, 6.0]), group_of, 2), [2, 4])
    vectors = np.array([[1, 0], [0, 1], [0, 1], [np.nan, np.nan], [0, 1.0]])
    np.testing.assert_allclose(group_vectors(vectors, group_of, 2), [[math.sqrt(0.5)] * 2, [0, 1]])


@settings(max_examples=25, deadline=None)
@given(groups=st.integers(1, 14), labeled=st.integers(1, 5), seed=st.integers(0, 999), data=st.data())
def test_k_center_against_a_loop(groups: int, labeled: int, seed: int, data: st.DataObject) -> None:
    budget = data.draw(st.integers(1, groups))
    rng = np.random.default_rng(seed)
    pool, known = unit(rng, groups), unit(rng, labeled)
    found = k_center(pool, known, budget)
    centers, left = [list(row) for row in known], list(range(groups))
    for place in range(budget):
        far = {i: min(math.dist(pool[i], center) for center in centers) for i in left}
        best = max(left, key=lambda i: far[i])
        assert found.groups[place] == best and found.scores[place] == pytest.approx(far[best], abs=1e-7)
        centers.append(list(pool[best]))
        left.remove(best)


def test_k_center_takes_each_group_once_though_all_are_alike() -> None:
    pool = np.tile([[1.0, 0.0]], (3000, 1))
    assert k_center(pool, pool[:1], 4).groups.tolist() == [0, 1, 2, 3]


def test_mixed_covers_among_the_most_uncertain() -> None:
    rng = np.random.default_rng(3)
    pool, known, scores = unit(rng, 20), unit(rng, 2), rng.random(20)
    chosen = choose("mixed", 4, scores, vectors=pool, labeled=known)
    candidates = sorted(sorted(range(20), key=lambda i: -scores[i])[: CANDIDATES * 4])
    expected = [candidates[i] for i in k_center(pool[candidates], known, 4).groups]
    assert chosen.groups.tolist() == expected and chosen.scores.tolist() == scores[expected].tolist()
    assert set(choose("mixed", 20, scores, vectors=pool, labeled=known).groups.tolist()) == set(range(20))


def test_of_equal_groups_the_first_is_chosen_and_random_keeps_its_seed() -> None:
    scores = np.array([0.5, 0.9, 0.5, 0.9, 0.1])
    assert choose("uncertainty", 4, scores).groups.tolist() == [1, 3, 0, 2]
    first, again, other = (choose("random", 3, np.zeros(50), seed=seed).groups.tolist() for seed in (1, 1, 2))
    assert first == again != other and len(set(first)) == 3
