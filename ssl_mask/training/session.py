"""From configuration and data to a training session: model, optimizer, algorithm and the batches of every step."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.augment import Augment, Augmenter, make_augmenter
from ssl_mask.data.batches import (
    PSEUDO,
    LabeledImages,
    StepBatches,
    Stream,
    UnlabeledImages,
    draw_weights,
)
from ssl_mask.data.features import random_view
from ssl_mask.data.image_source import ImageSource
from ssl_mask.data.load import TrainingData
from ssl_mask.data.schema import LabelSchema
from ssl_mask.devices import refuse_differences, settle_workers
from ssl_mask.errors import ConfigError
from ssl_mask.evaluation.calibration import FEW
from ssl_mask.models.classifier import Classifier, build_classifier
from ssl_mask.training.algorithm import make_algorithm
from ssl_mask.training.compiling import compile_backbone
from ssl_mask.training.ema import make_ema
from ssl_mask.training.inputs import Inputs, make_inputs
from ssl_mask.training.loop import Training
from ssl_mask.training.memory import keep_memory
from ssl_mask.training.optim import Schedule, build_optimizer, clipper
from ssl_mask.training.parallel import freeze_unused, share_norms
from ssl_mask.training.progress import Progress
from ssl_mask.training.record import data_digest


@dataclass
class Session:
    """One training run in memory: its data, its model, and how far it is."""

    config: RunConfig
    data: TrainingData
    inputs: Inputs
    """What of the data the network is fed with."""
    training: Training
    size: int
    """Width and height of the images in pixels."""
    console: Console
    progress: Progress = field(default_factory=Progress)

    @property
    def accelerator(self) -> Accelerator:
        return self.training.accelerator

    @property
    def last_step(self) -> int:
        """Steps that are done; the learning rate may fall over more."""
        steps = self.training.steps
        return min(steps, self.config.train.stop_at or steps)

    def batches(self, *, workers: int) -> StepBatches:
        """The images of step k on this process."""
        return make_batches(self.config, self.data, self.inputs, self.size, self.accelerator, workers=workers)

    @property
    def workers(self) -> int:
        """Processes that read and augment images; features need none."""
        return 0 if self.inputs.are_features else settle_workers(self.config.train.workers, self.accelerator)


def make_model(config: RunConfig, schema: LabelSchema) -> tuple[Classifier, int]:
    """The classifier and its input size. Seeded: fresh heads are the same in every process and every run of a seed.

    Raises:
        ModelError: an unknown backbone, weights that do not fit, an image size that the network cannot take.
    """
    torch.manual_seed(config.seed)
    settings = config.model.model_dump(exclude={"sync_norm"})
    return build_classifier(schema.heads(config.data.target), **settings)


def build(
    config: RunConfig, data: TrainingData, model: Classifier, size: int, accelerator: Accelerator, console: Console
) -> Session:
    """Make a session, with its model on the device of the accelerator.

    Raises:
        ConfigError: settings that do not fit the data or the number of processes.
        DataError: the processes see different data.
    """
    refuse_differences(accelerator, lambda: data_digest(data))
    if data.unlabeled is not None:
        _warn_unlabeled(config, len(data.unlabeled), len(data.val), accelerator, console)
    if config.model.tuning in {"last-n", "lora"}:
        sizes = [(p.numel(), p.requires_grad) for p in model.backbone.parameters()]
        trained, weights = sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)
        console.say(f"Tuning {config.model.tuning}: {trained:,} of {weights:,} weights of the backbone train")
    if own := config.augment.transforms:
        names = ", ".join(str(name) for step in own for name in step)
        console.say(f"Augment augment.transforms ({names}), in place of preset {config.augment.preset}")
    steps = optimizer_steps(config, len(data.train))
    optim = config.optim
    if accelerator.device.type == "cpu" and config.algorithm.name == "supervised":
        keep_memory()
    model = model.to(accelerator.device)
    if accelerator.num_processes > 1:
        freeze_unused(model, size)
        if config.model.sync_norm:
            share_norms(model, accelerator.device)
    ema = make_ema(model, config.train.ema_decay)
    if config.train.compile:
        compile_backbone(model)
    optimizer = build_optimizer(
        model, kind=optim.optimizer, lr=optim.lr, backbone_lr_scale=optim.backbone_lr_scale,
        weight_decay=optim.weight_decay, momentum=optim.momentum, layer_decay=optim.layer_decay,
    )  # fmt: skip
    # The model is on its device. Accelerate would copy it once more on CPUs (`cpu` is not its `cpu:0`), and the average
    # would follow the tensors from before.
    prepared, optimizer = accelerator.prepare(model, optimizer, device_placement=[False, False])
    pool = 0 if data.unlabeled is None else len(data.unlabeled)
    training = Training(
        accelerator=accelerator,
        model=prepared,
        optimizer=optimizer,
        schedule=Schedule(optim.schedule, steps, optim.warmup, optim.final_lr_scale, optim.plateau_patience),
        ema=ema,
        algorithm=make_algorithm(config, data.train.manifest, accelerator, live=model, ema=ema, pool=pool),
        clip=clipper(clip_norm=optim.clip_norm, agc=optim.agc),
        steps=steps,
        accumulate=config.train.accumulate,
        seed=config.seed,
    )
    inputs = make_inputs(config, data, model, size, accelerator, console)
    session = Session(config, data, inputs, training, size, console)
    session.batches(workers=0)  # finds wrong augmentation settings before there is a run folder
    return session


def _warn_unlabeled(config: RunConfig, pool: int, val: int, accelerator: Accelerator, console: Console) -> None:
    """Warn of a pool or a validation set that is too small for consistency training."""
    taken = share_of_batch(config.algorithm.mu, config, accelerator)
    if pool < taken:
        console.warn(f"The pool has {pool} images, but each step takes {taken}: images repeat within a step.")
    if config.algorithm.temperature == "calibrated" and val < FEW:
        console.warn(
            f"Temperatures are fitted on only {val} validation images and may over-correct: confidences may be too "
            "low. Lower algorithm.threshold, or fix algorithm.temperature."
        )


def optimizer_steps(config: RunConfig, images: int) -> int:
    """Optimizer steps of a run on so many images, from `steps` or `epochs`."""
    if config.train.steps is not None:
        return config.train.steps
    epochs = config.train.epochs or 20.0
    return max(1, round(epochs * images / config.train.images_per_step))


def make_batches(
    config: RunConfig, data: TrainingData, inputs: Inputs, size: int, accelerator: Accelerator, *, workers: int
) -> StepBatches:
    """Augmented training batches: the images of step k on this process."""
    augment = config.augment
    make = partial(Augmenter, size=size, flip=augment.flip)
    augmenter: Augment = random_view if inputs.are_features else make_augmenter(augment, size)
    schema, labels = data.train.manifest.schema, data.train.manifest.train_labels
    labeled = LabeledImages(
        inputs.train, schema.head_labels(labels, config.data.target), schema.class_names(labels), augmenter,
        make_stream(config, schema.join(labels), config.train.images_per_step, accelerator),
    )  # fmt: skip
    more = None if inputs.pseudo is None else pseudo_images(config, data, inputs.pseudo, augmenter, accelerator)
    if data.unlabeled is None:
        return StepBatches(labeled, pseudo=more)
    taken = share_of_batch(config.algorithm.mu, config, accelerator)
    stream = Stream(
        len(data.unlabeled), taken, config.seed, accelerator.process_index, accelerator.num_processes
    )  # fmt: skip
    weak, strong = make(config.algorithm.weak), make(config.algorithm.strong)
    views = UnlabeledImages(data.unlabeled.images, weak, strong, stream, strong_at_once=workers > 0)
    return StepBatches(labeled, views, more)


def pseudo_images(
    config: RunConfig, data: TrainingData, source: ImageSource, augment: Augment, accelerator: Accelerator
) -> LabeledImages:
    """Pseudo-labeled images with their weights and, for soft labels, their probabilities; drawn like labeled ones."""
    assert data.pseudo_labels is not None  # for the type checker: the caller has looked
    labels, target = data.pseudo_labels, config.data.target
    schema, known = labels.manifest.schema, np.maximum(labels.labels, 0)
    return LabeledImages(
        source, labels.head_labels(target), schema.class_names(known), augment,
        make_stream(config, schema.join(known), share_of_batch(config.pseudo.mu, config, accelerator), accelerator),
        weights=labels.weights(target, config.pseudo), targets=labels.targets(target), key=(PSEUDO,),
    )  # fmt: skip


def share_of_batch(mu: float, config: RunConfig, accelerator: Accelerator) -> int:
    """Images per step over all processes: μ times the batch size, in equal parts."""
    unit = accelerator.num_processes * config.train.accumulate
    return int(max(1, round(mu * config.train.images_per_step / unit)) * unit)


def make_stream(config: RunConfig, joint: NDArray[np.int64], size: int, accelerator: Accelerator) -> Stream:
    """The order in which rows are drawn, `size` per step.

    Args:
        joint: (n,) joint class of each row.

    Raises:
        ConfigError: the batch cannot be divided equally among processes and accumulation steps.
    """
    ranks = accelerator.num_processes
    if size % (ranks * config.train.accumulate):
        raise ConfigError(
            f"train.batch_size: {size} is not a multiple of {ranks} processes x accumulate {config.train.accumulate}.",
            hint="train.batch_size is over all processes; each takes an equal part.",
        )
    weights = draw_weights(joint, config.train.sampler)
    return Stream(len(joint), size, config.seed, accelerator.process_index, ranks, weights)
