"""Strangers' names (of files, classes, persons) as text: one function for each kind of output.

| output | function | what it prevents |
| --- | --- | --- |
| terminal, contact sheets | `shown` | control characters, text that runs backwards |
| Markdown pages | `md`, `code`, `md_table` | a name that becomes HTML, a heading, a link, or another cell |
| CSV files | `csv_text` | a name with a line break that tears its row |
| CSV files that people edit | `inert`, read back by `from_inert` | a name that a spreadsheet runs as a formula |

Plots are cared for by `ssl_mask.reports.figures.save_figure`. JSON and Parquet need nothing.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = re.compile(r"'*[\x00-\x20]*(?:[=@\uff1d\uff20]|[+\-\uff0b\uff0d](?![\d.]+\Z))")  # -1 is a number
_JOINERS = "\u200c\u200d"  # letters of Persian and Hindi, and emoji, are joined or parted by these
_MARKUP = re.compile(r"([\\`*\[\]<>&|~$]|(?<![^\W_])_|_(?![^\W_])|:(?=//))")


def shown(text: str) -> str:
    """A name for people: what cannot be printed, line breaks too, becomes a replacement character."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS or unicodedata.category(c) == "Zs" else "\ufffd" for c in text)


def shown_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(shown, text.split("\n")))


def md(text: str) -> str:
    """Text as Markdown that shows it as it is, in a paragraph or in a cell of a table."""
    return _MARKUP.sub(r"\\\1", shown(text))


def code(text: str) -> str:
    """A Markdown code span. Its fence is longer than any run of backticks in it (CommonMark 6.1)."""
    inside = shown(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", inside)), default=0))
    pad = " " if len(fence) > 1 or (inside[:1] == inside[-1:] == " ") else ""
    return f"{fence}{pad}{inside}{pad}{fence}" if inside else ""


def md_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A GitHub table of cells that are Markdown themselves: made by `md`, `code` or by us."""
    lines = (header, ("---",) * len(header), *rows)
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(markdown: str) -> str:
    """A bar ends the cell unless an odd number of backslashes stands before it, inside of a code span too."""
    return re.sub(r"(\\*)\|", lambda m: m[0] if len(m[1]) % 2 else rf"{m[1]}\|", " ".join(markdown.split()))


def megabytes(size: int) -> str:
    """Bytes for people: `0.3 MB` or `1.24 GB`."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows, the header first, as CSV with `\\n` at the end of each line. `csv.reader` gives back equal cells."""
    lines: list[str] = []
    for row in rows:
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\r\n").writerow(row)  # quotes a cell with a character of its terminator
        lines.append(line.getvalue()[:-2])
    return "".join(f"{line}\n" for line in lines)


def inert(cell: str) -> str:
    """A cell that no spreadsheet runs: an apostrophe before what looks like a formula. `from_inert` takes it off."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def from_inert(cell: str) -> str:
    """The cell that `inert` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
