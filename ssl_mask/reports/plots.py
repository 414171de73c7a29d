"""Plots of a run as SVG: curves over the steps, and the confusion matrix of the best weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ssl_mask.data.schema import LabelSchema
from ssl_mask.files import atomic_path
from ssl_mask.metrics import confusion
from ssl_mask.reports.tables import read_probabilities


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


def write_confusion(path: Path, validation: Path, schema: LabelSchema) -> None:
    """Rows are true classes (shares of each row in colour, counts in the cells), columns predicted."""
    frame = read_probabilities(validation, schema)
    known = frame[frame["true"] >= 0]
    names = schema.joint_classes
    counts = confusion(known["true"].to_numpy(), known["predicted"].to_numpy(), len(names))
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
