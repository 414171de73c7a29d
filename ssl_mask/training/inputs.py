"""What the network is fed with: pixels, or (`model.tuning: probe`) features of its backbone, which does not change."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from accelerate import Accelerator

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.features import FeatureRows
from ssl_mask.data.image_set import ImageSet
from ssl_mask.data.image_source import ImageSource
from ssl_mask.data.load import TrainingData
from ssl_mask.inference.features import FrozenBackbone, View, frozen_backbone
from ssl_mask.inference.predictor import Compute
from ssl_mask.models.classifier import Classifier


class Inputs(NamedTuple):
    """A source for each part of the data, row by row."""

    train: ImageSource
    val: ImageSource
    pseudo: ImageSource | None = None

    @property
    def are_features(self) -> bool:
        return isinstance(self.train, FeatureRows)


def make_inputs(
    config: RunConfig, data: TrainingData, model: Classifier, size: int, accelerator: Accelerator, console: Console
) -> Inputs:
    """The images themselves, or their features: computed now, unless the cache folder has them.

    Args:
        model: on its device, with the weights that training begins with.
        size: width and height of the images in pixels.
    """
    if config.model.tuning != "probe":
        return Inputs(data.train.images, data.val.images, None if data.pseudo is None else data.pseudo.images)
    views = training_views(config)
    mirrored = "images and mirror images" if len(views) > 1 else "images, never mirrored"
    console.say(
        f"Probe  trains on features of the frozen backbone ({mirrored}), computed once; other augmentation does not "
        "count."
    )
    backbone = backbone_of(config, data, model, size, accelerator, console)

    def rows(images: ImageSet) -> FeatureRows:
        return FeatureRows(np.stack([backbone.features(images, view) for view in views], axis=1))

    with accelerator.main_process_first():  # the others then find all of it in the cache folder
        pseudo = None if data.pseudo is None else rows(data.pseudo)
        return Inputs(rows(data.train), FeatureRows(backbone.features(data.val)), pseudo)


def training_views(config: RunConfig) -> tuple[View, ...]:
    """The views of a training image, one of which is drawn at random at each step."""
    mirrors = config.augment.flip and config.augment.preset != "none"
    return ("plain", "mirrored") if mirrors else ("plain",)


def backbone_of(
    config: RunConfig, data: TrainingData, model: Classifier, size: int, accelerator: Accelerator, console: Console
) -> FrozenBackbone:
    """The backbone with its weights of now. Arguments as `make_inputs`."""
    compute = Compute(accelerator, console, workers=config.train.workers)
    images = len(data.train) + len(data.val) + (0 if data.pseudo is None else len(data.pseudo))
    return frozen_backbone(model, config, size, images, compute)
