"""Markdown pages as a terminal shows them."""

from __future__ import annotations

import re
import sys
from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown, MarkdownElement, TableElement
from rich.table import Table

FRONT_MATTER = re.compile(r"\A---\n.*?^---\n", flags=re.DOTALL | re.MULTILINE)
"""YAML between two lines of dashes at the top of a page; for machines."""


LONGEST_WORD = 14
"""Characters; words up to this length are not broken in a table. Digests and paths are longer."""


class _WholeTable(TableElement):
    """Breaks what is too long for its column over several lines; rich would cut it."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in super().__rich_console__(console, options):
            if isinstance(part, Table):
                for column in part.columns:
                    column.overflow = "fold"
                    words = " ".join(str(cell) for cell in (column.header, *column.cells)).split()
                    column.min_width = max((len(w) for w in words if len(w) <= LONGEST_WORD), default=0)
            yield part


class _Page(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "table_open": _WholeTable}


def show_page(text: str) -> None:
    """Print a Markdown page: rendered in a terminal, as it is where it is piped."""
    if sys.stdout.isatty():
        print_page(text, Console())
    else:
        print(text, end="")


def print_page(text: str, console: Console) -> None:
    """Render a Markdown page, without its front matter."""
    console.print(_Page(FRONT_MATTER.sub("", text, count=1)))
