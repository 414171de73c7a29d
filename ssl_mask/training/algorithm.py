"""From the configuration to the algorithm: its rule, thresholds, class weights and smoothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from ssl_mask.algorithms.adamatch import AdaMatchRule
from ssl_mask.algorithms.consistency import Consistency
from ssl_mask.algorithms.fixmatch import FixMatchRule
from ssl_mask.algorithms.flexmatch import FlexMatchRule
from ssl_mask.algorithms.freematch import FreeMatchRule
from ssl_mask.algorithms.mixing import Mixing
from ssl_mask.algorithms.rule import Rule
from ssl_mask.algorithms.running import Alignment
from ssl_mask.algorithms.softmatch import SoftMatchRule
from ssl_mask.algorithms.supervised import Supervised
from ssl_mask.algorithms.uda import UdaRule
from ssl_mask.config import AlgorithmConfig, RunConfig
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import ConfigError, did_you_mean
from ssl_mask.losses.classification import balanced_weights, effective_weights
from ssl_mask.training.ema import WarmEma
from ssl_mask.types import Algorithm


def refuse_unknown_names(config: RunConfig, schema: LabelSchema) -> None:
    """Check what the configuration names of the data set, its classes and its heads. No image is needed for it.

    Raises:
        ConfigError: a class or head that the data set does not have, or values per head but not for all of them.
    """
    loss, asked = config.loss, config.algorithm
    schema.refuse_unknown(config.augment.grid_shuffle_classes, "augment.grid_shuffle_classes")
    schema.refuse_unknown(loss.smoothing_classes, "loss.smoothing_classes")
    if isinstance(loss.class_weights, dict):
        schema.refuse_unknown(loss.class_weights, "loss.class_weights")
    if asked.name != "supervised" and isinstance(asked.threshold, dict):
        refuse_other_heads(asked.threshold, list(target_classes(config, schema)), "algorithm.threshold")
    if asked.name != "supervised" and isinstance(asked.temperature, dict):
        refuse_other_heads(asked.temperature, list(schema.heads(config.data.target)), "algorithm.temperature")


def make_algorithm(
    config: RunConfig, train: Manifest, accelerator: Accelerator, *, live: nn.Module, ema: WarmEma | None,
    pool: int,
) -> Algorithm:  # fmt: skip
    """The algorithm that `algorithm.name` asks for.

    Args:
        live: the network itself, without its wrapper for several processes.
        ema: its averaged copy, if there is one.
        pool: number of unlabeled images.
    """
    supervised = make_supervised(config, train, accelerator.device)
    asked = config.algorithm
    if asked.name == "supervised":
        return supervised
    return Consistency(
        supervised=supervised,
        teacher=ema.module if asked.teacher == "ema" and ema is not None else live,
        rule=make_rule(asked, pool, accelerator),
        weight=asked.weight,
        start=asked.start,
        ramp_up=asked.ramp_up,
        joint=is_joint(config, train.schema),
        tsa=asked.tsa,
        temperatures={} if asked.temperature == "calibrated" else fixed_temperatures(config, train.schema),
        calibrates=asked.temperature == "calibrated",
        alignment=make_alignment(config, train, accelerator.device),
        dense=asked.dense,
        weak_training_mode=asked.weak_mode == "train",
        teacher_weights=asked.teacher,
        classes=target_classes(config, train.schema),
        labeled=labeled_counts(config, train),
        mean=lambda value: accelerator.reduce(value.detach().clone(), reduction="mean"),
    )


def make_rule(asked: AlgorithmConfig, pool: int, accelerator: Accelerator) -> Rule:
    """The rule that `algorithm.name` asks for, on a pool of so many images."""
    if asked.name == "fixmatch":
        return FixMatchRule(asked.threshold)
    if asked.name == "flexmatch":
        return FlexMatchRule(asked.threshold, pool, gather=partial(gather_in_order, accelerator))
    if asked.name == "freematch":
        return FreeMatchRule(asked.momentum, asked.fairness)
    if asked.name == "softmatch":
        return SoftMatchRule(asked.momentum, asked.sigmas, processes=accelerator.num_processes)
    if asked.name == "adamatch":
        return AdaMatchRule(asked.threshold, asked.momentum)
    return UdaRule(asked.threshold, asked.sharpen)


def gather_in_order(accelerator: Accelerator, value: Tensor) -> Tensor:
    """(n,) values of each process -> (processes · n,) in the order of the batch, which the processes took in turns."""
    every: Tensor = accelerator.gather(value.contiguous())
    return every.view(accelerator.num_processes, -1).T.flatten()


def refuse_other_heads(given: Mapping[str, float], heads: Sequence[str], key: str) -> None:
    """Raises ConfigError when values are given per head, but not for exactly the heads of the model."""
    for name in given:
        if name not in heads:
            raise ConfigError(f"{key}: there is no head {name!r}.", hint=did_you_mean(name, list(heads)))
    for name in heads:
        if name not in given:
            raise ConfigError(f"{key}: {name!r} has none.", hint=f"Give one per head: {', '.join(heads)}.")


def is_joint(config: RunConfig, schema: LabelSchema) -> bool:
    """Whether several heads are folded into one distribution, from which targets are made."""
    return config.algorithm.masks == "joint" and len(schema.heads(config.data.target)) > 1


def target_classes(config: RunConfig, schema: LabelSchema) -> dict[str, tuple[str, ...]]:
    """Distributions that targets are made from (the heads, or `joint`) -> their class names."""
    return schema.head_classes("joint" if is_joint(config, schema) else config.data.target)


def fixed_temperatures(config: RunConfig, schema: LabelSchema) -> dict[str, float]:
    """Temperature per head, where the configuration gives it."""
    asked, heads = config.algorithm.temperature, list(schema.heads(config.data.target))
    if isinstance(asked, dict):
        return dict(asked)
    return dict.fromkeys(heads, float(asked))


def make_alignment(config: RunConfig, train: Manifest, device: torch.device) -> Alignment | None:
    asked = config.algorithm
    if asked.alignment == "none":
        return None
    if asked.alignment == "uniform":
        return Alignment(None, asked.momentum)
    counts = labeled_counts(config, train)
    return Alignment({k: torch.from_numpy(c / c.sum()).float().to(device) for k, c in counts.items()}, asked.momentum)


def labeled_counts(config: RunConfig, train: Manifest) -> dict[str, NDArray[np.int64]]:
    """(classes,) number of labeled images of each class, per distribution that targets are made from."""
    schema, labels = train.schema, train.train_labels
    if is_joint(config, schema):
        return {"joint": np.bincount(schema.join(labels), minlength=len(schema.joint_classes))}
    columns = schema.head_labels(labels, config.data.target).T
    sizes = schema.heads(config.data.target)
    return {name: np.bincount(own, minlength=size) for (name, size), own in zip(sizes.items(), columns, strict=True)}


def make_supervised(config: RunConfig, train: Manifest, device: torch.device) -> Supervised:
    """The supervised algorithm with its class weights, label smoothing and mixing of images."""
    classes = train.schema.head_classes(config.data.target)
    labels = train.schema.head_labels(train.train_labels, config.data.target)
    loss = config.loss
    smoothing = {h: _smoothing(names, loss.label_smoothing, loss.smoothing_classes) for h, names in classes.items()}
    weights: dict[str, Tensor] = {}
    for i, (head, names) in enumerate(classes.items()):
        found = class_weights(loss.class_weights, names, np.bincount(labels[:, i], minlength=len(names)))
        if found is not None:
            weights[head] = found.to(device)
    return Supervised(
        scale=config.model.scale if config.model.head == "arcface" else None,
        margin=loss.margin,
        gamma=loss.focal_gamma if loss.criterion == "focal" else 0.0,
        smoothing={h: s.to(device) for h, s in smoothing.items() if s.any()},
        weights=weights,
        # A probe reads features; that augmentation does not count there is said where they are computed.
        mixing=Mixing() if config.model.tuning == "probe" else Mixing(config.augment.mixup, config.augment.cutmix),
    )


def class_weights(asked: str | Mapping[str, float], names: Sequence[str], counts: NDArray[np.int64]) -> Tensor | None:
    """(classes,) loss weights of one head; None: all are equal."""
    if asked == "balanced":
        return balanced_weights(torch.from_numpy(counts))
    if asked == "effective":
        return effective_weights(torch.from_numpy(counts))
    if isinstance(asked, str):
        return None
    named = [asked.get(n, 1.0) for n in names]
    return torch.tensor(named) if any(n in asked for n in names) else None


def _smoothing(names: Sequence[str], amount: float, only: Sequence[str]) -> Tensor:
    """(classes,) label smoothing; `only` may name a joint class by one of its parts."""
    chosen = [not only or name in only or bool(set(name.split("/")) & set(only)) for name in names]
    return torch.tensor([amount if c else 0.0 for c in chosen])
