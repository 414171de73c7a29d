"""Plots of one run over its steps: losses and scores, and what the unlabeled images contributed.

`python -m ssl_mask.reports.plots` draws both from made-up records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_mask.reports.figures import (
    COLOURS,
    SMALL,
    curve,
    from_zero,
    legend,
    name_ticks,
    new_figure,
    save_figure,
    short,
    whole_ticks,
)

Record = Mapping[str, Any]
WEIGHTS = {"live": ("live weights", "-"), "ema": ("averaged weights", "--")}
"""Of each kind of weights: its name for people, and its line style."""


Kept = tuple[int, str]
"""Step and kind of the weights that a run keeps."""


def write_curves(path: Path, records: Sequence[Record], *, kept: Kept | None = None) -> None:
    save_figure(path, draw_curves(records, kept=kept))


def draw_curves(records: Sequence[Record], *, kept: Kept | None = None) -> Any:
    """Loss per head, validation scores, calibration error and learning rate by step; the kept step is marked.

    Args:
        records: the lines of `metrics.jsonl`.
        kept: which weights the run keeps; None: those of the highest macro-F1.
    """
    train, val = ([r for r in records if r["kind"] == kind] for kind in ("train", "val"))
    figure, ((loss, scores), (calibration, rate)) = new_figure(2, 2, (11, 7))
    steps = [r["step"] for r in train]
    for i, name in enumerate(train[0]["terms"] if train else ()):
        curve(loss, steps, [r["terms"].get(name) for r in train], color=COLOURS[i % len(COLOURS)], label=name)
    curve(rate, steps, [r["lr"] for r in train], color=COLOURS[0])
    for weights, (words, line) in WEIGHTS.items():
        own = [r for r in val if r["weights"] == weights]
        for axis, key, label, colour in (
            (scores, "macro_f1", "macro-F1", 0), (scores, "accuracy", "accuracy", 1),
            (calibration, "ece", "after calibration", 2), (calibration, "ece_raw", "before calibration", 3),
        ):  # fmt: skip
            if own:
                values = [r[key] for r in own]
                curve(axis, [r["step"] for r in own], values, color=COLOURS[colour], ls=line, label=f"{label}, {words}")
    loss.set_title("Training loss per term")
    scores.set(title="Validation scores", ylim=(0, 1))
    calibration.set_title("Calibration error on validation (0 is best)")
    rate.set_title("Learning rate (highest of all parameter groups)")
    for axis in (loss, calibration, rate):
        from_zero(axis)
    for axis in (loss, scores, calibration, rate):
        axis.grid(alpha=0.3)
        axis.set_xlabel("step")
        whole_ticks(axis, min((r["step"] for r in records), default=0), max((r["step"] for r in records), default=1))
    if val:
        best = max(val, key=lambda r: ((r["step"], r["weights"]) == kept, float(r["macro_f1"])))
        _mark_best(scores, (loss, calibration, rate), best, "best" if kept is None else "of the study")
    for axis in (loss, scores, calibration, rate):
        legend(axis)
    return figure


def _mark_best(scores: Any, others: Sequence[Any], best: Record, why: str) -> None:
    """A line at the step whose weights the run keeps, with its score."""
    for axis in (scores, *others):
        axis.axvline(best["step"], color="0.35", ls=":", lw=1.5)
    star = {"marker": "*", "markersize": 13, "color": COLOURS[0], "ls": "none"}
    scores.plot([best["step"]], [best["macro_f1"]], label=f"{why}: {WEIGHTS[best['weights']][0]}", **star)
    scores.set_title(f"Validation: {'best ' * (why == 'best')}macro-F1 {best['macro_f1']:.4f} at step {best['step']}")


def write_consistency(path: Path, records: Sequence[Record], classes: Mapping[str, Sequence[str]]) -> None:
    save_figure(path, draw_consistency(records, classes))


def draw_consistency(records: Sequence[Record], classes: Mapping[str, Sequence[str]]) -> Any:
    """How the unlabeled images were used, a column per head: share selected, confidences, and which classes.

    Args:
        records: the lines of `metrics.jsonl`.
        classes: names of the classes of each head (or `joint`) that targets were made for.
    """
    train = [r for r in records if r["kind"] == "train" and any(k.startswith("mask_rate/") for k in r["stats"])]
    val = [r for r in records if r["kind"] == "val" and "pseudo_share" in r]
    bars = max(2.4, 0.17 * max(min(len(c), 30) for c in classes.values()) + 1)
    size = (max(5.2 * len(classes), 6.5), 6.4 + bars)
    figure, axes = new_figure(3, len(classes), size, height_ratios=[3.4, 3, bars])
    figure.suptitle("How the unlabeled images were used", fontsize=12)
    for i, (name, names) in enumerate(classes.items()):
        _draw_targets(axes[0, i], name, train, val)
        _draw_confidences(axes[1, i], name, train)
        _draw_class_shares(axes[2, i], name, names, train)
    return figure


def _draw_targets(axis: Any, name: str, train: Sequence[Record], val: Sequence[Record]) -> None:
    """Share of the pool with a target by step; on validation the same, and how many of those targets are correct."""
    steps, checks = [r["step"] for r in train], [r["step"] for r in val]
    curve(axis, steps, [r["stats"][f"mask_rate/{name}"] for r in train], color=COLOURS[0], label="selected, unlabeled")
    for kind, label, colour in (("share", "selected, validation", 5), ("precision", "precision of these", 1)):
        curve(axis, checks, [r[f"pseudo_{kind}"][name] for r in val], color=COLOURS[colour], ls="--", label=label)
    for key, label, colour in (
        ("kept", "unlabeled with a strong view", 2),
        (f"tsa_kept/{name}", "labeled kept by TSA", 3),
    ):
        curve(axis, steps, [r["stats"].get(key) for r in train], color=COLOURS[colour], ls=":", label=label)
    axis.set(title=f"{name}: share selected, and its precision", xlabel="step", ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    _step_range(axis, train, val)
    legend(axis)


def _draw_confidences(axis: Any, name: str, train: Sequence[Record]) -> None:
    """The histogram of the weak views' confidences as an image over the steps; darker is more images."""
    axis.set(title=f"{name}: confidence (darker: more images)", xlabel="step", ylabel="confidence")
    if train:
        steps = [r["step"] for r in train]
        histogram = np.asarray([r["stats"][f"histogram/{name}"] for r in train]).T
        half = (steps[-1] - steps[0]) / max(2 * (len(steps) - 1), 1) or 0.5
        extent = (steps[0] - half, steps[-1] + half, 0, 1)
        axis.imshow(histogram, origin="lower", aspect="auto", extent=extent, cmap="Greys", interpolation="nearest")
        _step_range(axis, train, [])


