"""Between two rounds of `sslmask pseudo`: predict the pool, choose what to believe, write it down.

Reads no answers: what is chosen depends on the teacher, the pool's pixels and validation alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
from accelerate import Accelerator

from ssl_mask.config import PseudoConfig, RunConfig
from ssl_mask.console import Console
from ssl_mask.data.cache import ImageSource
from ssl_mask.data.digests import digest_files
from ssl_mask.data.load import load_training_data, load_unlabeled
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.data.predictions import PredictionTable, write_predictions
from ssl_mask.data.pseudo_labels import to_csv
from ssl_mask.errors import DataError, ModelError
from ssl_mask.evaluation.calibration import FEW, expected_calibration_error, reliability_curve
from ssl_mask.evaluation.scores import mean_probs
from ssl_mask.files import write_json, write_text
from ssl_mask.inference.logits import predict_logits
from ssl_mask.inference.predictor import Member, load_member
from ssl_mask.pseudo.select import (
    History,
    Probs,
    Scored,
    Selection,
    believed,
    follow,
    read_pool,
    select_pseudo_labels,
    shared_rows,
)
from ssl_mask.pseudo.sharded import select_from_shards, shards_are_mirrored
from ssl_mask.runs.records import ClassSelection, HeadSelectionRecord, ReliabilityRecord, SelectionRecord
from ssl_mask.runs.run import RunDir


def select_round(
    config: RunConfig, number: int, teacher: RunDir, before: RunDir | None, into: RunDir, manifest: Manifest,
    overlapping: frozenset[str], accelerator: Accelerator, console: Console,
) -> None:  # fmt: skip
    """Write `pool.parquet`, `selection.json` and, last, `pseudo_labels.csv` of round `number` (from 1).

    Args:
        teacher: the run whose best weights predict.
        before: the round before, where it has pseudo-labels too.
        manifest: the data set, split.
        overlapping: digests of the pool's images that overlap validation or test images; they are left out.

    Raises:
        DataError: nothing is believed; says what to lower.
    """
    member, asked = load_member(teacher, accelerator), config.pseudo
    if manifest.schema != member.schema:
        raise ModelError(f"{teacher.path} was trained for other classes.", hint="Start from a run on these labels.")
    data = load_training_data(manifest, config.data, member.size, accelerator, console, unlabeled=False)
    val, labeled = data.val, data.labeled
    shards = asked.from_predictions
    flip = config.augment.flip if shards is None else shards_are_mirrored(shards, member)
    see = partial(predict_views, member, flip=flip, config=config, accelerator=accelerator, console=console)
    judged = Scored(val.manifest, see(val.images, "Scoring validation"))
    if shards is not None:
        choice = select_from_shards(asked, shards, judged, labeled.with_rows(labeled.rows + validating(manifest)))
    else:
        pool = load_unlabeled(manifest, labeled, config.data, member.size, accelerator, console)
        pool = pool.without(overlapping, "overlaps validation or test images")
        probs = see(pool.images, "Scoring the pool")
        choice = select_pseudo_labels(asked, number, Scored(pool.manifest, probs), judged, labeled)
    if accelerator.is_main_process:
        last = read_pool(before.pool, manifest.schema) if before is not None else None
        history = follow(choice, last, number)
        write_selection_files(into, choice, history)
        record = selection_record(asked, number, teacher, choice, history, judged, last)
        write_json(into.selection, record.to_json())
        tell(record, len(val.manifest), console)
        refuse_nothing(asked, number, record)
        write_text(into.pseudo_labels, to_csv(believed(choice, history, soft=asked.labels == "soft")))
    accelerator.wait_for_everyone()


def validating(manifest: Manifest) -> tuple[Row, ...]:
    """The unlabeled rows of validation groups, with digests."""
    groups = set(manifest.where("val").groups.tolist())
    own = manifest.with_rows(r for r in manifest.where("unlabeled").rows if r.group in groups)
    return own.with_digests(digest_files(own.files, None)).rows


def predict_views(
    member: Member, images: ImageSource, what: str, *, flip: bool, config: RunConfig, accelerator: Accelerator,
    console: Console,
) -> Probs:  # fmt: skip
    """(n, joint classes) calibrated probabilities; with `flip` averaged over the plain and the mirrored view."""
    done = 0
    with console.progress(what, len(images)) as advance:

        def tell_more(more: int) -> None:
            nonlocal done
            done = min(done + more, len(images))
            advance(done, "")

        views = predict_logits(
            member.model, images, accelerator=accelerator, batch_size=max(64, config.train.batch_size), workers=0,
            flip=flip, on_images=tell_more,
        )  # fmt: skip
    return mean_probs(views, member.checkpoint.metadata.temperatures)


def write_selection_files(into: RunDir, choice: Selection, history: History) -> None:
    """The whole pool with its probabilities, what is believed of it and its history."""
    factors = choice.pool.manifest.schema.sizes
    write_predictions(
        into.pool, choice.pool.manifest, choice.pool.probs,
        more={
            "first_round": history.first_round,
            "flips": history.flips,
            **{f"label/{name}": choice.labels[:, i] for i, name in enumerate(factors)},
            **{f"selected/{name}": choice.known[:, i] for i, name in enumerate(factors)},
        },
    )  # fmt: skip


def selection_record(
    asked: PseudoConfig,
    number: int,
    teacher: RunDir,
    choice: Selection,
    history: History,
    judged: Scored,
    last: PredictionTable | None,
) -> SelectionRecord:
    """The content of `selection.json`: bars, counts and what the bars are worth on validation."""
    val, schema = judged.manifest, choice.pool.manifest.schema
    # Stored predictions are selected as a whole.
    masks: Literal["joint", "factors"] = "joint" if "joint" in choice.heads else "factors"
    names = schema.head_classes(masks)
    curve = reliability_curve(judged.probs, val.joint)
    return SelectionRecord(
        round=number,
        teacher=teacher.path.as_posix(),
        rule=asked.rule,
        masks=masks,
        pool=choice.offered,
        selected=len(choice.rows),
        whole=int(choice.known.all(axis=1).sum()),
        highest_confidence=_highest(choice),
        heads={
            name: _head_record(choice, name, classes)
            for name, classes in zip(choice.heads, names.values(), strict=True)
        },
        flipped=int(history.flipped.sum()),
        agreement=_agreement(choice, last),
        validation=len(val),
        validation_groups=len(set(val.groups.tolist())),
        calibration_error=expected_calibration_error(judged.probs, val.joint),
        reliability=ReliabilityRecord(
            images=tuple(curve.images.tolist()),
            confidence=tuple(map(_finite, curve.confidence.tolist())),
            accuracy=tuple(map(_finite, curve.accuracy.tolist())),
        ),
        pool_hash=choice.pool.manifest.content_hash,
    )


def _head_record(choice: Selection, name: str, classes: Sequence[str]) -> HeadSelectionRecord:
    head, schema = choice.heads[name], choice.pool.manifest.schema
    labels = schema.join(choice.labels) if name == "joint" else choice.labels[:, list(schema.sizes).index(name)]
    known = choice.known.all(axis=1) if name == "joint" else choice.known[:, list(schema.sizes).index(name)]
    predicted = np.bincount(labels, minlength=len(classes))
    selected = np.bincount(labels[known], minlength=len(classes))
    return HeadSelectionRecord(
        selected=int(known.sum()),
        val_share=round(head.share, 4),
        val_precision=_finite(head.precision),
        classes={
            c: ClassSelection(
                predicted=int(predicted[i]),
                selected=int(selected[i]),
                threshold=_finite(float(head.thresholds[i])),
                source=head.source[i],
            )
            for i, c in enumerate(classes)
        },
    )


def _agreement(choice: Selection, last: PredictionTable | None) -> float | None:
    """Share of the labels believed both now and in the round before that are the same; None where there are none."""
    if last is None:
        return None
    now, then = shared_rows(choice.pool.manifest, last)
    same = both = 0
    for i, name in enumerate(choice.pool.manifest.schema.sizes):
        shared = choice.known[now, i] & last.more[f"selected/{name}"][then]
        both += int(shared.sum())
        same += int((shared & (last.more[f"label/{name}"][then] == choice.labels[now, i])).sum())
    return same / both if both else None


def _highest(choice: Selection) -> float | None:
    """The highest confidence that a bar was held against."""
    held = choice.confidence[:, :1] if "joint" in choice.heads else choice.confidence[:, 1:]
    return float(held.max()) if held.size else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def tell(record: SelectionRecord, validated: int, console: Console) -> None:
    """The selection in a few lines, and what is odd about it."""
    console.say(f"Select {record.selected} of {record.pool} images ({record.rule})")
    for name, head in record.heads.items():
        shown = "nothing" if head.val_precision is None else f"{head.val_precision:.3f} right"
        console.say(f"  {name}: {head.selected} believed; on validation {head.val_share:.0%} would be, {shown}")
        never = [c for c, row in head.classes.items() if row.predicted and not row.selected]
        if never and head.selected:
            console.warn(f"{name}: none of {', '.join(never)} is believed, so later rounds see fewer of them.")
        if head.selected == record.pool and record.rule != "percentile":
            console.warn(f"{name}: every image is believed: the bar does not tell right from wrong.")
        pooled = [c for c, row in head.classes.items() if row.source == "pooled"]
        if pooled:
            console.say(f"  {name}: too few validation images of {', '.join(pooled)} for a bar of their own; pooled")
    if validated < FEW:
        console.warn(f"Confidence is calibrated on {validated} validation images only; rule precision suits that best.")


def refuse_nothing(asked: PseudoConfig, number: int, record: SelectionRecord) -> None:
    """Raises DataError when nothing is believed."""
    if record.selected:
        return
    highest = record.highest_confidence
    why = {
        "precision": f"no confidence reaches a precision of {asked.target_precision} on {record.validation} "
        f"validation images of {record.validation_groups} groups",
        "threshold": f"no confidence reaches {asked.threshold}"
        + (f" (the highest is {highest:.3f})" if highest is not None else ""),
    }.get(asked.rule, "the rule takes none")
    hint = {
        "precision": "Lower --target-precision, or take a rule that always believes some: --rule percentile.",
        "threshold": "Lower --threshold, or take --rule percentile.",
    }.get(asked.rule, "Raise pseudo.top_k or pseudo.percentile_step.")
    raise DataError(f"Round {number} believes nothing of {record.pool} images: {why}.", hint=hint)
