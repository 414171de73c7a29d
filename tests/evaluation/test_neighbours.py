"""Votes of groups, their mean with a network, and what is chosen, against slow loops and made-up people."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.evaluation.neighbours import Neighbourhood, Voting, choose, fused, vote, votes_of

SCHEMA = LabelSchema((Factor("shape", ("round", "square")), Factor("colour", ("red", "green", "blue"))))


def slow_vote(cosine: list[float], labels: list[int], classes: int, k: int, temperature: float) -> list[float]:
    near = [(c, label) for c, label in list(zip(cosine, labels, strict=True))[:k] if c > -math.inf]
    total = sum(math.exp(c / temperature) for c, _ in near)
    shares = [sum(math.exp(c / temperature) / total for c, own in near if own == label) for label in range(classes)]
    return [(len(near) * share + 1 / classes) / (len(near) + 1) for share in shares]


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (3, 0.02), (7, 0.5)])
def test_votes_are_those_of_a_slow_loop(k: int, temperature: float) -> None:
    rng = np.random.default_rng(k)
    cosine = np.sort(rng.uniform(-1, 1, (6, 5)), axis=1)[:, ::-1].astype(np.float32).copy()
    labels = rng.integers(0, 3, (6, 5))
    cosine[2, 3:], cosine[4] = -np.inf, -np.inf  # two groups are missing, and all of them
    found = vote(cosine, labels, 3, Voting(k, temperature))
    for row in range(6):
        expected = slow_vote(cosine[row].tolist(), labels[row].tolist(), 3, k, temperature)
        np.testing.assert_allclose(found[row], expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert found[4].tolist() == [1 / 3] * 3


def test_network_and_neighbours_meet_in_the_logarithm() -> None:
    """Of independent factors each is p_head^(1 − w) p_knn^w; one without a vote is as it was."""
    rng = np.random.default_rng(0)
    shape, colour = rng.dirichlet(np.ones(2), 5), rng.dirichlet(np.ones(3), 5)
    probs = SCHEMA.product({"shape": shape, "colour": colour})
    cosine, labels = rng.uniform(0, 1, (5, 4)).astype(np.float32), rng.integers(0, 2, (5, 4, 2))
    votings = {"colour": Voting(3, 0.1, 0.3)}
    votes = votes_of(cosine, labels, SCHEMA, votings)
    found = fused(probs, votes, votings, SCHEMA)
    for i in range(5):
        own = [colour[i][c] ** 0.7 * votes["colour"][i][c] ** 0.3 for c in range(3)]
        expected = [shape[i][s] * own[c] / sum(own) for s in range(2) for c in range(3)]
        np.testing.assert_allclose(found[i], expected, atol=1e-6)
    assert fused(probs, {}, {}, SCHEMA) is probs
    probs[1] = np.nan
    assert np.isnan(fused(probs, votes, votings, SCHEMA)).any(axis=1).tolist() == [False, True, False, False, False]


def people(seed: int, *, head: float, neighbour: float) -> Neighbourhood:
    """300 images of 60 persons: the network is right about a colour so often, and each neighbour so often."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(60), 5)
    true = np.stack([rng.integers(0, 2, 300), rng.integers(0, 3, 300)], axis=1)

    def told(column: int, classes: int, right: float, shape: tuple[int, ...]) -> NDArray[np.int64]:
        truth = true[:, column].reshape(-1, *[1] * (len(shape) - 1))
        return np.where(rng.random(shape) < right, truth, rng.integers(0, classes, shape))

    shape_said, colour_said = told(0, 2, 0.95, (300,)), told(1, 3, head, (300,))
    marginals = {"shape": 0.8 * np.eye(2)[shape_said] + 0.1, "colour": 0.7 * np.eye(3)[colour_said] + 0.1}
    labels = np.stack([told(0, 2, 0.3, (300, 20)), told(1, 3, neighbour, (300, 20))], axis=2)
    cosine = np.sort(rng.uniform(0.5, 0.9, (300, 20)), axis=1)[:, ::-1].astype(np.float32)
    names = np.char.add("p", group.astype(str))
    return Neighbourhood(cosine, labels, SCHEMA.product(marginals), true, names, group % 5)


def test_neighbours_who_know_more_are_kept_and_others_are_not() -> None:
    near = people(0, head=0.5, neighbour=0.6)
    found = choose(near, SCHEMA)
    assert found["colour"].kept and found["colour"].gain.low > 0.05
    assert found["colour"].voting.weight > 0 and found["colour"].voting.k > 1
    assert not found["shape"].kept
    assert (found["colour"].images, found["colour"].groups) == (300, 60)
    said = SCHEMA.marginals(near.probs)["colour"].argmax(axis=1)
    assert found["colour"].head == pytest.approx(f1_score(near.true[:, 1], said, average="macro"))


def test_luck_is_no_gain() -> None:
    """Settings that look better on the images that chose them are not kept: the other folds see none of it."""
    found = choose(people(3, head=0.6, neighbour=0.0), SCHEMA)
    assert not found["colour"].kept and not found["shape"].kept


def test_settings_of_a_fold_are_those_of_the_others() -> None:
    """Neighbours that are right in one fold alone: whoever looked at that fold would take them there."""
    near = people(1, head=0.6, neighbour=0.0)
    labels = near.labels.copy()
    labels[near.fold == 2] = near.true[near.fold == 2][:, None]
    only = Neighbourhood(near.cosine, labels, near.probs, near.true, near.group, near.fold)
    assert choose(only, SCHEMA)["colour"].gain.value <= 0.01
