"""The train/validation split. Groups are never split: all photos of one person are in the same split."""

from __future__ import annotations

import warnings
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import DataError


def split(manifest: Manifest, *, folds: int, fold: int, seed: int, min_groups: int) -> Manifest:
    """Put every labeled row into train or validation. A given split is kept; otherwise stratified group k-fold.

    Raises:
        DataError: a group in two splits of a given split, a class with fewer than `min_groups` groups,
            fewer groups than folds, or no class with as many images as folds.
    """
    refuse_shared_groups(manifest)
    if manifest.where("val"):
        return manifest
    _refuse_rare_classes(manifest, min_groups)
    return _k_fold(manifest, folds=folds, fold=fold, seed=seed)


def without_given_split(manifest: Manifest) -> Manifest:
    """All labeled rows in training, whatever the data set says."""
    return manifest.with_rows(r._replace(split="train") if r.split == "val" else r for r in manifest.rows)


def keep_labels_of(manifest: Manifest, count: int, *, seed: int) -> Manifest:
    """Keep the labels of `count` groups; all other training rows become `unlabeled`.

    Groups are drawn in proportion from each kind of group (the set of classes that its images have). The groups of a
    smaller count are always among those of a greater one.

    Raises:
        DataError: fewer groups than `count`.
    """
    kinds: dict[str, set[int]] = defaultdict(set)
    train = manifest.where("train")
    for row, joint in zip(train.rows, train.joint.tolist(), strict=True):
        kinds[row.group].add(joint)
    if len(kinds) < count:
        raise DataError(
            f"data.labeled_groups is {count}, but there are only {len(kinds)} training groups.", hint="Lower it."
        )
    by_kind: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for group in np.random.default_rng(seed).permutation(sorted(kinds)).tolist():
        by_kind[tuple(sorted(kinds[group]))].append(group)
    # The i-th of n gets the position (i + 1/2) / n, so that any first part of this order has every kind in proportion.
    order = sorted(((i + 0.5) / len(groups), kind, g) for kind, groups in by_kind.items() for i, g in enumerate(groups))
    kept = {group for _, _, group in order[:count]}
    return manifest.with_rows(
        r._replace(split="unlabeled", labels=None, train_labels=None)
        if r.split == "train" and r.group not in kept
        else r
        for r in manifest.rows
    )


def refuse_shared_groups(manifest: Manifest) -> None:
    """Check that no group is split.

    Raises:
        DataError: a group has rows in more than one of train, val and test.
    """
    first: dict[str, tuple[str, str]] = {}
    for row in manifest.where("train", "val", "test").rows:
        known, source = first.setdefault(row.group, (row.split, row.source))
        if row.group and known != row.split:
            raise DataError(
                f"Group {row.group!r} is in two splits: {known} ({source}) and {row.split} ({row.source}).",
                hint="Put all its images into one split, or remove the split column: then sslmask splits by group.",
            )


def _refuse_rare_classes(manifest: Manifest, min_groups: int) -> None:
    groups: dict[int, set[str]] = defaultdict(set)
    rows = manifest.where("train")
    for row, joint in zip(rows.rows, rows.joint, strict=True):
        groups[int(joint)].add(row.group)
    for joint, own in sorted(groups.items()):
        if len(own) < min_groups:
            name = manifest.schema.joint_classes[joint]
            raise DataError(
                f"Class {name} has only {len(own)} group(s) ({', '.join(sorted(own)[:3])}): it cannot be in both train "
                "and validation.",
                hint="Add images of it, merge it with another class, or accept this with --set data.min_groups=1.",
            )


def _k_fold(manifest: Manifest, *, folds: int, fold: int, seed: int) -> Manifest:
    labeled = manifest.where("train")
    of_row = fold_numbers(labeled, folds=folds, seed=seed).tolist()
    validates = {row.path for row, number in zip(labeled.rows, of_row, strict=True) if number == fold}
    return manifest.with_rows(r._replace(split="val") if r.path in validates else r for r in manifest.rows)


def fold_numbers(labeled: Manifest, *, folds: int, seed: int) -> NDArray[np.int64]:
    """(n,) the fold that each row is validation of: stratified by joint class, groups are never split.

    Raises:
        DataError: fewer groups than folds, or no class with as many images as folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    distinct = len(set(labeled.groups))
    if distinct < folds:
        hint = "Lower --folds (data.folds), or add groups."
        raise DataError(f"{distinct} groups are too few for {folds} folds.", hint=hint)
    most = int(np.bincount(labeled.joint).max())
    if most < folds:
        raise DataError(f"{folds} folds need a class with {folds} images or more; the largest has {most}.",
                        hint="Lower --folds (data.folds), or add images.")  # fmt: skip
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer images than folds only means that some folds lack it; validation reports the support.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        numbers = np.empty(len(labeled), dtype=np.int64)
        for fold, (_, rows) in enumerate(splitter.split(np.zeros(len(labeled)), labeled.joint, labeled.groups)):
            numbers[rows] = fold
    return numbers
