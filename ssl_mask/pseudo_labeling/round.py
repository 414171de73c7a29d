"""Between two rounds of `sslmask pseudo`: predict the pool, select pseudo-labels, write them down.

Reads no answers: what is selected depends on the teacher, the pool's pixels and validation alone.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from numpy.typing import NDArray

from ssl_mask.config import PseudoConfig, RunConfig
from ssl_mask.console import Console
from ssl_mask.data.digests import digest_files
from ssl_mask.data.load import load_training_data, load_unlabeled
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.data.predictions import PredictedImages, write_predictions
from ssl_mask.data.pseudo_labels import to_csv
from ssl_mask.data.schema import LabelSchema
from ssl_mask.devices import broadcast
from ssl_mask.errors import MismatchError, ModelError
from ssl_mask.files import write_json, write_text
from ssl_mask.guard.predictions import SAMPLE, agree
from ssl_mask.inference.load import load_predictor
from ssl_mask.inference.predictor import Compute, Predictor
from ssl_mask.inference.shards import sample_rows, shards_are_mirrored
from ssl_mask.inference.shared_out import FOLDER, shared_out
from ssl_mask.pseudo_labeling.record import refuse_nothing, selection_record, tell_selection
from ssl_mask.pseudo_labeling.select import (
    History,
    Selection,
    history_of,
    pseudo_labels_of,
    read_pool,
    select_pseudo_labels,
)
from ssl_mask.pseudo_labeling.streaming import select_from_shards
from ssl_mask.pseudo_labeling.teachers import teach
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seal import file_digest, sealed
from ssl_mask.runs.selected import TeacherRecord
from ssl_mask.runs.sources import Source


def select_round(
    config: RunConfig, number: int, teachers: Sequence[Source], before: RunDir | None, into: RunDir,
    manifest: Manifest, overlapping: frozenset[str], accelerator: Accelerator, console: Console, *,
    scores: Path | None = None,
) -> None:  # fmt: skip
    """Write `pool.parquet`, `selection.json` and, last, `pseudo_labels.csv` of round `number` (from 1).

    Args:
        teachers: the models that predict; the mean of their probabilities counts.
        before: the round before, where it has pseudo-labels too.
        manifest: the data set, split.
        overlapping: digests of the pool's images that overlap validation or test images; they are left out.
        scores: where to keep what the teachers say of the validation images, if they are no round themselves.

    Raises:
        NothingSelectedError: says what to lower.
        ModelError: a teacher knows other classes.
    """
    asked = config.pseudo
    compute = Compute(accelerator, console, max(64, config.train.images_per_step))
    parts = into.path / FOLDER
    predictors = [load_teacher(teacher, manifest.schema, config, compute, parts) for teacher in teachers]
    size = image_size(teachers[0])
    data = load_training_data(manifest, config.data, size, accelerator, console, unlabeled=False)
    if asked.from_predictions is not None:
        selection, validation = from_shards(
            asked, asked.from_predictions, predictors[0], manifest, data.labeled, accelerator
        )
    else:
        pool = load_unlabeled(manifest, data.labeled, config.data, size, accelerator, console)
        pool = pool.without(overlapping, "overlaps validation or test images")
        seen = teach(predictors, data.val.manifest, tta=config.augment.flip)
        taught = teach(predictors, pool.manifest, tta=config.augment.flip)
        validation = seen.mean
        if scores is not None:
            plain = teach(predictors, data.val.manifest, tta=False).mean
            if accelerator.is_main_process:
                write_predictions(scores, plain.manifest, plain.probs, fold=config.data.fold)
        selection = select_pseudo_labels(
            asked, number, taught.mean, validation, data.labeled, (taught.votes, seen.votes)
        )
    broadcast(accelerator, lambda: write_round(asked, number, teachers, before, into, selection, validation, console))
    shutil.rmtree(parts, ignore_errors=True)


def image_size(teacher: Source) -> int:
    """Pixels of a side that a teacher reads; of factor models the first. Others open images at their own size."""
    return read_metadata(teacher.members[0].best).image_size


def load_teacher(
    teacher: Source, schema: LabelSchema, config: RunConfig, compute: Compute, parts: Path | None = None
) -> Predictor:
    """The best weights of a teacher, or the product of its factors.

    Args:
        parts: folder for what a cluster has predicted.

    Raises:
        ModelError: no checkpoint, or it knows other classes.
    """
    load = partial(load_predictor, [teacher], reading=config.data)
    predictor = load(compute)
    if schema != predictor.schema:
        raise ModelError(f"{teacher.path} was trained for other classes.", hint="Name teachers for these labels.")
    return shared_out(predictor, load, compute, parts)


def from_shards(
    asked: PseudoConfig,
    folder: Path,
    predictor: Predictor,
    manifest: Manifest,
    labeled: Manifest,
    accelerator: Accelerator,
) -> tuple[Selection, PredictedImages]:
    """The selection from shards of predictions, and validation seen in the same views."""
    tta = shards_are_mirrored(folder, predictor)
    refuse_other_shards(folder, predictor, manifest, accelerator, tta=tta)
    validation = predictor.probs(labeled.where("val"), tta=tta)
    excluded = labeled.with_rows(labeled.rows + of_validation_groups(manifest))
    return select_from_shards(asked, folder, validation, excluded), validation


def refuse_other_shards(
    folder: Path, predictor: Predictor, manifest: Manifest, accelerator: Accelerator, *, tta: bool
) -> None:
    """Predict some images again: what a shard says of itself is no proof of who made it.

    Raises:
        MismatchError: other weights made the shards.
    """
    classes = predictor.schema.joint_classes
    paths, probs = broadcast(accelerator, lambda: sample_rows(folder, classes, SAMPLE))
    rows = [Row(path, "", "unlabeled", path, None) for path in paths]
    pool = Manifest(Path(), "images", manifest.schema, tuple(rows), False, manifest.submission)
    again = predictor.probs(pool, tta=tta, on_bad="skip")
    there = [i for i in range(len(paths)) if i not in again.unreadable]
    if there and not agree(probs[there], again.probs[there]):
        raise MismatchError(
            f"{predictor.name} did not make the shards in {folder}: some images were predicted again, and the "
            "probabilities are others.",
            hint="Name the run that made them: --teacher RUN",
        )


def of_validation_groups(manifest: Manifest) -> tuple[Row, ...]:
    """The unlabeled rows of validation groups, with digests."""
    groups = set(manifest.where("val").groups.tolist())
    own = manifest.with_rows(r for r in manifest.where("unlabeled").rows if r.group in groups)
    return own.with_digests(digest_files(own.files, None)).rows


def write_round(
    asked: PseudoConfig, number: int, teachers: Sequence[Source], before: RunDir | None, into: RunDir,
    selection: Selection, validation: PredictedImages, console: Console, *, student: str = "",
) -> None:  # fmt: skip
    """The pool, the record and, last, the pseudo-labels: where they are, the selection is complete."""
    last = read_pool(before.pool, selection.pool.manifest.schema) if before is not None else None
    history = history_of(selection, last, number)
    write_pool(into.pool, selection, history)
    table = to_csv(pseudo_labels_of(selection, history, soft=asked.labels == "soft"))
    record = selection_record(
        asked, number, teacher_records(teachers), selection, history, validation, last,
        labels_sha256=hashlib.sha256(table.encode("utf-8", "surrogateescape")).hexdigest(),
    )  # fmt: skip
    write_json(into.selection, sealed(record.to_json()))
    tell_selection(record, console)
    refuse_nothing(asked, record, student=student)
    write_text(into.pseudo_labels, table)


def teacher_records(teachers: Sequence[Source]) -> tuple[TeacherRecord, ...]:
    """Which runs teach, and with which weights."""
    runs = dict.fromkeys(run for teacher in teachers for run in teacher.members)
    return tuple(TeacherRecord(run=run.path.as_posix(), checkpoint_sha256=file_digest(run.best)) for run in runs)


def write_pool(path: Path, selection: Selection, history: History) -> None:
    """The whole pool with its probabilities, what is selected of it and its history."""
    pool = selection.pool
    more: dict[str, NDArray[Any]] = {"first_round": history.first_round, "flips": history.flips}
    for i, name in enumerate(pool.manifest.schema.sizes):
        more |= {f"label/{name}": selection.labels[:, i], f"selected/{name}": selection.selected[:, i]}
    write_predictions(path, pool.manifest, pool.probs, more=more)
