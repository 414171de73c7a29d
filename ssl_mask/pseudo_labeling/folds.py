"""Pseudo-labels that do not leak through folds: each student learns from teachers that have not seen its fold.

The teachers of fold k predict the pool for student k alone. Its thresholds are set on the labeled images of the other
folds, each predicted by the teachers of its own fold, so that no label of fold k reaches student k: a table of
out-of-fold predictions without fold k. The mean of the teachers is calibrated on the same images.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from accelerate import Accelerator

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.load import TrainingData, load_unlabeled
from ssl_mask.data.predictions import PredictedImages, write_predictions
from ssl_mask.devices import broadcast
from ssl_mask.errors import DataError
from ssl_mask.evaluation.folds import fit_temperatures, head_scores, joint_probs
from ssl_mask.inference.predictor import Compute, Predictor
from ssl_mask.inference.shared_out import FOLDER
from ssl_mask.pseudo_labeling.round import image_size, load_teacher, write_round
from ssl_mask.pseudo_labeling.select import select_pseudo_labels
from ssl_mask.pseudo_labeling.teachers import Taught, pooled, teach
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source


@dataclass(frozen=True)
class Student:
    """A run that is to get pseudo-labels."""

    run: RunDir
    name: str
    """For people."""
    data: TrainingData
    """Its labeled images: what it trains on, and what it is validated on; the refit is validated on nothing."""
    teachers: tuple[Source, ...]
    before: RunDir | None
    """The run of the same fold in the round before, where it has pseudo-labels."""
    split: int = 0
    """Students of one number share a split."""


def select_for_students(
    config: RunConfig, number: int, students: Sequence[Student], missing: Sequence[Student],
    overlapping: frozenset[str], accelerator: Accelerator, console: Console, *, scores: Path | None = None,
) -> None:  # fmt: skip
    """Write the pseudo-labels of round `number` (from 1) of each student that has none yet.

    Args:
        students: one per fold and split.
        missing: those that have none, and perhaps one that is validated on nothing.
        overlapping: digests of the pool's images that overlap labeled or test images; they are left out.
        scores: where to keep what the teachers say of the labeled images, if they are no round themselves.

    Raises:
        NothingSelectedError: nothing is selected for one of them; says what to lower.
        ModelError: a teacher knows other classes.
    """
    compute = Compute(accelerator, console, max(64, config.train.images_per_step))
    load = partial(load_teacher, schema=students[0].data.manifest.schema, config=config, compute=compute)
    seen, plain = list[Taught](), list[Taught]()
    for student in students:
        predictors = [load(teacher) for teacher in student.teachers]
        seen.append(teach(predictors, student.data.val.manifest, tta=config.augment.flip))
        if scores is not None and student.split == 0:
            plain.append(teach(predictors, student.data.val.manifest, tta=False))
    if scores is not None and accelerator.is_main_process:
        write_by_path(scores, pooled(plain).mean)
    for student in missing:
        console.say(f"\n{student.name}: pseudo-labels of round {number}", style="bold")
        others = [
            taught for other, taught in zip(students, seen, strict=True)
            if other.split == student.split and other.run != student.run
        ]  # fmt: skip
        parts = student.run.path / FOLDER
        predictors = [load(teacher, parts=parts) for teacher in student.teachers]
        select_for(config, number, student, predictors, others, overlapping, compute)
        shutil.rmtree(parts, ignore_errors=True)


def write_by_path(path: Path, images: PredictedImages) -> None:
    """A table of predictions in the order of a study's out-of-fold predictions."""
    rows = images.manifest.rows
    order = sorted(range(len(rows)), key=lambda i: rows[i].path)
    write_predictions(path, images.manifest.with_rows(rows[i] for i in order), images.probs[order])


def select_for(
    config: RunConfig, number: int, student: Student, predictors: Sequence[Predictor], others: Sequence[Taught],
    overlapping: frozenset[str], compute: Compute,
) -> None:  # fmt: skip
    """The pseudo-labels of one student.

    Args:
        predictors: its teachers.
        others: what the teachers of the other folds say of these folds.
    """
    asked, accelerator, console = config.pseudo, compute.accelerator, compute.console
    data, labeled = student.data, pooled(others)
    pool = load_unlabeled(
        data.manifest, data.labeled, config.data, image_size(student.teachers[0]), accelerator, console
    )
    pool = pool.without(overlapping, "overlaps labeled or test images")
    taught = teach(predictors, pool.manifest, tta=config.augment.flip)
    votes = (taught.votes, labeled.votes) if asked.agreement > 0 else None
    if votes is not None and not labeled.votes:
        raise DataError(
            "The folds have different numbers of teachers, of which no share can be asked to agree.",
            hint="Name studies of the same folds as teachers, or set pseudo.agreement to 0.",
        )
    predicted, validation = calibrated_on(labeled.mean, taught.mean, config.data.target)
    selection = select_pseudo_labels(asked, number, predicted, validation, data.labeled, votes)
    broadcast(
        accelerator,
        lambda: write_round(
            asked, number, student.teachers, student.before, student.run, selection, validation, console,
            student=student.name[:1].lower() + student.name[1:],
        ),
    )  # fmt: skip


def calibrated_on(
    labeled: PredictedImages, pool: PredictedImages, target: str
) -> tuple[PredictedImages, PredictedImages]:
    """Pool and labeled images with a temperature per head that suits the labeled ones, on top of what models have.

    A study's models share temperatures that were fitted on all folds. What these know of a fold cancels out.

    Args:
        target: `factors` or `joint`: the heads.

    Returns:
        The pool, then the labeled images.
    """
    schema = labeled.manifest.schema
    once = dict.fromkeys(schema.heads(target), 1.0)
    scores = [head_scores(images.probs, once, schema, target) for images in (pool, labeled)]
    found = fit_temperatures(scores[1], schema.head_labels(labeled.manifest.labels, target))
    first, second = (joint_probs(z, found, schema) for z in scores)
    return replace(pool, probs=first), replace(labeled, probs=second)
