"""The reference of a run: what a probe of its backbone says of the validation images, before the run trains it."""

from __future__ import annotations

import time

import numpy as np

from ssl_mask.config import RunConfig
from ssl_mask.data.load import TrainingData
from ssl_mask.data.predictions import predicted_class, write_predictions
from ssl_mask.evaluation.metrics import accuracy, macro_f1
from ssl_mask.evaluation.reference import STRENGTH, reference_probs, sample_rows
from ssl_mask.files import write_json
from ssl_mask.runs.reference import ReferenceRecord
from ssl_mask.runs.run import RunDir
from ssl_mask.training.inputs import backbone_of
from ssl_mask.training.session import Session

MOST_IMAGES = 5000
"""That it is fitted on: more would take longer than it is worth."""


def has_reference(config: RunConfig, data: TrainingData) -> bool:
    """Whether a run gets a reference: it is asked for, there is validation, and the backbone has learned something."""
    pretrained = config.model.weights != "none" or config.init_from is not None
    return config.train.reference == "probe" and pretrained and len(data.val) > 0


def write_reference(session: Session, run: RunDir) -> None:
    """Write the reference, unless it is there. For one process, before the first step; it draws no random number."""
    config, data, console = session.config, session.data, session.console
    if run.reference_file.exists() or not has_reference(config, data):
        return
    began, schema = time.monotonic(), data.manifest.schema
    model = session.training.live
    backbone = backbone_of(config, data, model, session.size, session.accelerator, console)
    labels = data.train.manifest.train_labels
    rows = sample_rows(schema.join(labels), MOST_IMAGES)
    train, val = backbone.features(data.train.at(rows.tolist())), backbone.features(data.val)
    if not (np.isfinite(train).all() and np.isfinite(val).all()):
        console.warn("The backbone's features are not finite, so this run has no probe to be measured against.")
        return
    probs = reference_probs(train, labels[rows], val, schema, config.data.target)
    write_predictions(run.reference, data.val.manifest, probs, fold=config.data.fold)
    true, predicted = data.val.manifest.joint, predicted_class(probs)
    record = ReferenceRecord(
        backbone=config.model.backbone,
        features=train.shape[1],
        strength=STRENGTH / train.shape[1],
        train_images=len(rows),
        of_images=len(labels),
        macro_f1=macro_f1(true, predicted, len(schema.joint_classes)),
        accuracy=accuracy(true, predicted),
        seconds=round(time.monotonic() - began, 1),
    )
    write_json(run.reference_file, record.to_json())
    sample = f", fitted on {len(rows)} of {len(labels)} training images" if len(rows) < len(labels) else ""
    console.say(f"Probe  logistic regression on the frozen backbone: validation macro-F1 {record.macro_f1:.4f}{sample}")
