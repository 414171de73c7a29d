"""A picture of what the guard found: each pair of images side by side, so that a person can decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.depth import FULL
from ssl_mask.data.images import MAX_PIXELS, decode, fit
from ssl_mask.errors import ImageError
from ssl_mask.guard.findings import KINDS, Pair
from ssl_mask.reports.contact_sheet import Cell, Layout, cut_front, grid, save
from ssl_mask.text import shown

SHEET = Layout(side=160, pictures=2, lines=3, columns=3)


def strongest(pairs: Sequence[Pair], most: int) -> list[Pair]:
    """The surest kinds first, then the highest scores."""
    return sorted(pairs, key=lambda p: (KINDS.index(p.kind), -p.score, p))[:most]


def pair_sheet(
    pairs: Sequence[Pair], roots: Mapping[str, Path], out: Path, *, most: int = 40, max_pixels: int = MAX_PIXELS,
    depth: int = FULL,
) -> Path:  # fmt: skip
    """Write a PNG of the strongest pairs; its title says how many are left out.

    Args:
        roots: pool -> the folder that its paths are relative to.
        most: pairs to show.

    Raises:
        StorageError: it cannot be written.
    """
    chosen = strongest(pairs, most)
    left_out = len(pairs) - len(chosen)
    title = f"{len(chosen)} of {len(pairs)} pairs, the surest first" + (f"; {left_out} left out" if left_out else "")
    cells = [
        Cell([_picture(roots[pool] / path, max_pixels, depth) for pool, path in _sides(pair)], _caption(pair))
        for pair in chosen
    ]
    return save([grid(title, cells, SHEET)], out)


def _sides(pair: Pair) -> tuple[tuple[str, str], tuple[str, str]]:
    return (pair.first_pool, pair.first), (pair.second_pool, pair.second)


def _caption(pair: Pair) -> tuple[str, str, str]:
    what = f"group {pair.group}, {pair.images} images" if pair.kind == "group" else f"{pair.kind} {pair.score:.3f}"
    first, second = pair.first_pool, pair.second_pool
    if pair.is_conflict:
        first, second = f"{first}, {pair.first_label}", f"{second}, {pair.second_label}"
    width = SHEET.cell_width
    return (
        shown(what),
        cut_front(f"{first}: ", shown(pair.first), width),
        cut_front(f"{second}: ", shown(pair.second), width),
    )


def _picture(path: Path, max_pixels: int, depth: int) -> NDArray[np.uint8]:
    """The image in a square, or grey when it is gone by now."""
    try:
        return fit(decode(path, max_pixels=max_pixels, depth=depth), SHEET.side, "pad")
    except ImageError:
        return np.full((SHEET.side, SHEET.side, 3), 128, np.uint8)
