"""A grid of pictures with captions, as one PNG: the look of every contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ssl_mask.files import atomic_path

Pixels = NDArray[np.uint8]

MARGIN, GAP, CELL_GAP, LINE = 12, 4, 20, 18
"""Pixels around a sheet, between the pictures of a cell, between cells, and per line of text."""

TITLE_LINE = 2 * LINE
INK, PALE_INK, FRAME = "#1b1b1b", "#5f6368", "#d0d4d9"
TITLE_FONT, FONT = ImageFont.load_default(17), ImageFont.load_default(13)


class Cell(NamedTuple):
    """Pictures side by side, below lines of text that say what they are."""

    pictures: Sequence[Pixels]
    """Each (side, side, 3) RGB."""
    caption: Sequence[str] = ()
    """The first line is printed darker. A line that is too long ends with `…`."""


class Layout(NamedTuple):
    """Where things are on a sheet, in pixels."""

    side: int
    pictures: int
    """In each cell."""
    lines: int
    """Of each caption."""
    columns: int

    @property
    def cell_width(self) -> int:
        return self.pictures * (self.side + GAP) - GAP

    @property
    def cell_height(self) -> int:
        return self.lines * LINE + self.side

    def corner(self, cell: int) -> tuple[int, int]:
        """Left and top of a cell, which is where its caption begins."""
        row, column = divmod(cell, self.columns)
        left = MARGIN + column * (self.cell_width + CELL_GAP)
        return left, MARGIN + TITLE_LINE + row * (self.cell_height + CELL_GAP)

    def picture(self, cell: int, number: int) -> tuple[int, int]:
        """Left and top of a picture of a cell."""
        left, top = self.corner(cell)
        return left + number * (self.side + GAP), top + self.lines * LINE

    def size(self, cells: int) -> tuple[int, int]:
        """Width and height of a sheet."""
        right, bottom = self.corner(self.columns - 1)[0] + self.cell_width, self.corner(max(cells, 1) - 1)[1]
        return right + MARGIN, bottom + self.cell_height + MARGIN


def grid(title: str, cells: Sequence[Cell], layout: Layout) -> Image.Image:
    """The cells from left to right and from top to bottom, under a title."""
    sheet = Image.new("RGB", layout.size(len(cells)), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), cut(title, sheet.width - 2 * MARGIN, TITLE_FONT), fill=INK, font=TITLE_FONT)
    for number, cell in enumerate(cells):
        left, top = layout.corner(number)
        for line, text in enumerate(cell.caption):
            ink = PALE_INK if line else INK
            draw.text((left, top + line * LINE), cut(text, layout.cell_width), fill=ink, font=FONT)
        for place, pixels in enumerate(cell.pictures):
            x, y = layout.picture(number, place)
            draw.rectangle((x - 1, y - 1, x + layout.side, y + layout.side), outline=FRAME)
            sheet.paste(Image.fromarray(pixels), (x, y))
    return sheet


def cut(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont = FONT) -> str:
    """As much of the beginning of `text` as is at most `width` pixels wide."""
    if font.getlength(text) <= width:
        return text
    text = text[:width]  # no letter is narrower than a pixel
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def cut_front(head: str, text: str, width: int) -> str:
    """`head` and as much of the end of `text` as fits: the end of a path says more than its beginning."""
    if FONT.getlength(f"{head}{text}") <= width:
        return f"{head}{text}"
    text = text[-width:]
    while text and FONT.getlength(f"{head}…{text}") > width:
        text = text[1:]
    return f"{head}…{text}"


def save(sheets: Sequence[Image.Image], out: Path) -> Path:
    """Write sheets below each other as one PNG.

    Raises:
        StorageError: it cannot be written.
    """
    whole = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), "white")
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    with atomic_path(out) as partial:
        whole.save(partial, format="PNG")
    return out
