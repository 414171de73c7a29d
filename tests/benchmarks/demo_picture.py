"""Draws the picture of the README from what `sslmask demo` and `sslmask audit` leave: drawn images only, no person.

    python tests/benchmarks/demo_picture.py [--demo sslmask-demo] [--out data_cards/demo.png]

Where the folder holds no finished demo, it is made first (3 minutes on 2 cores). Three panels:

- predictions for evaluation images, drawn by the seed of the demo, with their confidence
- a confusion matrix per factor over all evaluation images
- altered copies of evaluation images that the guard found in extra/, one per alteration
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

import ssl_mask
from ssl_mask.data.images import decode, fit
from ssl_mask.data.layouts.mask18 import SCHEMA
from ssl_mask.data.predictions import PredictionTable, read_predictions
from ssl_mask.evaluation.metrics import confusion

RIGHT, WRONG, GREY = "#009E73", "#D55E00", "0.35"
SIDE, COLUMNS, PREDICTIONS, PAIRS = 96, 4, 12, 6
SEED = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("sslmask-demo"))
    parser.add_argument("--out", type=Path, default=Path("data_cards/demo.png"))
    options = parser.parse_args()
    evaluation, report = make_demo(options.demo)
    table = read_predictions(evaluation.with_name("probabilities.parquet"), SCHEMA)
    true = read_answers(options.demo / "eval_answers.csv", table)

    figure = Figure(figsize=(12.8, 5.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(1, 3, width_ratios=[4.4, 2.4, 3.4], wspace=0.03)
    predictions, matrices, pairs = parts
    draw_predictions(predictions, options.demo, table, true)
    draw_matrices(matrices, table, true, json.loads(evaluation.read_text())["macro_f1"])
    draw_pairs(pairs, options.demo, json.loads(report.read_text())["findings"]["pairs"])
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])  # type: ignore[attr-defined]
    picture.quantize(192, dither=Image.Dither.NONE).save(options.out, optimize=True)
    print(f"{options.out}: {options.out.stat().st_size / 1024:.0f} kB")


def make_demo(folder: Path) -> tuple[Path, Path]:
    """The paths of its evaluation.json and audit.json; made where they are missing."""
    evaluations = sorted(folder.glob("runs/*/predictions/test/evaluation.json"))
    if not evaluations:
        ssl_mask.demo(folder)
        evaluations = sorted(folder.glob("runs/*/predictions/test/evaluation.json"))
    report = folder / "data_cards/audit.json"
    if not report.is_file():
        config = ssl_mask.load_config({"data": {"root": str(folder), "layout": "mask18"}})
        ssl_mask.audit(config, {"unlabeled": [str(folder / "extra")]}, out=report.parent)
    return evaluations[-1], report


def read_answers(path: Path, table: PredictionTable) -> NDArray[np.int64]:
    """(n,) true joint classes of the predicted images."""
    with path.open() as lines:
        answers = {row["ImageID"]: int(row["ans"]) for row in csv.DictReader(lines)}
    return np.asarray([answers[name] for name in table.id.tolist()])


def draw_predictions(part: Any, demo: Path, table: PredictionTable, true: NDArray[np.int64]) -> None:
    part.suptitle("1  Predictions with a confidence", fontsize=14, fontweight="bold", x=0.02, ha="left")
    axes = part.subplots(PREDICTIONS // COLUMNS, COLUMNS)
    shown = np.random.default_rng(SEED).choice(len(table), PREDICTIONS, replace=False)
    for axis, i in zip(axes.flat, shown, strict=True):
        show(axis, demo / table.path[i])
        guess, truth = (SCHEMA.joint_classes[c[i]].split("/") for c in (table.predicted, true))
        differs = " ".join(t for g, t in zip(guess, truth, strict=True) if g != t)
        title = f"{' · '.join(guess)}\n{table.probs[i].max():.0%} sure" + (f", but {differs}" if differs else "")
        axis.set_title(title, fontsize=7.2, color=WRONG if differs else RIGHT)
    part.supxlabel(
        "Drawn test images: mask, gender (badge) and age (stripes).\nOrange: wrong, and what it is.",
        fontsize=10,
        color=GREY,
    )


def draw_matrices(part: Any, table: PredictionTable, true: NDArray[np.int64], score: dict[str, float]) -> None:
    part.suptitle("2  What is confused", fontsize=14, fontweight="bold", x=0.02, ha="left")
    axes = part.subplots(len(SCHEMA.factors), 1)
    labels, predicted = SCHEMA.part(true), SCHEMA.part(table.predicted)
    for i, (axis, factor) in enumerate(zip(axes, SCHEMA.factors, strict=True)):
        counts = confusion(labels[:, i], predicted[:, i], len(factor.classes))
        axis.imshow(counts / counts.sum(axis=1, keepdims=True), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        names, ticks = factor.classes, range(len(factor.classes))
        axis.set_xticks(ticks, names, fontsize=8)
        axis.set_yticks(ticks, names, fontsize=8)
        axis.set_title(f"{factor.name}: {np.trace(counts) / counts.sum():.0%} right", fontsize=10)
        for row, column in np.ndindex(counts.shape):
            is_dark = counts[row, column] > 0.55 * counts[row].sum()
            axis.text(column, row, counts[row, column], ha="center", va="center", fontsize=9,
                      color="white" if is_dark else "black")  # fmt: skip
    interval = f"{score['low']:.2f} to {score['high']:.2f}"
    text = f"rows: true, columns: predicted\nmacro-F1 {score['value']:.2f} (95 %: {interval})"
    part.supxlabel(text, fontsize=10, color=GREY)


def draw_pairs(part: Any, demo: Path, pairs: Sequence[dict[str, Any]]) -> None:
    part.suptitle("3  Leaks that the guard found", fontsize=14, fontweight="bold", x=0.02, ha="left")
    truth = json.loads((demo / "truth.json").read_text())
    alterations = {f"extra/{leak['extra']}": leak["alteration"] for leak in truth["leaked_extra"]}
    copies = [p for p in pairs if p["second"] in alterations]
    axes = part.subplots(PAIRS // 2, 4)
    for axis in axes.flat:
        axis.axis("off")
    for (left, right), pair in zip(axes.reshape(-1, 2), one_per_kind(copies, alterations), strict=False):
        show(left, demo / pair["first"])
        show(right, demo / pair["second"])
        left.set_title("test image", fontsize=8, color=GREY)
        right.set_title(f"copy: {alterations[pair['second']]}", fontsize=8, color=WRONG)
    found = f"Found {len(copies)} of {len(alterations)} altered copies of test images"
    text = f"{found} among the\nunlabeled images; training on them is refused."
    part.supxlabel(text, fontsize=10, color=GREY)


def one_per_kind(copies: Sequence[dict[str, Any]], alterations: Mapping[str, str]) -> list[dict[str, Any]]:
    """First one pair per alteration, then the others."""
    first = {alterations[p["second"]]: p for p in reversed(copies)}
    return [*first.values(), *(p for p in copies if p not in first.values())]


def show(axis: Any, path: Path) -> None:
    axis.imshow(fit(decode(path, max_pixels=10**7), SIDE, "pad"))
    axis.set(xticks=[], yticks=[])
    axis.axis("off")


if __name__ == "__main__":
    main()
