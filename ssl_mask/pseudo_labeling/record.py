"""What a round's selection leaves behind: `selection.json`, and the lines that a person reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ssl_mask.config import PseudoConfig
from ssl_mask.console import Console
from ssl_mask.data.predictions import PredictedImages, PredictionTable
from ssl_mask.errors import DataError
from ssl_mask.evaluation.calibration import FEW, expected_calibration_error, reliability_curve
from ssl_mask.pseudo_labeling.select import History, Selection, shared_rows
from ssl_mask.runs.selected import (
    ClassSelection,
    HeadSelectionRecord,
    ReliabilityRecord,
    SelectionRecord,
    TeacherRecord,
)


def selection_record(
    asked: PseudoConfig, number: int, teachers: Sequence[TeacherRecord], selection: Selection, history: History,
    validation: PredictedImages, before: PredictionTable | None, *, labels_sha256: str,
) -> SelectionRecord:  # fmt: skip
    """The content of `selection.json`: thresholds, counts and what the thresholds are worth on validation.

    Args:
        teachers: the runs that predicted.
        labels_sha256: of the table of pseudo-labels.
    """
    val, schema = validation.manifest, selection.pool.manifest.schema
    # Of shards, images are selected as a whole, whatever `pseudo.masks` says.
    masks: Literal["joint", "factors"] = "joint" if "joint" in selection.heads else "factors"
    names = schema.head_classes(masks)
    return SelectionRecord(
        round=number,
        teachers=tuple(teachers),
        labels_sha256=labels_sha256,
        rule=asked.rule,
        masks=masks,
        pool=selection.offered,
        selected=len(selection.rows),
        whole=int(selection.selected.all(axis=1).sum()),
        highest_confidence=_highest(selection),
        heads={
            name: _head_record(selection, name, classes)
            for name, classes in zip(selection.heads, names.values(), strict=True)
        },
        flipped=int(history.flipped.sum()),
        agreement=_agreement(selection, before),
        validation=len(val),
        validation_groups=len(set(val.groups.tolist())),
        calibration_error=expected_calibration_error(validation.probs, val.joint),
        reliability=_reliability(validation),
        pool_hash=selection.pool.manifest.content_hash,
    )


def _head_record(selection: Selection, name: str, classes: Sequence[str]) -> HeadSelectionRecord:
    head, schema = selection.heads[name], selection.pool.manifest.schema
    if name == "joint":
        labels, chosen = schema.join(selection.labels), selection.selected.all(axis=1)
    else:
        factor = list(schema.sizes).index(name)
        labels, chosen = selection.labels[:, factor], selection.selected[:, factor]
    predicted = np.bincount(labels, minlength=len(classes))
    selected = np.bincount(labels[chosen], minlength=len(classes))
    return HeadSelectionRecord(
        selected=int(chosen.sum()),
        val_share=round(head.share, 4),
        val_precision=_finite(head.precision),
        classes={
            c: ClassSelection(
                predicted=int(predicted[i]),
                selected=int(selected[i]),
                threshold=_finite(float(head.thresholds[i])),
                source=head.source[i],
                support=int(head.support[i]),
            )
            for i, c in enumerate(classes)
        },
    )


def _reliability(validation: PredictedImages) -> ReliabilityRecord:
    curve = reliability_curve(validation.probs, validation.manifest.joint)
    return ReliabilityRecord(
        images=tuple(curve.images.tolist()),
        confidence=tuple(map(_finite, curve.confidence.tolist())),
        accuracy=tuple(map(_finite, curve.accuracy.tolist())),
    )


def _agreement(selection: Selection, before: PredictionTable | None) -> float | None:
    """Share of the labels selected both now and in the round before that are the same; None where there are none."""
    if before is None:
        return None
    now, then = shared_rows(selection.pool.manifest, before)
    same = both = 0
    for i, name in enumerate(selection.pool.manifest.schema.sizes):
        shared = selection.selected[now, i] & before.more[f"selected/{name}"][then]
        both += int(shared.sum())
        same += int((shared & (before.more[f"label/{name}"][then] == selection.labels[now, i])).sum())
    return same / both if both else None


def _highest(selection: Selection) -> float | None:
    """The highest confidence that was compared with a threshold."""
    compared = selection.confidence[:, :1] if "joint" in selection.heads else selection.confidence[:, 1:]
    return float(compared.max()) if compared.size else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def tell_selection(record: SelectionRecord, console: Console) -> None:
    """The selection in a few lines, and what is odd about it."""
    console.say(f"Select {record.selected} of {record.pool} images (rule {record.rule})")
    for name, head in record.heads.items():
        share, right = f"{head.val_share:.0%}", head.val_precision
        worth = "would select nothing" if right is None else f"would select {share}, {right:.3f} of it right"
        console.say(f"  {name}: {head.selected} selected; on validation the same thresholds {worth}")
        never = [c for c, row in head.classes.items() if row.predicted and not row.selected]
        if never and head.selected:
            console.warn(f"{name}: none of {', '.join(never)} is selected, so later rounds see fewer of them.")
        if head.selected == record.pool and record.rule != "percentile":
            console.warn(f"{name}: every image is selected: the threshold does not tell right from wrong.")
        pooled = [c for c, row in head.classes.items() if row.source == "pooled"]
        if pooled:
            console.say(
                f"  {name}: too few validation images of {', '.join(pooled)} for a threshold of their own; "
                "they take the one of all classes"
            )
    if record.validation < FEW:
        console.warn(
            f"Confidence is calibrated on {record.validation} validation images only; rule precision suits that best."
        )


class NothingSelectedError(DataError):
    """No image of the pool is sure enough for a round."""


def refuse_nothing(asked: PseudoConfig, record: SelectionRecord, *, student: str = "") -> None:
    """Raises NothingSelectedError when nothing is selected; says what to lower.

    Args:
        student: whose selection it is, where a round has several.
    """
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
        "precision": "Lower --target-precision, or take a rule that always selects some: --rule percentile.",
        "threshold": "Lower --threshold, or take --rule percentile.",
    }.get(asked.rule, "Raise pseudo.top_k or pseudo.percentile_step.")
    if asked.agreement > 0:
        why += f", counting only what {asked.agreement:.0%} of {len(record.teachers)} teachers agree on"
        hint += " Or lower --agreement."
    whose = f" for {student}" if student else ""
    raise NothingSelectedError(f"Round {record.round} selects none of {record.pool} images{whose}: {why}.", hint=hint)
