"""What the images of a group (person) say about each other: some factors are the same in all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Probs = Mapping[str, NDArray[Any]]


def constant_factors(labels: NDArray[np.int64], groups: NDArray[Any]) -> NDArray[np.bool_]:
    """(factors,) whether a factor never varies within a group; False if no group has two labeled images.

    Args:
        labels: (n, factors) class indices; -1 where unknown.
        groups: (n,) str; an empty string is no group.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    constant = np.zeros(labels.shape[1], dtype=np.bool_)
    for factor, column in enumerate(labels.T):
        rows = (column >= 0) & (groups != "")
        low, high = np.full(len(names), np.iinfo(np.int64).max), np.full(len(names), -1)
        np.minimum.at(low, group_of[rows], column[rows])
        np.maximum.at(high, group_of[rows], column[rows])
        seen_twice = np.bincount(group_of[rows], minlength=len(names)) >= 2
        constant[factor] = seen_twice.any() and (low == high)[seen_twice].all()
    return constant


def lend(
    probs: Probs, groups: NDArray[Any], known: Mapping[str, tuple[int, ...]], lendable: Mapping[str, int]
) -> dict[str, NDArray[Any]]:
    """Give images the labels of their group: probability 1 in the factors that are lent.

    Args:
        probs: factor -> (n, its classes) probabilities. Rows of NaN stay as they are.
        groups: (n,) str; an empty string is no group.
        known: group -> its class index in every factor; -1 where unknown.
        lendable: factor -> its position in the values of `known`.

    Returns:
        Like `probs`; a factor that is not lendable is the same array.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    lent = dict(probs)
    for factor, position in lendable.items():
        by_group = np.asarray([known[g][position] if g and g in known else -1 for g in names.tolist()], dtype=np.int64)
        label = by_group[group_of]
        rows = np.flatnonzero((label >= 0) & ~np.isnan(probs[factor]).any(axis=1))
        lent[factor] = probs[factor].copy()
        lent[factor][rows] = 0
        lent[factor][rows, label[rows]] = 1
    return lent


def pool_groups(probs: Probs, groups: NDArray[Any], lendable: Collection[str]) -> dict[str, NDArray[Any]]:
    """Give all images of a group the same prediction: their geometric mean, normalised to sum to 1.

    Args:
        probs: factor -> (n, its classes) probabilities. Rows of NaN do not count and stay as they are.
        groups: (n,) str; an empty string is no group. A group of one image stays as it is.
        lendable: the factors that are the same in all images of a group.

    Returns:
        Like `probs`; a factor that is not lendable is the same array.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    pooled = dict(probs)
    for factor in lendable:
        own = probs[factor]
        counts = (groups != "") & ~np.isnan(own).any(axis=1)
        sizes = np.bincount(group_of[counts], minlength=len(names))
        rows = counts & (sizes[group_of] >= 2)
        code = group_of[rows]
        logs = np.log(
            np.maximum(own[rows], np.finfo(np.float32).tiny)
        )  # else one image with p = 0 would decide for all
        sums = np.stack([np.bincount(code, weights=column, minlength=len(names)) for column in logs.T], axis=1)
        mean = np.exp(sums[code] / sizes[code][:, None])
        pooled[factor] = own.copy()
        pooled[factor][rows] = mean / mean.sum(axis=1, keepdims=True)
    return pooled
