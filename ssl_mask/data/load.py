"""From the `data` settings to what a run reads: the rows of each split and their pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.checks import check_names, refuse_escapes
from ssl_mask.data.corrections import apply_corrections
from ssl_mask.data.extra_labels import join_extra_labels, read_extra_labels, refuse_changed_images
from ssl_mask.data.image_set import ImageSet, Progress, open_images, unreadable
from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.pseudo_labels import PseudoLabels, open_pseudo_labeled, read_pseudo_labels
from ssl_mask.data.splits import keep_labels_of, refuse_shared_groups, split, without_given_split
from ssl_mask.data.unlabeled import allowed_folders, unlabeled_rows, usable
from ssl_mask.data.value_range import warn_of_depth
from ssl_mask.errors import DataError

if TYPE_CHECKING:
    from accelerate import Accelerator

Ahead = Callable[[Manifest, int, Progress], None]
"""Reads the images of some rows before they are opened with some size in pixels: it may read them for others, too."""
Dropped = Callable[[str], frozenset[str]]
"""The name of a pool -> digests of its images that must be left out."""


@dataclass(frozen=True)
class TrainingData:
    """Everything that one run trains on and is validated on."""

    manifest: Manifest
    """The whole data set, with its test and unlabeled rows; only the images of the fields below are opened."""
    train: ImageSet
    val: ImageSet
    pseudo: ImageSet | None = None
    pseudo_labels: PseudoLabels | None = None
    """The pseudo-labels of the images in `pseudo`, in the same order."""
    unlabeled: ImageSet | None = None

    @property
    def labeled(self) -> Manifest:
        """Train and validation rows, with digests."""
        return self.manifest.with_rows(self.train.manifest.rows + self.val.manifest.rows)

    @property
    def left_out(self) -> dict[str, str]:
        """Path of each labeled image that is not used -> why not."""
        return {**self.manifest.excluded, **self.train.left_out, **self.val.left_out}

    @property
    def pools(self) -> dict[str, Manifest]:
        """Name -> rows that the leakage guard must check."""
        named = {"train": self.train, "val": self.val, "pseudo-labeled": self.pseudo, "unlabeled": self.unlabeled}
        return {name: images.manifest for name, images in named.items() if images is not None}

    def without(self, dropped: Dropped) -> TrainingData:
        """Without the images that overlap validation or test images."""

        def kept(name: str, images: ImageSet) -> ImageSet:
            digests = dropped(name)
            return images.without(digests, "overlaps validation or test images") if digests else images

        data = replace(self, train=kept("train", self.train), val=kept("val", self.val))
        if self.unlabeled is not None:
            data = replace(data, unlabeled=kept("unlabeled", self.unlabeled))
        if self.pseudo is not None and self.pseudo_labels is not None:
            pseudo = kept("pseudo-labeled", self.pseudo)
            data = replace(data, pseudo=pseudo, pseudo_labels=self.pseudo_labels.of(pseudo.manifest))
        return data


def read_rows(config: DataConfig, console: Console) -> Manifest:
    """The data set with corrected labels and checked links, before it is split. No image is decoded yet.

    Raises:
        DataError: no data set, a bad row.
        ConfigError: an unknown layout or option.
    """
    manifest = read_dataset(config.root, layout=config.layout, options=config.options, unlabeled=config.unlabeled)
    console.say(f"Data   {manifest.message}, in {config.root.absolute()}")
    for note in manifest.notes:
        console.warn(note)
    if config.corrections is not None:
        manifest = _corrected(manifest, config.corrections, console)
    if config.outside_root == "refuse":
        refuse_escapes(manifest)
    return manifest


def _corrected(manifest: Manifest, table: Path, console: Console) -> Manifest:
    made = apply_corrections(manifest, table)
    before = {row.path: row.labels for row in manifest.rows}
    changed = sum(row.labels != before[row.path] for row in made.rows)
    out = f", {len(made.excluded)} are excluded" if made.excluded else ""
    console.say(f"Labels of {changed} images are corrected{out}, by {table}")
    return made


def read_all_labels(config: DataConfig) -> Manifest:
    """The rows of `read_rows` and, at the end, those of `data.extra_labels`: what must not change under a study."""
    manifest = read_rows(config, Console(quiet=True))
    extra, _ = read_extra_labels(config.extra_labels, manifest.schema, manifest.root)
    return manifest.with_rows([*manifest.rows, *extra])


def read_manifest(config: DataConfig, console: Console) -> Manifest:
    """As `read_rows`, with every labeled row in a split, extra labels, and only the factor that is asked for.

    Raises:
        DataError: also a group in two splits, or a class that cannot be split.
        ConfigError: also an unknown factor.
    """
    manifest = read_rows(config, console)
    if config.given_split == "ignore" or config.validation == "none":
        manifest = without_given_split(manifest)
    given = bool(manifest.where("val"))
    if config.validation == "none":
        refuse_shared_groups(manifest)
    else:
        manifest = split(
            manifest, folds=config.folds, fold=config.fold, seed=config.split_seed, min_groups=config.min_groups
        )
    if config.labeled_groups is not None:
        manifest = keep_labels_of(manifest, config.labeled_groups, seed=config.split_seed)
        console.say(f"Labels of {config.labeled_groups} training groups only (data.labeled_groups)")
    if config.extra_labels:  # after the split, which they must not move
        manifest = _with_extra_labels(manifest, config, console)
    if config.factor is not None:  # last: every factor shares the split and the checks of all factors together
        manifest = manifest.of_factor(config.factor)
    if config.validation == "none":
        train = manifest.where("train")
        console.say(f"Split  all {len(train)} labeled images of {len(set(train.groups))} groups train, no validation")
        return manifest
    how = "given by the data set" if given else f"fold {config.fold} of {config.folds}, by group"
    _report_split(manifest, how, console)
    return manifest


def _with_extra_labels(manifest: Manifest, config: DataConfig, console: Console) -> Manifest:
    extra, unfilled = read_extra_labels(config.extra_labels, manifest.schema, manifest.root)
    if config.outside_root == "refuse":
        refuse_escapes(manifest.with_rows(extra), allowed_folders(config, manifest))
    made = join_extra_labels(manifest, extra)
    validating = len(made.excluded) - len(manifest.excluded)
    groups = len({row.group for row in extra if row.path not in made.excluded})
    waiting = f" ({unfilled} rows have no label yet)" if unfilled else ""
    tables = ", ".join(map(str, config.extra_labels))
    console.say(f"Labels of {len(extra) - validating} more images of {groups} groups{waiting}, by {tables}")
    if validating:
        console.warn(f"{validating} images of data.extra_labels are of validation groups and are left out.")
    return made


def _report_split(manifest: Manifest, how: str, console: Console) -> None:
    train, val = manifest.where("train"), manifest.where("val")
    groups = len(set(train.groups)), len(set(val.groups))
    console.say(f"Split  train {len(train)} images of {groups[0]} groups, val {len(val)} of {groups[1]} ({how})")
    if not manifest.grouped:
        console.warn("no group column: every image is its own group, and leaks between train and val are NOT CHECKED.")
    lacking = set(train.joint.tolist()) - set(val.joint.tolist())
    _warn_lacking(manifest, lacking, console)


def _warn_lacking(manifest: Manifest, joint: set[int], console: Console) -> None:
    if joint:
        names = ", ".join(manifest.schema.joint_classes[i] for i in sorted(joint))
        console.warn(f"no validation image of {names}: F1 is 0 for these classes in validation.")


def load_training_data(
    manifest: Manifest, config: DataConfig, size: int, accelerator: Accelerator, console: Console, *, unlabeled: bool,
    ahead: Ahead | None = None,
) -> TrainingData:  # fmt: skip
    """Open all images of a run; each is decoded once and kept in the cache.

    Args:
        manifest: as `read_manifest` returns it.
        size: width and height in pixels.
        unlabeled: whether to open the unlabeled pool too.
        ahead: called for the rows of each pool before it is opened.

    Raises:
        DataError: unreadable images, a bad table of pseudo-labels, or an unlabeled pool without a usable image.
    """
    check_names(manifest, console)
    warn_of_depth(manifest.where("train", "val").files, config, console)
    train, val = (
        _open(manifest.where(name), config, size, name, accelerator, console, ahead) for name in ("train", "val")
    )
    refuse_changed_images(manifest.where("train"), train.manifest)
    data = TrainingData(manifest, train, val)
    refuse_unreadable(data, config.on_bad, console)
    if config.pseudo_labels is not None:
        labels = read_pseudo_labels(config.pseudo_labels, data.labeled)
        if config.outside_root == "refuse" and config.unlabeled:
            refuse_escapes(labels.manifest, allowed_folders(config, manifest))
        with accelerator.main_process_first(), console.counting("Reading pseudo-labeled") as on_progress:
            images = open_pseudo_labeled(labels, config, size, on_progress=on_progress)
        console.say(f"Pseudo {len(images)} images of {config.pseudo_labels}")
        data = replace(data, pseudo=images, pseudo_labels=labels)
    if unlabeled:
        pool = load_unlabeled(manifest, data.labeled, config, size, accelerator, console, ahead)
        if data.pseudo_labels is not None:
            # Consistency training takes the images that have no pseudo-label.
            pool = pool.without(data.pseudo_labels.whole_digests, "has a pseudo-label")
        data = replace(data, unlabeled=pool)
    return data


def refuse_unreadable(data: TrainingData, on_bad: Literal["fail", "skip"], console: Console) -> None:
    """With `fail` every labeled image must be readable; with `skip` the others are left out, but never a whole class.

    Raises:
        ImageError: unreadable images, and `on_bad` is `fail`.
        DataError: no image of a class, or of validation, is left.
    """
    problems = [*data.train.left_out.values(), *data.val.left_out.values()]
    total = len(data.train) + len(data.val) + len(problems)
    if not problems:
        return
    if on_bad == "fail":
        hint = "Fix or remove them, or train without them: --on-bad skip"
        raise unreadable(problems, total, "labeled images", hint=hint)
    before, after = data.manifest.where("train").labels, data.train.manifest.labels
    for i, factor in enumerate(data.manifest.schema.factors):
        for lost in sorted(set(before[:, i].tolist()) - set(after[:, i].tolist())):
            raise DataError(
                f"None of the {(before[:, i] == lost).sum()} training images of {factor.name} {factor.classes[lost]!r} "
                f"can be read, for example {problems[0]}.",
                hint="Fix them, or leave the class out of the data set.",
            )
    if not len(data.val) and data.manifest.where("val"):
        raise DataError(f"No validation image can be read, for example {problems[0]}.", hint="Fix them.")
    console.warn(f"{len(problems)} of {total} labeled images cannot be read and are left out, such as {problems[0]}.")
    lacking = set(data.manifest.where("val").joint.tolist()) - set(data.val.manifest.joint.tolist())
    _warn_lacking(data.manifest, lacking, console)


def load_unlabeled(
    manifest: Manifest, labeled: Manifest, config: DataConfig, size: int, accelerator: Accelerator, console: Console,
    ahead: Ahead | None = None,
) -> ImageSet:  # fmt: skip
    """The unlabeled pool with its pixels.

    Args:
        manifest: the data set; its own unlabeled rows are part of the pool.
        labeled: train and validation rows with digests; their copies are left out of the pool.
    """
    rows = unlabeled_rows(config, manifest)
    check_names(rows, console)
    warn_of_depth(rows.files, config, console)
    opened = _open(rows, config, size, "unlabeled", accelerator, console, ahead)
    pool = usable(opened, labeled, on_bad=config.on_bad)
    sources = [*config.unlabeled, *(["the data set's own"] if manifest.where("unlabeled").rows else [])]
    console.say(f"Pool   {len(pool)} unlabeled images of {', '.join(sources)}")
    if pool.left_out:
        path, why = next(iter(pool.left_out.items()))
        console.warn(f"{len(pool.left_out)} images are left out of the pool, for example {path}: {why}.")
    return pool


def _open(
    rows: Manifest, config: DataConfig, size: int, name: str, accelerator: Accelerator, console: Console,
    ahead: Ahead | None = None,
) -> ImageSet:  # fmt: skip
    """The readable images of these rows; the others are in its `left_out`."""
    # The first process fills the cache; the others wait and then find it full.
    with accelerator.main_process_first(), console.counting(f"Reading {name}") as on_progress:
        if ahead is not None:
            ahead(rows, size, on_progress)
        return open_images(rows, config, size, tolerant=True, on_progress=on_progress)
