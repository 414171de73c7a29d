"""What models say of the groups of a pool that may be labeled: the scores of a rule, vectors, and reasons in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.labeling_pool import numbered_groups
from ssl_mask.data.manifest import Manifest
from ssl_mask.inference.labeled import refuse_changed
from ssl_mask.inference.mean_predictor import MeanPredictor, each_probs
from ssl_mask.selection.acquisition import (
    Chosen,
    Floats,
    Probs,
    Rule,
    choose,
    disagreement,
    entropy,
    group_means,
    group_vectors,
    rarity,
)

NEED_VECTORS: tuple[Rule, ...] = ("coverage", "mixed")


@dataclass(frozen=True)
class Measured:
    """What a rule says of the groups of a pool."""

    scores: Floats
    """(groups,) higher is chosen first; 0 for rules that do not ask what the models predict."""
    reasons: tuple[str, ...]
    """Of each group, in words."""


def choose_groups(
    rule: Rule, budget: int, models: MeanPredictor, pool: Manifest, labeled: Manifest, *, seed: int
) -> tuple[Chosen, Measured]:
    """Which groups of a pool to label; they are numbered by `numbered_groups`.

    Args:
        models: those whose disagreement counts, each with its share.
        pool: readable images with digests, of at least `budget` groups.
        labeled: images with digests that are labeled.

    Raises:
        ImageError: an image that cannot be read. MismatchError: a labeled image that has changed.
    """
    group_of, groups = numbered_groups(pool)
    measured = measure(rule, models, pool, labeled, group_of, groups)
    vectors = known = None
    if rule in NEED_VECTORS:
        seen = models.embed(labeled)
        refuse_changed(labeled, seen.manifest)
        known = group_vectors(seen.vectors, *numbered_groups(labeled))
        vectors = group_vectors(models.embed(pool).vectors, group_of, groups)
    return choose(rule, budget, measured.scores, vectors=vectors, labeled=known, seed=seed), measured


def measure(
    rule: Rule, models: MeanPredictor, pool: Manifest, labeled: Manifest, group_of: NDArray[np.int64], groups: int
) -> Measured:
    """The scores of the groups, and why each is worth labeling."""
    if rule in {"coverage", "random"}:
        why = "unlike all labeled images" if rule == "coverage" else "drawn at random"
        return Measured(np.zeros(groups), (why,) * groups)
    schema = models.schema
    members = [schema.marginals(each.probs) for each in each_probs(models.predictors, pool)]
    mean = {name: np.average([m[name] for m in members], axis=0, weights=models.shares) for name in schema.sizes}
    counts = labeled_groups(labeled)

    def of_factor(name: str) -> Floats:
        if rule == "disagreement":
            return disagreement([{name: member[name]} for member in members], models.shares)
        return rarity({name: mean[name]}, counts) if rule == "rare" else entropy(mean[name])

    by_factor = {name: group_means(of_factor(name), group_of, groups) for name in schema.sizes}
    if rule == "rare":
        reasons = [f"likely {name}" for name in _likely_rare(mean, counts, models, group_of, groups)]
    else:
        said = "the models disagree most on" if rule == "disagreement" else "least sure of"
        top = np.argmax(list(by_factor.values()), axis=0)
        more = ", and unlike the others" if rule == "mixed" else ""
        reasons = [f"{said} {list(schema.sizes)[i]}{more}" for i in top.tolist()]
    return Measured(np.asarray(np.mean(list(by_factor.values()), axis=0)), tuple(reasons))


def labeled_groups(labeled: Manifest) -> dict[str, NDArray[np.int64]]:
    """Factor -> (classes,) number of labeled groups that have the class."""
    group_of, groups = numbered_groups(labeled)
    counts = {}
    for column, (name, size) in zip(labeled.labels.T, labeled.schema.sizes.items(), strict=True):
        has = np.zeros((groups, size), dtype=np.bool_)
        has[group_of[column >= 0], column[column >= 0]] = True
        counts[name] = has.sum(axis=0)
    return counts


def _likely_rare(
    mean: Probs, counts: Mapping[str, NDArray[np.int64]], models: MeanPredictor, group_of: NDArray[np.int64],
    groups: int,
) -> Sequence[str]:  # fmt: skip
    """Of each group the class that adds most to its expected rarity."""
    names, parts = [], []
    for factor in models.schema.factors:
        weight = 1 - counts[factor.name] / counts[factor.name].max()
        names += [f"{factor.name} {name}" for name in factor.classes]
        parts += [group_means(mean[factor.name][:, i] * weight[i], group_of, groups) for i in range(len(weight))]
    return [names[i] for i in np.argmax(parts, axis=0).tolist()]
