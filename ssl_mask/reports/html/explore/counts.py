"""How many images and groups there are, of which class and in which pool, and whether labels agree within a group."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.reports.html.explore.images import Images

RARE_GROUPS = 5
"""A class with fewer groups cannot be in each of five folds."""


class PoolCount(NamedTuple):
    """A pool and its groups."""

    name: str
    images: int
    groups: int
    """0: their groups are not known."""
    smallest: int
    median: float
    largest: int
    """Images of a group."""


class ClassCount(NamedTuple):
    """A class, and how many (images, groups) of it each pool has."""

    name: str
    images: int
    """With labels, of all pools together."""
    groups: int
    pools: tuple[tuple[int, int], ...]


class Mixed(NamedTuple):
    """A factor, and the groups in which its label differs from image to image."""

    factor: str
    groups: int
    """With more than one image."""
    differing: int
    rare: tuple[tuple[str, str, tuple[int, ...]], ...]
    """Where hardly any differ: each such group, its labels in words, and its rows, the less frequent labels first."""


RARELY = 0.05
"""Where at most this share of the groups differs, those that do are worth a look."""


def pool_counts(images: Images) -> list[PoolCount]:
    """One for each pool."""
    found = []
    for k, name in enumerate(images.pools):
        groups = images.group[images.of_pool(k)]
        sizes = np.unique(groups[groups != ""], return_counts=True)[1]
        if len(sizes):
            what = len(sizes), int(sizes.min()), float(np.median(sizes)), int(sizes.max())
            found.append(PoolCount(name, len(groups), *what))
        else:
            found.append(PoolCount(name, len(groups), 0, 0, 0.0, 0))
    return found


def class_counts(images: Images, factor: int = -1) -> list[ClassCount]:
    """One for each class of a factor; -1: each joint class."""
    schema = images.schema
    known = images.joint >= 0
    own = np.where(known, images.joint, 0)
    own = own if factor < 0 else schema.part(own)[:, factor]
    names = schema.joint_classes if factor < 0 else schema.factors[factor].classes
    images_in = np.zeros((len(images.pools), len(names)), np.int64)
    np.add.at(images_in, (images.pool[known], own[known]), 1)
    groups_in = np.zeros_like(images_in)
    _, group = np.unique(images.group, return_inverse=True)
    grouped = known & (images.group != "")
    triples = np.unique(np.stack([images.pool, own, group], axis=1)[grouped], axis=0)
    np.add.at(groups_in, (triples[:, 0], triples[:, 1]), 1)
    pairs = np.unique(np.stack([own, group], axis=1)[grouped], axis=0)
    together = np.bincount(pairs[:, 0], minlength=len(names)) if len(pairs) else np.zeros(len(names), np.int64)
    return [
        ClassCount(name, int(images_in[:, c].sum()), int(together[c]),
                   tuple(zip(images_in[:, c].tolist(), groups_in[:, c].tolist(), strict=True)))
        for c, name in enumerate(names)
    ]  # fmt: skip


def mixed_groups(images: Images) -> list[Mixed]:
    """For each factor: does its label differ within groups? One that hardly ever does shows probable label errors."""
    rows = np.flatnonzero((images.joint >= 0) & (images.group != ""))
    if not len(rows):
        return []
    labels = images.schema.part(images.joint[rows])
    order = np.argsort(images.group[rows], kind="stable")
    starts = np.flatnonzero(images.group[rows][order][1:] != images.group[rows][order][:-1]) + 1
    several = [part for part in np.split(order, starts) if len(part) > 1]
    found = []
    for i, factor in enumerate(images.schema.factors):
        differing = [part for part in several if len(np.unique(labels[part, i])) > 1]
        few = 0 < len(differing) <= RARELY * len(several)
        rare = [_of_group(images, rows[part], labels[part, i], factor.classes) for part in differing if few]
        found.append(Mixed(factor.name, len(several), len(differing), tuple(rare)))
    return found


def _of_group(
    images: Images, rows: NDArray[np.int64], labels: NDArray[np.int64], classes: tuple[str, ...]
) -> tuple[str, str, tuple[int, ...]]:
    counts = np.bincount(labels, minlength=len(classes))
    words = ", ".join(f"{counts[c]} {classes[c]}" for c in np.argsort(-counts, kind="stable") if counts[c])
    order = np.argsort(counts[labels], kind="stable")
    return str(images.group[rows[0]]), words, tuple(map(int, rows[order]))
