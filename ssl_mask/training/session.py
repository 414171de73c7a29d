"""What every verb builds before it starts: processes, data, model, batches. From configuration to objects."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from ssl_mask.config import DataConfig, RunConfig
from ssl_mask.console import Console
from ssl_mask.data.augment import Augmenter
from ssl_mask.data.batches import PSEUDO, LabeledImages, StepBatches, Stream, UnlabeledImages, draw_weights
from ssl_mask.data.cache import ChosenImages, ImageSource
from ssl_mask.data.checks import apply_corrections, refuse_escapes
from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.pool import open_pool
from ssl_mask.data.pseudo_labels import PseudoSide, load_pseudo_side
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.splits import keep_labels_of, split
from ssl_mask.data.unlabeled import Unlabeled, read_unlabeled, usable
from ssl_mask.errors import ConfigError
from ssl_mask.evaluation.calibration import FEW
from ssl_mask.models.classifier import Classifier, build_classifier


@dataclass(frozen=True)
class Side:
    """Rows of one side of the split, and their pixels."""

    manifest: Manifest
    images: ImageSource

    def without(self, digests: Collection[str]) -> Side:
        """The rows whose digest is none of these."""
        rows = self.manifest.rows
        kept = [i for i, r in enumerate(rows) if r.digest not in digests]
        return Side(self.manifest.with_rows(rows[i] for i in kept), ChosenImages(self.images, kept))


def read_manifest(config: DataConfig, console: Console) -> Manifest:
    """The data set: corrections applied, links checked, every labeled row on its side. Nothing is decoded yet."""
    manifest = read_dataset(config.root, layout=config.layout, options=config.options)
    console.say(f"Data   {manifest.message}, in {config.root.absolute()}")
    if config.corrections is not None:
        manifest = apply_corrections(manifest, config.corrections)
    if config.outside_root == "refuse":
        refuse_escapes(manifest)
    given = bool(manifest.where("val"))
    manifest = split(
        manifest, folds=config.folds, fold=config.fold, seed=config.split_seed, min_groups=config.min_groups
    )
    if config.labeled_groups is not None:
        manifest = keep_labels_of(manifest, config.labeled_groups, seed=config.split_seed)
        console.say(f"Labels of {config.labeled_groups} training groups only (data.labeled_groups)")
    _tell_split(
        manifest, "given by the source" if given else f"fold {config.fold} of {config.folds}, by group", console
    )
    return manifest


def _tell_split(manifest: Manifest, how: str, console: Console) -> None:
    train, val = manifest.where("train"), manifest.where("val")
    groups = len(set(train.groups)), len(set(val.groups))
    console.say(f"Split  train {len(train)} images of {groups[0]} groups, val {len(val)} of {groups[1]} ({how})")
    if not manifest.grouped:
        console.warn("no group column, so every image is its own group: leaks between the sides are NOT CHECKED.")
    lacking = set(train.joint.tolist()) - set(val.joint.tolist())
    if lacking:
        names = ", ".join(manifest.schema.joint_classes[i] for i in sorted(lacking))
        console.warn(f"no validation image of {names}: their F1 counts as 0 in validation.")


def load_sides(
    manifest: Manifest, config: DataConfig, size: int, accelerator: Accelerator, console: Console
) -> tuple[Side, Side]:
    """Train and validation with their pixels; decoded once, the cache keeps them."""
    sides: list[Side] = []
    # The first process fills the cache; the others come after it and find it full.
    with accelerator.main_process_first():
        for name in ("train", "val"):
            with console.counting(f"Reading {name}") as tell:
                pool = open_pool(manifest.where(name), config, size, on_progress=tell)
            sides.append(Side(pool.manifest, pool.images))
    return sides[0], sides[1]


def load_unlabeled(
    manifest: Manifest, labeled: Manifest, config: DataConfig, size: int, accelerator: Accelerator, console: Console
) -> Unlabeled:
    """The unlabeled pool with its pixels.

    Args:
        manifest: the data set; its own unlabeled rows join the pool.
        labeled: train and validation rows with digests; their copies are left out of the pool.
    """
    rows = read_unlabeled(config.unlabeled, manifest)
    with accelerator.main_process_first(), console.counting("Reading unlabeled") as tell:
        pool = open_pool(rows, config, size, tolerant=True, on_progress=tell)
    unlabeled = usable(pool, labeled, on_bad=config.on_bad)
    sources = [*config.unlabeled, *(["the data set's own"] if manifest.where("unlabeled").rows else [])]
    console.say(f"Pool   {len(unlabeled.manifest)} unlabeled images of {', '.join(sources)}")
    if unlabeled.left_out:
        path, why = next(iter(unlabeled.left_out.items()))
        console.warn(f"{len(unlabeled.left_out)} images are left out of the pool, such as {path}: {why}.")
    return unlabeled


def tell_batches(config: RunConfig, pool: int, val: int, accelerator: Accelerator, console: Console) -> None:
    """Warn of what makes consistency training weaker than it looks."""
    taken = share_of_batch(config.algorithm.mu, config, accelerator)
    if pool < taken:
        console.warn(f"The pool's {pool} images are fewer than the {taken} of a step: each comes several times a step.")
    if config.algorithm.temperature == "calibrated" and val < FEW:
        console.warn(
            f"Temperatures are fitted on {val} validation images only, which over-corrects: confidences may be too "
            "low. Lower algorithm.threshold, or fix algorithm.temperature."
        )


def make_model(config: RunConfig, schema: LabelSchema) -> tuple[Classifier, int]:
    """The classifier and its input size. Seeded: fresh heads are the same in every process and every run of a seed."""
    torch.manual_seed(config.seed)
    settings = config.model.model_dump(exclude={"sync_norm"})
    return build_classifier(schema.heads(config.data.target), **settings)


def share_norms(model: nn.Module, config: RunConfig, accelerator: Accelerator) -> nn.Module:
    """Batch-norm statistics over all GPUs, when there are several."""
    if config.model.sync_norm and accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return model


def load_pseudo(
    labeled: Manifest, config: DataConfig, size: int, accelerator: Accelerator, console: Console
) -> PseudoSide | None:
    """The rows of `data.pseudo_labels` with their pixels, or None where there is no such table."""
    if config.pseudo_labels is None:
        return None
    with accelerator.main_process_first(), console.counting("Reading pseudo-labeled") as tell:
        side = load_pseudo_side(config.pseudo_labels, labeled, config, size, on_progress=tell)
    console.say(f"Pseudo {len(side.labels)} images of {config.pseudo_labels}")
    return side


def without_labeled(unlabeled: Unlabeled, pseudo: PseudoSide) -> Unlabeled:
    """The pool without the images whose pseudo-label is whole: consistency is for those that have none."""
    whole = {r.digest for r, w in zip(pseudo.labels.manifest.rows, pseudo.labels.whole, strict=True) if w}
    return unlabeled.without(whole, "has a pseudo-label")


def make_batches(
    config: RunConfig, train: Side, pseudo: PseudoSide | None, unlabeled: Unlabeled | None, size: int,
    accelerator: Accelerator, *, workers: int,
) -> StepBatches:  # fmt: skip
    """Augmented training batches: what step k holds on this process."""
    augment = config.augment
    train.manifest.schema.refuse_unknown(augment.grid_shuffle_classes, "augment.grid_shuffle_classes")
    make = partial(Augmenter, size=size, flip=augment.flip)
    augmenter = make(augment.preset, grid_shuffle_classes=augment.grid_shuffle_classes)
    schema, labels = train.manifest.schema, train.manifest.train_labels
    labeled = LabeledImages(
        train.images, schema.head_labels(labels, config.data.target), schema.class_names(labels), augmenter,
        make_stream(config, schema.join(labels), config.train.batch_size, accelerator),
    )  # fmt: skip
    more = None if pseudo is None else pseudo_images(config, pseudo, augmenter, accelerator)
    if unlabeled is None:
        return StepBatches(labeled, pseudo=more)
    taken = share_of_batch(config.algorithm.mu, config, accelerator)
    stream = Stream(
        len(unlabeled.manifest), taken, config.seed, accelerator.process_index, accelerator.num_processes
    )  # fmt: skip
    weak, strong = make(config.algorithm.weak), make(config.algorithm.strong)
    views = UnlabeledImages(unlabeled.images, weak, strong, stream, strong_at_once=workers > 0)
    return StepBatches(labeled, views, more)


def pseudo_images(config: RunConfig, pseudo: PseudoSide, augment: Augmenter, accelerator: Accelerator) -> LabeledImages:
    """Pseudo-labeled images with their weights and, for soft labels, their probabilities; drawn as labeled ones are."""
    schema, target, known = pseudo.labels.manifest.schema, config.data.target, np.maximum(pseudo.labels.labels, 0)
    return LabeledImages(
        pseudo.images, pseudo.head_labels(target), schema.class_names(known), augment,
        make_stream(config, schema.join(known), share_of_batch(config.pseudo.mu, config, accelerator), accelerator),
        weights=pseudo.weights(target, config.pseudo), targets=pseudo.targets(target), key=(PSEUDO,),
    )  # fmt: skip


def share_of_batch(mu: float, config: RunConfig, accelerator: Accelerator) -> int:
    """Images a step over all processes: μ times the batch, in equal shares."""
    unit = accelerator.num_processes * config.train.accumulate
    return int(max(1, round(mu * config.train.batch_size / unit)) * unit)


def make_stream(config: RunConfig, joint: NDArray[np.int64], size: int, accelerator: Accelerator) -> Stream:
    """The order in which rows are drawn, `size` a step.

    Args:
        joint: (n,) joint class of each row.

    Raises:
        ConfigError: the batch cannot be shared among the processes and parts.
    """
    ranks = accelerator.num_processes
    if size % (ranks * config.train.accumulate):
        raise ConfigError(
            f"train.batch_size: {size} is not a multiple of {ranks} processes x accumulate {config.train.accumulate}.",
            hint="The batch is the global one; each process takes its share.",
        )
    weights = draw_weights(joint, config.train.sampler)
    return Stream(len(joint), size, config.seed, accelerator.process_index, ranks, weights)


def settle_steps(config: RunConfig, images: int) -> int:
    """Optimizer steps of the run, from `steps` or `epochs`."""
    if config.train.steps is not None:
        return config.train.steps
    epochs = config.train.epochs or 20.0
    return max(1, round(epochs * images / config.train.batch_size))
