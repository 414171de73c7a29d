"""What images are like: brightness, sharpness, size, aspect ratio; those far from all others; how pools differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.depth import FULL
from ssl_mask.data.images import MAX_PIXELS, decode
from ssl_mask.errors import ImageError
from ssl_mask.reports.html.charts import Chart, Line, axis
from ssl_mask.reports.html.conditions import MEASURES as BASE
from ssl_mask.reports.html.conditions import Measure, measured
from ssl_mask.reports.html.explore.images import Images

MEASURES = (*BASE, Measure("aspect", "Aspect ratio", "width divided by height"))
ENDS = {
    "brightness": ("much darker", "much brighter"), "sharpness": ("much more blurred", "much sharper"),
    "size": ("much smaller", "much larger"), "aspect": ("much narrower", "much wider"),
}  # fmt: skip
RATIOS = {"size", "aspect"}
"""Twice as much is as far as half as much."""
FAR = 3.5
"""Of the modified z-score (Iglewicz and Hoaglin, 1993): 0.6745 times the distance from the median over the median
distance from it."""
SCALE = 0.6745
FEW = 0.05
"""Where most values are equal, the others are unusual if they are at most this share."""
EQUAL = 1e-9
BINS = 20


class Unusual(NamedTuple):
    """Images far from all others in one way."""

    measure: Measure
    words: str
    """Such as `much darker`."""
    rows: tuple[int, ...]
    """Positions in the values, the farthest first."""


def scan(
    files: Sequence[Path], on_progress: Callable[[int, int], None], *, threads: int = 1, max_pixels: int = MAX_PIXELS,
    depth: int = FULL,
) -> NDArray[np.float64]:  # fmt: skip
    """(n, 4) what each image is like, in the order of `MEASURES`; NaN where it cannot be read now.

    Args:
        on_progress: called with (done, total).
    """

    def look(file: Path) -> tuple[float, ...] | None:
        try:
            pixels = decode(file, max_pixels=max_pixels, depth=depth)
        except ImageError:
            return None
        return *measured(pixels), pixels.shape[1] / pixels.shape[0]

    found = np.full((len(files), len(MEASURES)), np.nan)
    with ThreadPoolExecutor(threads) as pool:
        for row, values in enumerate(pool.map(look, files)):
            if values is not None:
                found[row] = values
            on_progress(row + 1, len(files))
    return found


def unusual(values: NDArray[np.float64]) -> list[Unusual]:
    """Both ends of each measure, those without an image left out.

    Args:
        values: (n, 4) as `scan` finds them.
    """
    found = []
    for i, what in enumerate(MEASURES):
        own = np.log(values[:, i]) if what.key in RATIOS else values[:, i]
        far = distances(own)
        for sign, words in zip((-1, 1), ENDS[what.key], strict=True):
            if (what.key, sign) == ("sharpness", 1):
                continue  # nobody needs to look at images that are sharp
            rows = np.flatnonzero(sign * far > FAR)
            if len(rows):
                order = rows[np.argsort(-sign * far[rows], kind="stable")]
                found.append(Unusual(what, words, tuple(map(int, order))))
    return found


def distances(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) modified z-scores; 0 for what is not known."""
    known = ~np.isnan(values)
    if not known.any():
        return np.zeros(len(values))
    away = np.where(known, values - np.median(values[known]), 0.0)
    middle = float(np.median(np.abs(away[known])))
    if middle > EQUAL:
        return SCALE * away / middle
    other = np.abs(away) > EQUAL
    return np.where(other & (other.sum() <= FEW * known.sum()), FAR * away / EQUAL, 0.0)


def histograms(images: Images, rows: NDArray[np.int64], values: NDArray[np.float64]) -> list[Chart]:
    """How often each value is, as a share of each pool: where the lines differ, the pools do."""
    found = []
    for i, what in enumerate(MEASURES):
        own = values[:, i]
        known = own[~np.isnan(own)]
        if not len(known):
            continue
        low, high = np.quantile(known, [0.005, 0.995])
        if high <= low:
            continue
        edges = np.linspace(low, high, BINS + 1)
        middles = (edges[1:] + edges[:-1]) / 2
        lines = []
        for k, name in enumerate(images.pools):
            inside = np.clip(own[(images.pool[rows] == k) & ~np.isnan(own)], low, high)
            if len(inside):
                share = np.histogram(inside, edges)[0] / len(inside)
                points = list(zip(middles.tolist(), share.tolist(), strict=True))
                lines.append(Line(name, points, f"c{k % 6}", dots=False))
        top = max(y for line in lines for _, y in line.points)
        median = {
            k: f"{np.median(own[(images.pool[rows] == k) & ~np.isnan(own)]):.2f}" for k in _there(images, rows, own)
        }
        says = f"{what.title}: " + ", ".join(f"median of {images.pools[k]} {m}" for k, m in median.items())
        found.append(Chart(what.title, says, axis(float(low), float(high), what.unit), axis(0.0, top, "share"), lines))
    return found


def _there(images: Images, rows: NDArray[np.int64], values: NDArray[np.float64]) -> list[int]:
    """Numbers of the pools that have a value."""
    return [int(k) for k in np.unique(images.pool[rows][~np.isnan(values)])]
