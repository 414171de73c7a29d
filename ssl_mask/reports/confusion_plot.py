"""The confusion matrix of a run's validation predictions: joint classes, and one matrix per factor.

`python -m ssl_mask.reports.confusion_plot` draws one from made-up predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.predictions import read_validation
from ssl_mask.data.schema import LabelSchema
from ssl_mask.evaluation.metrics import confusion
from ssl_mask.reports.figures import COLOURS, MANY_CLASSES, SMALL, name_ticks, new_figure, save_figure, short

FEW = 6
"""Below this many images a share says little: the row gets no colour."""
WITH_SHARES = 10
"""Up to this many classes a cell has room for its share beside its count."""
PAIRS = 15
"""How many pairs of classes the list of confusions names."""


def write_confusion(
    path: Path, validation: Path, schema: LabelSchema, *, images: str = "validation images"
) -> None:  # fmt: skip
    """Draw the predictions of `validation.parquet` or `oof.parquet`.

    Args:
        images: what its images are called.

    Raises:
        DataError: the file is missing, damaged, or of other classes.
    """
    table = read_validation(validation, schema)
    known = (table.true >= 0) & (table.predicted >= 0)
    save_figure(path, draw_confusion(table.true[known], table.predicted[known], schema, images=images))


def draw_confusion(
    true: NDArray[np.int64], predicted: NDArray[np.int64], schema: LabelSchema, *, images: str = "validation images"
) -> Any:
    """One matrix of the joint classes and, where there are several factors, one of each.

    Args:
        true: (n,) joint classes.
        predicted: (n,) joint classes.
    """
    names = schema.joint_classes
    counts = confusion(true, predicted, len(names))
    several = len(schema.factors) > 1
    side = float(np.clip(0.4 * len(names) + 2.4, 4.5, 11.0))
    if not several and len(names) <= MANY_CLASSES:
        figure, axes = new_figure(1, 1, (side + 1, side))
        main = axes[0, 0]
    else:
        rows = len(schema.factors) if several else 1
        size = (side + 5.6, max(side, 3.4 * rows if several else 0))
        figure, axes = new_figure(rows, 2, size, width_ratios=[side, 4.6])
        main = _merged(figure, axes)
    shown = _draw_matrix(main, counts, names, blocks=[f.classes for f in schema.factors])
    main.set_title(f"{'All factors together' if several else schema.factors[0].name}: {len(true)} {images}")
    if several:
        parts = schema.part(true), schema.part(predicted)
        for i, factor in enumerate(schema.factors):
            own = confusion(parts[0][:, i], parts[1][:, i], len(factor.classes))
            _draw_matrix(axes[i, 1], own, factor.classes, blocks=[])
            axes[i, 1].set_title(factor.name)
    elif len(names) > MANY_CLASSES:
        _draw_worst_pairs(axes[0, 1], counts, names)
    hatched = f"Hatched: fewer than {FEW} images, too few for a share."
    figure.suptitle(f"Each row is a true class; colour: share of its images.\n{hatched}", fontsize=10)
    figure.colorbar(shown, ax=main, label="share of the row", shrink=0.6, aspect=40).ax.tick_params(labelsize=SMALL)
    return figure


def _merged(figure: Any, axes: Any) -> Any:
    """One axis in place of the whole first column."""
    grid = axes[0, 0].get_gridspec()
    for axis in axes[:, 0]:
        axis.remove()
    main = figure.add_subplot(grid[:, 0])
    main.tick_params(labelsize=SMALL)
    return main


def _draw_matrix(axis: Any, counts: NDArray[Any], names: Sequence[str], *, blocks: Sequence[Sequence[str]]) -> Any:
    """Counts as numbers and row shares as colour; rows of few images are hatched. Returns the image, for its colours.

    Args:
        counts: (classes, classes); rows are true classes.
        blocks: the factors whose product the classes are; lines are drawn between their blocks.
    """
    support = counts.sum(axis=1)
    shares = counts / np.maximum(support[:, None], 1)
    enough = support >= FEW
    coloured = np.where(enough[:, None], shares, 0.0)
    image = axis.imshow(coloured, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for row in np.flatnonzero(~enough):
        axis.axhspan(row - 0.5, row + 0.5, facecolor="0.95", edgecolor="0.82", hatch="////", lw=0)
    ticks = name_ticks(len(names))
    axis.set_xticks(ticks, [short(names[t]) for t in ticks], rotation=90, fontsize=SMALL)
    axis.set_yticks(ticks, [f"{short(names[t])}  ({support[t]})" for t in ticks], fontsize=SMALL)
    axis.set(xlabel="predicted", ylabel="true (number of images)")
    if len(names) <= MANY_CLASSES:
        _write_numbers(axis, counts, shares, enough)
    _separate_blocks(axis, [len(b) for b in blocks])
    return image


def _write_numbers(axis: Any, counts: NDArray[Any], shares: NDArray[Any], enough: NDArray[np.bool_]) -> None:
    for row, column in zip(*np.nonzero(counts), strict=True):
        text = str(counts[row, column])
        if enough[row] and len(counts) <= WITH_SHARES:
            text += f"\n{shares[row, column]:.0%}"
        colour = "0.35" if not enough[row] else "white" if shares[row, column] > 0.55 else "black"
        axis.text(column, row, text, ha="center", va="center", fontsize=SMALL, color=colour)


def _separate_blocks(axis: Any, sizes: Sequence[int]) -> None:
    """Lines between the classes of the first factor, thinner ones between those of the next; none for the last."""
    total = int(np.prod(sizes)) if sizes else 0
    above, block = total, total
    for depth, size in enumerate(sizes[:-1]):
        above, block = block, block // size
        for place in (p for p in range(block, total, block) if depth == 0 or p % above):
            for line in (axis.axhline, axis.axvline):
                line(place - 0.5, color="0.25" if depth == 0 else "0.6", lw=1.4 if depth == 0 else 0.7)


def _draw_worst_pairs(axis: Any, counts: NDArray[Any], names: Sequence[str]) -> None:
    """The most frequent confusions as bars: what a matrix of many classes cannot show in numbers."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = [int(i) for i in np.argsort(-wrong, axis=None, kind="stable")[:PAIRS] if wrong.flat[i]]
    pairs = [divmod(i, len(names)) for i in order]
    axis.barh(range(len(pairs)), [wrong[p] for p in pairs], color=COLOURS[1], height=0.7)
    axis.set_yticks(range(len(pairs)), [f"{short(names[t], 16)} → {short(names[p], 16)}" for t, p in pairs])
    for place, pair in enumerate(pairs):
        axis.text(wrong[pair], place, f" {wrong[pair]} of {counts[pair[0]].sum()}", va="center", fontsize=SMALL)
    axis.set_ylim(max(len(pairs), 1) - 0.5, -0.5)
    axis.set_xlim(right=1.4 * max((int(wrong[p]) for p in pairs), default=1))
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(title="Most frequent confusions\n(true → predicted)", xlabel="images")


if __name__ == "__main__":
    from tempfile import mkdtemp

    from ssl_mask.reports import samples

    folder = Path(mkdtemp(prefix="sslmask-plots-"))
    save_figure(folder / "confusion.svg", draw_confusion(*samples.joint_predictions(), samples.SCHEMA))
    print(folder)
