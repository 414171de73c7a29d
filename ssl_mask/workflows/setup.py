"""What every verb builds before it starts: processes, data, model, algorithm. From configuration to objects."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from numpy.typing import NDArray
from torch import Tensor, nn

from ssl_mask.algorithms.supervised import Supervised
from ssl_mask.config import DataConfig, RunConfig
from ssl_mask.data.adapters import read_dataset
from ssl_mask.data.augment import Augmenter
from ssl_mask.data.batches import LabeledImages, Stream, draw_weights
from ssl_mask.data.cache import ImageSource
from ssl_mask.data.checks import apply_corrections, refuse_escapes
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.pool import open_pool
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.splits import split
from ssl_mask.errors import ConfigError, did_you_mean
from ssl_mask.losses.classification import balanced_weights, effective_weights
from ssl_mask.models.classifier import Classifier, build_classifier
from ssl_mask.reports.console import Console


def has_gpu() -> bool:
    return torch.cuda.is_available()


def make_accelerator(precision: str) -> Accelerator:
    """One process, or all that the launcher started; mixed precision where the device gains from it."""
    if AcceleratorState._shared_state:
        # Its precision is global: without this a second run in one Python process would inherit the first one's.
        AcceleratorState._reset_state()
    if precision == "auto":
        precision = ("bf16" if torch.cuda.is_bf16_supported() else "fp16") if has_gpu() else "fp32"
    handlers = [DistributedDataParallelKwargs(gradient_as_bucket_view=True)]
    return Accelerator(mixed_precision="no" if precision == "fp32" else precision, kwargs_handlers=handlers)


def settle_workers(workers: int | str, accelerator: Accelerator) -> int:
    """`auto`: up to 8 a GPU; on a CPU one, or none where the network needs every core."""
    if isinstance(workers, int):
        return workers
    cpus = (os.cpu_count() or 1) // max(accelerator.num_processes, 1)
    if accelerator.device.type == "cuda":
        return int(max(1, min(8, cpus - 1)))
    # On two cores that the network fills already, a worker takes from it more than it gives (measured: 1.09 against
    # 1.04 of the raw step).
    return int(cpus > 2)


@dataclass(frozen=True)
class Side:
    """Rows of one side of the split, and their pixels."""

    manifest: Manifest
    images: ImageSource


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


def make_supervised(config: RunConfig, train: Manifest, device: torch.device) -> Supervised:
    """The labels-only algorithm with its class weights and smoothing as tensors."""
    classes = train.schema.head_classes(config.data.target)
    labels = train.schema.head_labels(train.train_labels, config.data.target)
    loss = config.loss
    check_names(loss.smoothing_classes, train.schema, "loss.smoothing_classes")
    smoothing = {h: _smoothing(names, loss.label_smoothing, loss.smoothing_classes) for h, names in classes.items()}
    weights: dict[str, Tensor] = {}
    for i, (head, names) in enumerate(classes.items()):
        found = class_weights(loss.class_weights, names, np.bincount(labels[:, i], minlength=len(names)))
        if found is not None:
            weights[head] = found.to(device)
    if isinstance(loss.class_weights, dict):
        check_names(loss.class_weights, train.schema, "loss.class_weights")
    return Supervised(
        scale=config.model.scale if config.model.head == "arcface" else None,
        margin=loss.margin,
        gamma=loss.focal_gamma if loss.criterion == "focal" else 0.0,
        smoothing={h: s.to(device) for h, s in smoothing.items() if s.any()},
        weights=weights,
    )


def class_weights(asked: str | Mapping[str, float], names: Sequence[str], counts: NDArray[np.int64]) -> Tensor | None:
    """(classes,) loss weights of one head, or None for all equal."""
    if asked == "balanced":
        return balanced_weights(torch.from_numpy(counts))
    if asked == "effective":
        return effective_weights(torch.from_numpy(counts))
    if isinstance(asked, str):
        return None
    named = [asked.get(n, 1.0) for n in names]
    return torch.tensor(named) if any(n in asked for n in names) else None


def _smoothing(names: Sequence[str], amount: float, only: Sequence[str]) -> Tensor:
    """(classes,) amount of smoothing; a joint class is named by any of its parts."""
    chosen = [not only or name in only or bool(set(name.split("/")) & set(only)) for name in names]
    return torch.tensor([amount if c else 0.0 for c in chosen])


def check_names(names: Mapping[str, Any] | Sequence[str], schema: LabelSchema, key: str) -> None:
    """Raises ConfigError when a class name of the configuration is none of the schema's."""
    known = [c for f in schema.factors for c in f.classes] + list(schema.joint_classes)
    for name in names:
        if name not in known:
            raise ConfigError(f"{key}: no class {name!r}.", hint=did_you_mean(name, known))


def make_training_images(config: RunConfig, train: Side, size: int) -> LabeledImages:
    """Augmented training images with the labels to train on."""
    schema = train.manifest.schema
    check_names(config.augment.grid_shuffle_classes, schema, "augment.grid_shuffle_classes")
    augment = Augmenter(config.augment.preset, size, grid_shuffle_classes=config.augment.grid_shuffle_classes)
    labels = train.manifest.train_labels
    names = [tuple(f.classes[i] for f, i in zip(schema.factors, row, strict=True)) for row in labels.tolist()]
    return LabeledImages(train.images, schema.head_labels(labels, config.data.target), names, augment, config.seed)


def make_stream(config: RunConfig, train: Manifest, accelerator: Accelerator) -> Stream:
    """The order in which training rows are drawn.

    Raises:
        ConfigError: the batch cannot be shared among the processes and parts.
    """
    ranks, size = accelerator.num_processes, config.train.batch_size
    if size % (ranks * config.train.accumulate):
        raise ConfigError(
            f"train.batch_size: {size} is not a multiple of {ranks} processes x accumulate {config.train.accumulate}.",
            hint="The batch is the global one; each process takes its share.",
        )
    weights = draw_weights(train.schema.join(train.train_labels), config.train.sampler)
    return Stream(len(train), size, config.seed, accelerator.process_index, ranks, weights)


def settle_steps(config: RunConfig, images: int) -> int:
    """Optimizer steps of the run, from `steps` or `epochs`."""
    if config.train.steps is not None:
        return config.train.steps
    epochs = config.train.epochs or 20.0
    return max(1, round(epochs * images / config.train.batch_size))
