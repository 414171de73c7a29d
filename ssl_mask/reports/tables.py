"""A table as cells of text, and its two renderers: Markdown for cards, rich for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Column, Table


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
    lines = (cells.header, ("---",) * len(cells.header), *cells.rows)
    return "\n".join(f"| {' | '.join(_inline(cell) for cell in line)} |" for line in lines)


def _inline(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")


def terminal(cells: Cells, title: str, *, words: int = 1) -> Table:
    """A table for `Console.print`.

    Args:
        words: how many of the first columns hold words, which are aligned left; numbers are aligned right.
    """
    columns = [
        Column(escape(name), justify="left" if i < words else "right", overflow="fold")
        for i, name in enumerate(cells.header)
    ]
    table = Table(
        *columns, title=escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    for row in cells.rows:
        table.add_row(*map(escape, row))
    return table
