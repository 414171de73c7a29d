"""What is known of a data set in short, as Markdown: the same facts for a terminal."""

from __future__ import annotations

from ssl_mask.reports.html.explore.exploration import Exploration, in_short, next_steps
from ssl_mask.reports.html.explore.page import class_tables, pool_table
from ssl_mask.reports.html.explore.pixels import unusual
from ssl_mask.reports.html.page import TableCells
from ssl_mask.reports.html.pairs import words_of
from ssl_mask.text import code, md, md_table

LINES = 8
"""Rows of each list."""


def explore_text(found: Exploration) -> str:
    """What the page says, without its images, its charts and its map."""
    parts = [f"# {md(found.reading.root.absolute().name)}", f"{md(found.message)}", "## In short"]
    parts.append("\n".join(f"- {md(text)}" for text, _ in in_short(found)))
    parts += ["## What to do next", "\n".join(f"- {md(s.why)} {code(s.command)}" for s in next_steps(found))]
    parts += ["## Classes and pools", _table(pool_table(found.images))]
    for table in class_tables(found.images):
        parts += [f"**{md(table.label)}**", _table(table)]
    pairs = [*found.copies.conflicts, *found.copies.across]
    if pairs:
        lines = [f"- {md(words_of(p))}: {code(p.first)}, {code(p.second)}" for p in pairs[:LINES]]
        parts += ["## Copies and conflicts", "\n".join(lines)]
        parts += [f"{LINES} of {len(pairs)} are listed."] if len(pairs) > LINES else []
    ends = unusual(found.pixels.values)
    if ends:
        rows = [
            (md(u.words), str(len(u.rows)), code(found.images.path[int(found.pixels.rows[u.rows[0]])])) for u in ends
        ]
        parts += ["## Unusual images", md_table(("than the others", "images", "such as"), rows)]
    return "\n\n".join(parts) + "\n"


def _table(table: TableCells) -> str:
    return md_table([*map(md, table.header)], [[*map(md, row)] for row in table.rows])
