"""Train and validation by whole groups: photos of one person never stand on both sides."""

from __future__ import annotations

import warnings
from collections import defaultdict

import numpy as np

from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import DataError


def split(manifest: Manifest, *, folds: int, fold: int, seed: int, min_groups: int) -> Manifest:
    """Give every labeled row its side. A split that the source brings is honoured; else stratified group k-fold.

    Raises:
        DataError: a group on both sides of a given split, a class with fewer than `min_groups` groups,
            or fewer groups (or images in every class) than folds.
    """
    refuse_shared_groups(manifest)
    if manifest.where("val"):
        return manifest
    _refuse_rare_classes(manifest, min_groups)
    return _k_fold(manifest, folds=folds, fold=fold, seed=seed)


def keep_labels_of(manifest: Manifest, count: int, *, seed: int) -> Manifest:
    """Make all training rows `unlabeled` but those of `count` groups.

    Groups are chosen evenly over the combinations of classes that a group's images show; the choice for a smaller
    count is part of the choice for a greater one.

    Raises:
        DataError: fewer groups than `count`.
    """
    kinds: dict[str, set[int]] = defaultdict(set)
    train = manifest.where("train")
    for row, joint in zip(train.rows, train.joint.tolist(), strict=True):
        kinds[row.group].add(joint)
    if len(kinds) < count:
        raise DataError(f"data.labeled_groups: {count} groups asked, {len(kinds)} are there.", hint="Lower it.")
    members: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for group in np.random.default_rng(seed).permutation(sorted(kinds)).tolist():
        members[tuple(sorted(kinds[group]))].append(group)
    # The i-th of n stands at (i + 1/2) / n: any beginning of this order holds every kind in proportion.
    order = sorted(((i + 0.5) / len(groups), kind, g) for kind, groups in members.items() for i, g in enumerate(groups))
    kept = {group for _, _, group in order[:count]}
    return manifest.with_rows(
        r._replace(split="unlabeled", labels=None, train_labels=None)
        if r.split == "train" and r.group not in kept
        else r
        for r in manifest.rows
    )


def refuse_shared_groups(manifest: Manifest) -> None:
    """Raises DataError when a group has rows on more than one side of train, val and test."""
    first: dict[str, tuple[str, str]] = {}
    for row in manifest.where("train", "val", "test").rows:
        side, source = first.setdefault(row.group, (row.split, row.source))
        if row.group and side != row.split:
            raise DataError(
                f"Group {row.group!r} stands on both sides of the given split: {side} ({source}) and {row.split} "
                f"({row.source}).",
                hint="Put all its images on one side, or drop the split column to have them split by group.",
            )


def _refuse_rare_classes(manifest: Manifest, min_groups: int) -> None:
    groups: dict[int, set[str]] = defaultdict(set)
    rows = manifest.where("train")
    for row, joint in zip(rows.rows, rows.joint, strict=True):
        groups[int(joint)].add(row.group)
    for joint, members in sorted(groups.items()):
        if len(members) < min_groups:
            name = manifest.schema.joint_classes[joint]
            raise DataError(
                f"Class {name} has {len(members)} group(s) only ({', '.join(sorted(members)[:3])}): it cannot stand in "
                "both train and validation.",
                hint="Add data, merge the class, or accept it with --set data.min_groups=1.",
            )


def _k_fold(manifest: Manifest, *, folds: int, fold: int, seed: int) -> Manifest:
    from sklearn.model_selection import StratifiedGroupKFold

    labeled = manifest.where("train")
    distinct = len(set(labeled.groups))
    if distinct < folds:
        raise DataError(f"{distinct} groups cannot make {folds} folds.", hint="Lower data.folds or add persons.")
    most = int(np.bincount(labeled.joint).max())
    if most < folds:
        raise DataError(f"No class has the {folds} images that {folds} folds need; the largest has {most}.",
                        hint="Lower data.folds or add images.")  # fmt: skip
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer images than folds only means that some folds lack it; validation reports the support.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        parts = list(splitter.split(np.zeros(len(labeled)), labeled.joint, labeled.groups))
    validates = {labeled.rows[i].path for i in parts[fold][1]}
    return manifest.with_rows(r._replace(split="val") if r.path in validates else r for r in manifest.rows)
