"""Plots of pseudo-labels: what one round selected, and how the scores and the labels went over the rounds.

`python -m ssl_mask.reports.round_plots` draws both from made-up rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.predictions import PredictionTable
from ssl_mask.reports.figures import (
    COLOURS,
    MANY_CLASSES,
    SMALL,
    curve,
    legend,
    name_ticks,
    new_figure,
    save_figure,
    short,
    whole_ticks,
)
from ssl_mask.runs.records import RoundSummary
from ssl_mask.runs.selected import HeadSelectionRecord, SelectionRecord


def write_selection(path: Path, record: SelectionRecord, pool: PredictionTable) -> None:
    """Draw a round.

    Args:
        record: the round's `selection.json`.
        pool: its `pool.parquet`.
    """
    flags = [v.astype(bool) for k, v in pool.more.items() if k.startswith("selected/")]
    save_figure(path, draw_selection(record, pool.probs.max(axis=1), np.logical_or.reduce(flags)))


def draw_selection(record: SelectionRecord, confidence: NDArray[Any], selected: NDArray[np.bool_]) -> Any:
    """Confidences of the pool, calibration on validation, and how many images of each class are selected.

    Args:
        confidence: (n,) of the pool's images in their joint class.
        selected: (n,) whether at least one label of the image is selected.
    """
    heads = record.heads
    columns = max(2, len(heads))
    bars = max(2.6, 0.24 * max(min(len(h.classes), MANY_CLASSES) for h in heads.values()) + 1)
    figure, axes = new_figure(2, columns, (5.2 * columns, 4 + bars), height_ratios=[3.8, bars])
    figure.suptitle(f"Round {record.round}: pseudo-labels for {record.selected} of {record.pool} images")
    bins = np.linspace(0, 1, 21)
    axes[0, 0].hist(confidence, bins=bins, color="0.82", label="unlabeled images")
    axes[0, 0].hist(confidence[selected], bins=bins, rwidth=0.6, color=COLOURS[0], label="pseudo-labeled")
    axes[0, 0].set(title="Confidence in the joint class", xlabel="confidence", ylabel="images", xlim=(0, 1))
    legend(axes[0, 0])
    _draw_reliability(axes[0, 1], record)
    for axis, (name, head) in zip(axes[1], heads.items(), strict=False):
        _draw_classes(axis, name, head)
    for axis in (*axes[0, 2:], *axes[1, len(heads) :]):
        axis.axis("off")
    return figure


def _draw_reliability(axis: Any, record: SelectionRecord) -> None:
    """Accuracy against confidence on validation; a dot is a bin of confidence, its area the number of its images."""
    bins = record.reliability
    filled = [i for i, count in enumerate(bins.images) if count]
    sizes = [15 + 900 * bins.images[i] / max(record.validation, 1) for i in filled]
    axis.plot([0, 1], [0, 1], color="0.6", lw=1, label="perfectly calibrated")
    places = ([values[i] for i in filled] for values in (bins.confidence, bins.accuracy))
    axis.scatter(*places, s=sizes, color=COLOURS[0], alpha=0.8, label="validation (area: images)")
    title = f"Calibration on {record.validation} validation images (error {record.calibration_error:.3f})"
    axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    axis.set_title(title, fontsize=10)
    legend(axis, loc="upper left")


def _draw_classes(axis: Any, name: str, head: HeadSelectionRecord) -> None:
    """Images predicted as each class and those selected, with the class's threshold beside its name."""
    labels, rows = list(head.classes), list(head.classes.values())
    places, predicted = np.arange(len(labels)), [r.predicted for r in rows]
    axis.barh(places, predicted, height=0.8, color="0.82", label="predicted")
    axis.barh(places, [r.selected for r in rows], height=0.5, color=COLOURS[0], label="selected")
    limits = ["none selected" if r.threshold is None else f"≥ {r.threshold:.2f}" for r in rows]
    ticks = name_ticks(len(labels))
    axis.set_yticks(ticks, [f"{short(labels[t])}  ({limits[t]})" for t in ticks], fontsize=SMALL)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.set_xlim(0, 1.35 * max(*predicted, 1))  # room for the legend
    precision = "none selected" if head.val_precision is None else f"precision {head.val_precision:.1%}"
    axis.set(title=f"{name}: {precision} on validation", xlabel="images (class and its threshold)")
    legend(axis, loc="lower right")


