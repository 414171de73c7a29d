"""Which groups (persons) of a pool are worth labeling next: pure scores of images, and choices of groups.

| rule | chosen first are groups … | after |
| --- | --- | --- |
| uncertainty | of whose classes the models are least sure | Lewis & Gale 1994, arXiv cmp-lg/9407020 |
| disagreement | on which the models contradict each other | BALD: Houlsby et al. 2011, arXiv 1112.5745 |
| coverage | least like all labeled and chosen ones | k-center greedy: Sener & Savarese 2018, arXiv 1708.00489 |
| rare | that are likely of classes with few labeled groups | as in Bengar et al. 2022, arXiv 2110.04543 |
| mixed | that cover, of three times as many uncertain ones | uncertain, then diverse: Zhdanov 2019, arXiv 1901.05954 |
| random | drawn with a seed: what every other rule must beat | |

Of equal groups the first is chosen: whoever asks puts groups in an order that does not depend on names of files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rule = Literal["mixed", "uncertainty", "disagreement", "coverage", "rare", "random"]
DEFAULT: Rule = "mixed"
"""What `sslmask acquire` takes where nobody says `--by`."""
BUDGET = 50
"""Groups, where nobody says `--budget`."""
CANDIDATES = 3
"""`mixed` chooses among so many times the budget of uncertain groups."""
_BLOCK = 1024  # pool rows whose distances to all centres are in memory at once

Probs = Mapping[str, NDArray[Any]]
"""Factor -> (n, its classes) probabilities; a row of NaN says nothing."""
Floats = NDArray[np.float64]


class Chosen(NamedTuple):
    """Groups to label, the most wanted first."""

    groups: NDArray[np.int64]
    """(budget,) positions, each once."""
    scores: Floats
    """(budget,) by which they were chosen; see `choose`."""


def entropy(probs: NDArray[Any]) -> Floats:
    """(n,) entropy of (n, classes) probabilities over that of equal shares, in [0, 1]: 1 is a guess. NaN stays."""
    p = probs.astype(np.float64)
    if p.shape[1] < 2:
        return np.zeros(len(p))
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1))).sum(axis=1) / np.log(p.shape[1]))


def uncertainty(probs: Probs) -> Floats:
    """(n,) mean over the factors of `entropy`, so that a factor of many classes counts no more than another."""
    return np.asarray(np.mean([entropy(own) for own in probs.values()], axis=0))


def disagreement(members: Sequence[Probs], shares: NDArray[Any] | None = None) -> Floats:
    """(n,) mean over the factors of H(Σ wₘ pₘ) − Σ wₘ H(pₘ), with H as in `entropy`; in [0, 1].

    It is the mutual information of the class and the model (BALD), and the Jensen–Shannon divergence of the models:
    0 where all say the same, however unsure they are.

    Args:
        members: what each model says of the same images.
        shares: (members,) wₘ, which sum to 1; None: all are equal.
    """
    found = []
    for factor in members[0]:
        each = np.stack([member[factor].astype(np.float64) for member in members])
        mean = np.average(each, axis=0, weights=shares)
        found.append(entropy(mean) - np.average([entropy(own) for own in each], axis=0, weights=shares))
    return np.asarray(np.maximum(np.mean(found, axis=0), 0))  # rounding may leave -1e-17


def rarity(probs: Probs, counts: Mapping[str, NDArray[Any]]) -> Floats:
    """(n,) expected rarity of the class, Σ p(c) · (1 − count(c) / largest count), as mean over the factors; in [0, 1].

    Args:
        counts: factor -> (classes,) number of labeled groups with the class, not all 0.
    """
    found = [own.astype(np.float64) @ (1 - counts[name] / counts[name].max()) for name, own in probs.items()]
    return np.asarray(np.mean(found, axis=0))


def group_means(values: NDArray[Any], group_of: NDArray[np.int64], groups: int) -> Floats:
    """(groups,) mean over the images of each group, so that many images of one person weigh no more than one.

    Args:
        values: (n,); NaN does not count. Each group has an image that does.
        group_of: (n,) number of the group.
    """
    known = ~np.isnan(values)
    total = np.bincount(group_of[known], weights=values[known].astype(np.float64), minlength=groups)
    return np.asarray(total / np.bincount(group_of[known], minlength=groups))


def group_vectors(vectors: NDArray[Any], group_of: NDArray[np.int64], groups: int) -> Floats:
    """(groups, d) the direction of the mean of the (n, d) vectors of each group: of length 1."""
    known = ~np.isnan(vectors).any(axis=1)
    total = np.zeros((groups, vectors.shape[1]))
    np.add.at(total, group_of[known], vectors[known].astype(np.float64))
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), np.finfo(np.float64).tiny))


def k_center(vectors: Floats, labeled: Floats, budget: int) -> Chosen:
    """Again and again the group that is farthest from the nearest labeled or chosen one (greedy k-center).

    Args:
        vectors: (groups, d) of length 1.
        labeled: (m, d) of length 1, m ≥ 1.
        budget: at most as many as there are groups.

    Returns:
        With the distance of each, in [0, 2], when it was chosen.
    """
    distance = np.concatenate([
        _distances(vectors[first : first + _BLOCK], labeled).min(axis=1) for first in range(0, len(vectors), _BLOCK)
    ])  # fmt: skip
    rows, scores = np.empty(budget, np.int64), np.empty(budget)
    for place in range(budget):
        rows[place] = farthest = int(distance.argmax())
        scores[place] = distance[farthest]
        distance = np.minimum(distance, _distances(vectors, vectors[farthest][None])[:, 0])
        distance[rows[: place + 1]] = -1  # never twice, though others have the same vector
    return Chosen(rows, scores)


def choose(
    rule: Rule, budget: int, scores: Floats, *, vectors: Floats | None = None, labeled: Floats | None = None,
    seed: int = 0,
) -> Chosen:  # fmt: skip
    """Choose groups.

    Args:
        budget: at most as many as there are groups.
        scores: (groups,) higher is chosen first; for `mixed` the uncertainty. `coverage` and `random` only count them.
        vectors, labeled: as those of `k_center`, for `coverage` and `mixed`.
        seed: of `random`.

    Returns:
        With the score of each group; of `coverage` its distance, of `random` 0.
    """
    if rule == "random":
        return Chosen(np.random.default_rng(seed).permutation(len(scores))[:budget], np.zeros(budget))
    ranked = np.argsort(-scores, kind="stable")
    if rule not in {"coverage", "mixed"}:
        return Chosen(ranked[:budget], scores[ranked[:budget]])
    if vectors is None or labeled is None:
        raise ValueError(f"{rule} needs vectors")
    if rule == "coverage":
        return k_center(vectors, labeled, budget)
    candidates = np.sort(ranked[: CANDIDATES * budget])
    chosen = candidates[k_center(vectors[candidates], labeled, budget).groups]
    return Chosen(chosen, scores[chosen])


def _distances(first: Floats, second: Floats) -> Floats:
    """(n, m) Euclidean distances of vectors of length 1."""
    return np.asarray(np.sqrt(np.maximum(2 - 2 * (first @ second.T), 0)))
