"""Plots of a run as SVG: curves over the steps, and the confusion matrix of the best weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ssl_mask.data.predictions import read_predictions
from ssl_mask.data.schema import LabelSchema
from ssl_mask.evaluation.metrics import confusion
from ssl_mask.files import atomic_path


@contextmanager
def figure(path: Path, rows: int, columns: int, size: tuple[float, float]) -> Iterator[Any]:
    """Axes to draw on (rows x columns array); written to `path` at the end. No window system is needed."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    drawing = Figure(figsize=size, layout="constrained")
    FigureCanvasSVG(drawing)
    yield drawing.subplots(rows, columns, squeeze=False)
    with atomic_path(path) as partial:
        drawing.savefig(partial, format=path.suffix[1:], metadata={"Date": None} if path.suffix == ".svg" else None)


def write_curves(path: Path, records: list[dict[str, Any]]) -> None:
    """Loss terms, validation scores of live and averaged weights, calibration error and learning rate by step."""
    train = [r for r in records if r["kind"] == "train"]
    val = [r for r in records if r["kind"] == "val"]
    with figure(path, 2, 2, (11, 7)) as axes:
        for name in train[0]["terms"] if train else ():
            axes[0, 0].plot([r["step"] for r in train], [r["terms"][name] for r in train], label=name)
        axes[0, 0].set(title="Training loss, a term a head", xlabel="step")
        for weights, style in (("live", "-"), ("ema", "--")):
            own = [r for r in val if r["weights"] == weights]
            if own:
                steps = [r["step"] for r in own]
                axes[0, 1].plot(steps, [r["macro_f1"] for r in own], f"C0{style}", label=f"macro-F1, {weights}")
                axes[0, 1].plot(steps, [r["accuracy"] for r in own], f"C1{style}", label=f"accuracy, {weights}")
                axes[1, 0].plot(steps, [r["ece"] for r in own], f"C2{style}", label=f"calibrated, {weights}")
                axes[1, 0].plot(steps, [r["ece_raw"] for r in own], f"C3{style}", label=f"raw, {weights}")
        axes[0, 1].set(title="Validation", xlabel="step", ylim=(0, 1))
        axes[1, 0].set(title="Expected calibration error (validation)", xlabel="step")
        axes[1, 1].plot([r["step"] for r in train], [r["lr"] for r in train], label="peak group")
        axes[1, 1].set(title="Learning rate", xlabel="step")
        for axis in axes.flat:
            axis.grid(alpha=0.3)
            if axis.get_legend_handles_labels()[1]:
                axis.legend(fontsize=8)


def write_consistency(path: Path, records: list[dict[str, Any]], classes: Mapping[str, Sequence[str]]) -> None:
    """What the unlabeled images were good for, by step: share believed, how right that is, in which classes.

    Args:
        classes: names of the classes of each head (or `joint`) that targets were chosen from.
    """
    train = [r for r in records if r["kind"] == "train" and any(k.startswith("mask_rate/") for k in r["stats"])]
    val = [r for r in records if r["kind"] == "val" and "pseudo_share" in r]
    steps = [r["step"] for r in train]
    with figure(path, 2, 1 + len(classes), (4.2 * (1 + len(classes)), 7.5)) as axes:
        for i, name in enumerate(classes):
            axes[0, 0].plot(steps, [r["stats"][f"mask_rate/{name}"] for r in train], f"C{i}", label=f"{name}, pool")
            for kind, style in (("share", ":"), ("precision", "--")):
                seen = [r[f"pseudo_{kind}"][name] for r in val]
                axes[0, 0].plot([r["step"] for r in val], seen, f"C{i}{style}", label=f"{name}, validation {kind}")
        axes[0, 0].set(title="Share believed, and how right (validation)", xlabel="step", ylim=(0, 1.02))
        for name in sorted({k for r in train for k in r["stats"] if k == "kept" or k.startswith("tsa_kept/")}):
            axes[1, 0].plot(steps, [r["stats"].get(name) for r in train], label=name)
        axes[1, 0].set(title="Images with a strong view; labeled kept by TSA", xlabel="step", ylim=(0, 1.02))
        for i, (name, names) in enumerate(classes.items(), start=1):
            _write_shares(axes[0, i], axes[1, i], name, names, train)
        for axis in axes.flat:
            if axis.get_legend_handles_labels()[1]:
                axis.legend(fontsize=7)


def _write_shares(above: Any, below: Any, name: str, names: Sequence[str], train: list[dict[str, Any]]) -> None:
    """Confidences as an image over the steps; below, the last third's predicted and believed share of each class."""
    if not train:
        return
    steps = [r["step"] for r in train]
    histogram = np.asarray([r["stats"][f"histogram/{name}"] for r in train]).T
    above.imshow(histogram, origin="lower", aspect="auto", extent=(steps[0], steps[-1] + 1, 0, 1), cmap="Greys")
    above.set(title=f"{name}: confidence of weak views", xlabel="step", ylabel="confidence")
    late = train[-max(1, len(train) // 3) :]
    shares = [np.mean([r["stats"][f"{kind}/{name}"] for r in late], axis=0) for kind in ("predicted", "selected")]
    places = np.arange(len(names))
    for share, offset, label in zip(shares, (0.2, -0.2), ("predicted", "believed"), strict=True):
        below.barh(places + offset, share, height=0.38, label=label)
    below.set_yticks(places, names, fontsize=8)
    below.invert_yaxis()
    below.set(title=f"{name}: shares of the pool, last third", xlabel="share")


def write_confusion(path: Path, validation: Path, schema: LabelSchema) -> None:
    """Rows are true classes (shares of each row in colour, counts in the cells), columns predicted."""
    table = read_predictions(validation, schema)
    known = table.true >= 0
    names = schema.joint_classes
    counts = confusion(table.true[known], table.predicted[known], len(names))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, 0.42 * len(names) + 2)
    with figure(path, 1, 1, (side + 0.6, side)) as axes:
        axis = axes[0, 0]
        shown = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axis.set_yticks(
            range(len(names)), [f"{n}  ({c})" for n, c in zip(names, counts.sum(axis=1), strict=True)], fontsize=8
        )
        axis.set(xlabel="predicted", ylabel="true (images)", title="Validation, best weights")
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.55 else "black"
            axis.text(column, row, counts[row, column], ha="center", va="center", fontsize=7, color=colour)
        axis.figure.colorbar(shown, ax=axis, label="share of the true class", shrink=0.8)