def write_rounds(path: Path, rows: Sequence[RoundSummary], scored: str = "Validation") -> None:
    save_figure(path, draw_rounds(rows, scored))


def draw_rounds(rows: Sequence[RoundSummary], scored: str = "Validation") -> Any:
    """By round: scores with their intervals, how many images are pseudo-labeled, and how correctly.

    Args:
        rows: one per round, round 0 first.
        scored: on which images, as `round_tables` takes it.
    """
    figure, ((scores, shares, quality),) = new_figure(1, 3, (15, 4.4))
    best = max((r for r in rows if r.teachers is None), key=lambda r: r.macro_f1.value, default=rows[0])
    pairs = {"macro-F1": [r.macro_f1 for r in rows], "accuracy": [r.accuracy for r in rows]}
    for i, (label, intervals) in enumerate(pairs.items()):
        value, low, high = np.asarray([[i.value, i.low, i.high] for i in intervals]).T
        places = np.asarray([r.round for r in rows]) + (i - 0.5) * 0.1  # side by side: the intervals overlap
        spread = [value - low, high - value]
        scores.errorbar(places, value, yerr=spread, fmt="o-", color=COLOURS[i], capsize=3, label=label)
    scores.axvline(best.round, color="0.35", ls=":", lw=1.5)
    scores.set(title=f"{scored} scores, 95 % intervals; best: round {best.round}", ylim=(0, 1))
    later = [r for r in rows if r.round > 0]
    _draw_shares(shares, later)
    _draw_quality(quality, later, scored)
    for axis in (scores, shares, quality):
        whole_ticks(axis, rows[0].round, rows[-1].round)
        axis.set_xlabel("round")
        axis.grid(alpha=0.3)
    legend(scores)
    return figure


def _draw_shares(axis: Any, later: Sequence[RoundSummary]) -> None:
    lines = {
        "pseudo-labeled images": [_part(r.selected, r.pool) for r in later],
        "images whose predicted class changed": [_part(r.flipped, r.pool) if r.round > 1 else None for r in later],
        "pseudo-labels that stayed the same": [r.agreement for r in later],
    }
    for i, (label, shares) in enumerate(lines.items()):
        curve(axis, [r.round for r in later], shares, color=COLOURS[i], label=label)
    axis.set(title="Pseudo-labels: how many, how stable", ylabel="share", ylim=(0, 1.02))
    legend(axis, loc="upper center", bbox_to_anchor=(0.5, -0.2))


def _part(count: int | None, total: int | None) -> float | None:
    return count / total if count is not None and total else None


def _draw_quality(axis: Any, later: Sequence[RoundSummary], scored: str) -> None:
    """Precision per head on labeled images and, where the answers were given, of the pseudo-labels themselves."""
    rounds = [r.round for r in later]
    for i, name in enumerate((later[0].heads or {}) if later else ()):
        validated = [r.heads[name].val_precision if r.heads else None for r in later]
        audited = [
            r.audit.factors[name].precision if r.audit is not None and name in r.audit.factors else None for r in later
        ]
        colour = COLOURS[i % len(COLOURS)]
        curve(axis, rounds, validated, color=colour, ls="--", label=f"{name}, on {scored.lower()} images")
        curve(axis, rounds, audited, color=colour, label=f"{name}, audited (true)")
    axis.set(title="Pseudo-labels: precision", ylabel="share correct", ylim=(0, 1.02))
    legend(axis, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


if __name__ == "__main__":
    from tempfile import mkdtemp

    from ssl_mask.reports import study_samples

    folder = Path(mkdtemp(prefix="sslmask-plots-"))
    save_figure(folder / "selection.svg", draw_selection(study_samples.selection(), *study_samples.pool_confidence()))
    write_rounds(folder / "rounds.svg", study_samples.rounds())
    print(folder)
