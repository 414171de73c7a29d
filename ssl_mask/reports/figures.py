"""What all plots share: light figures without a window system, one set of colours, axes of whole steps, SVG on disk."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_mask.files import atomic_path
from ssl_mask.text import shown, shown_lines

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can tell apart; yellow is left out, as it is faint on white."""
SMALL = 8
"""Points of the smallest text."""
MANY_CLASSES = 30
"""With more classes than this a plot has no numbers in its cells and names only some of the classes."""
POINTS_SHOWN = 30
"""A curve of more points than this has no markers."""
CURVE_POINTS = 250
"""Longer curves are drawn as means over equal stretches, which keeps the files small."""


def new_figure(rows: int, columns: int, size: tuple[float, float], **grid: Any) -> tuple[Any, Any]:
    """A figure of `size` inches and its (rows, columns) array of axes; `grid` as in `Figure.subplots`."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **grid)
    for axis in axes.flat:
        axis.tick_params(labelsize=SMALL)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save_figure(path: Path, figure: Any) -> None:
    """Write a figure in the format of the path's suffix. The same figure gives the same SVG bytes.

    An SVG keeps its text as text: the viewer's fonts show class names of any script, and the file is a third as large.
    A class name is text whatever it holds: `$` begins no formula, and what XML or a reader cannot take is replaced.
    """
    import matplotlib
    from matplotlib.text import Text

    options = {"svg.hashsalt": "sslmask", "svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans", "Arial"],
               "text.parse_math": False}  # fmt: skip
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(shown_lines(text.get_text()))
    with atomic_path(path) as partial, matplotlib.rc_context(options), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(partial, format=path.suffix[1:], metadata={"Date": None} if path.suffix == ".svg" else None)


def whole_ticks(axis: Any, low: float, high: float) -> None:
    """Let the x axis run from `low` to `high` (steps, rounds) with ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    margin = max((high - low) * 0.03, 0.4 if high - low < 4 else 0.0)
    axis.set_xlim(low - margin, high + margin)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def from_zero(axis: Any) -> None:
    """Let the y axis begin at 0, or below where a value is negative."""
    if axis.dataLim.ymin >= 0:
        axis.set_ylim(bottom=0)


def curve(axis: Any, steps: Sequence[float], values: Sequence[float | None], **style: Any) -> None:
    """A line through points, shown themselves when they are few; a gap where a value is None, nothing if all are."""
    if all(v is None for v in values):
        return
    x = np.asarray(steps, dtype=np.float64)
    y = np.asarray([np.nan if v is None else v for v in values], dtype=np.float64)
    if len(x) > CURVE_POINTS:
        stretches = np.array_split(np.arange(len(x)), CURVE_POINTS)
        x, y = (np.asarray([each[s].mean() for s in stretches]) for each in (x, y))
    points = {"marker": "o", "markersize": 4, "markerfacecolor": "white" if style.get("ls") == "--" else None}
    axis.plot(x, y, **(points if len(steps) <= POINTS_SHOWN else {}), **style)


def legend(axis: Any, **where: Any) -> None:
    """A legend where there is something to explain."""
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize=SMALL, framealpha=0.8, **where)


def short(name: str, limit: int = 24) -> str:
    """A class name that fits beside an axis; a longer one loses its middle."""
    name = shown(name)
    return name if len(name) <= limit else f"{name[: limit // 2]}…{name[-(limit // 2 - 1) :]}"


def name_ticks(count: int) -> list[int]:
    """Positions of the classes that an axis names: all, or every n-th where they are too many to be read."""
    return list(range(0, count, -(-count // MANY_CLASSES)))