def _draw_class_shares(axis: Any, name: str, names: Sequence[str], train: Sequence[Record]) -> None:
    """Over the last third of training, the share of the pool predicted as each class, and selected."""
    axis.set(title=f"{name}: classes, last third of training", xlabel="share of the unlabeled images")
    if not train:
        return
    late = train[-max(1, len(train) // 3) :]
    predicted, selected = (
        np.mean([r["stats"][f"{k}/{name}"] for r in late], axis=0) for k in ("predicted", "selected")
    )
    places = np.arange(len(names))
    axis.barh(places, predicted, height=0.8, color="0.82", label="predicted")
    axis.barh(places, selected, height=0.5, color=COLOURS[0], label="selected")
    ticks = name_ticks(len(names))
    axis.set_yticks(ticks, [short(names[t]) for t in ticks], fontsize=SMALL)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlim(0, 1.35 * max(float(predicted.max()), 1e-9))  # room for the legend
    legend(axis, loc="lower right")


def _step_range(axis: Any, train: Sequence[Record], val: Sequence[Record]) -> None:
    steps = [r["step"] for r in (*train, *val)]
    whole_ticks(axis, min(steps, default=0), max(steps, default=1))


if __name__ == "__main__":
    from tempfile import mkdtemp

    from ssl_mask.reports import samples

    folder = Path(mkdtemp(prefix="sslmask-plots-"))
    write_curves(folder / "curves.svg", samples.metrics())
    write_consistency(folder / "consistency.svg", samples.metrics(), samples.head_classes())
    print(folder)
