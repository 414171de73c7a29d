"""Groups that are worth labeling, as one PNG: a row a group, the most wanted first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ssl_mask.data.images import decode, fit
from ssl_mask.reports.contact_sheet import Cell, Layout, grid, save
from ssl_mask.text import shown

SIDE, LINES = 130, 3
MOST_GROUPS, MOST_IMAGES = 100, 7
"""Of a sheet, and of a row."""
SINGLES = 7
"""Groups side by side where each has one image."""


class WantedGroup(NamedTuple):
    """A group that is worth labeling."""

    caption: tuple[str, str]
    """Rank and name; why, of which each clause has a line."""
    files: Sequence[Path]


def acquire_sheet(groups: Sequence[WantedGroup], out: Path, *, title: str, max_pixels: int) -> Path:
    """Draw the first groups, of each the first images.

    Raises:
        ImageError: an image that cannot be read. StorageError: the file cannot be written.
    """
    drawn = groups[:MOST_GROUPS]
    widest = min(MOST_IMAGES, max(len(group.files) for group in drawn))
    cells = [
        Cell(
            [fit(decode(file, max_pixels=max_pixels), SIDE, "pad") for file in group.files[:MOST_IMAGES]],
            [shown(group.caption[0]), *shown(group.caption[1]).split(", ", LINES - 2)],
        )
        for group in drawn
    ]
    columns = 1 if widest > 1 else min(SINGLES, len(cells))
    return save([grid(shown(title), cells, Layout(SIDE, pictures=widest, lines=LINES, columns=columns))], out)
