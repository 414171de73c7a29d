"""A table as cells of plain text, and its two renderers: Markdown for cards, rich for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table
from rich.text import Text

from ssl_mask.text import md, md_table, shown, shown_lines


class Cells(NamedTuple):
    """Header and rows; a line break in the header is where a narrow terminal may break it."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def filled(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Cells:
    """Cells without the columns that are empty in all rows."""
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return Cells(tuple(header[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in rows))


def markdown(cells: Cells) -> str:
    """A GitHub table."""
    header = (" ".join(name.split()) for name in cells.header)
    return md_table([md(name) for name in header], [[md(cell) for cell in row] for row in cells.rows])


def terminal(cells: Cells, title: str, *, words: int = 1) -> Table:
    """A table for `Console.print`.

    Args:
        words: how many of the first columns hold words, which are aligned left; numbers are aligned right.
    """
    columns = [
        Column(Text(shown_lines(name)), justify="left" if i < words else "right", overflow="fold")
        for i, name in enumerate(cells.header)
    ]
    heading = Text(shown(title), style="table.title")
    table = Table(*columns, title=heading, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for row in cells.rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    return table
