"""The labels that a person should look at: who is doubted, why, and what was decided before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from ssl_mask.data.corrections import read_corrections
from ssl_mask.data.names import plain
from ssl_mask.data.predictions import PredictionTable
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError
from ssl_mask.evaluation.cleanlab_issues import cleanlab_issues
from ssl_mask.evaluation.label_doubts import Doubt, by_group, label_doubts
from ssl_mask.reports.html.subject import Subject
from ssl_mask.text import csv_text


class Question(NamedTuple):
    """A doubted label, and what a correction of it is for."""

    doubt: Doubt
    target: Literal["group", "path"]
    name: str
    """Of the group or the image, as a table of corrections names it."""
    others: tuple[int, ...]
    """Rows of the table: further images of the group, to compare with."""
    cleanlab: int | None
    """Best place of its images in cleanlab's list, from 1 on; None: they are not in it, or it was not asked."""


@dataclass(frozen=True)
class Review:
    """What a page for review asks."""

    subject: Subject
    table: PredictionTable
    questions: list[Question]
    """The most doubtful first; those of a group together."""
    digest: str
    """Of the images and their labels: what was decided for other data is not mixed in."""
    earlier: str
    """An older table of corrections as CSV; empty: there is none."""
    source: Path | None
    """Where that was read."""
    cleanlab: int | None
    """Images in cleanlab's list; None: it was not asked."""


def review_of(subject: Subject, *, corrections: Path | None = None, cleanlab: bool = False) -> Review:
    """Rank the doubtful labels. Reads no image.

    Args:
        corrections: an older table to go on with; None: the one that the run was trained with, if any.
        cleanlab: also ask cleanlab.

    Raises:
        DataError: the run has no validation of its own, or the older table does not fit.
        InputError: cleanlab is not installed.
    """
    table = subject.table
    if table is None:
        raise DataError(
            f"{subject.name} was trained on all labels: it has no predictions of images that it has not seen.",
            hint="Review the study that it is of, or train with --folds 5.",
        )
    issues = cleanlab_issues(table) if cleanlab else None
    places = {row: place for place, row in enumerate(issues or (), start=1)}
    doubts = label_doubts(table, subject.schema)
    together = rows_by_group(table) if subject.grouped else {}
    questions = [_question(table, d, together, places) for d in (by_group(doubts) if subject.grouped else doubts)]
    with_run = subject.runs[0].corrections
    source = corrections if corrections is not None else with_run if with_run.is_file() else None
    earlier = "" if source is None else _text_of(source, subject)
    return Review(subject, table, questions, digest_of(table), earlier, source, None if issues is None else len(issues))


def rows_by_group(table: PredictionTable) -> dict[str, list[int]]:
    """Group -> its rows."""
    found: dict[str, list[int]] = {}
    for row, group in enumerate(table.group.tolist()):
        found.setdefault(group, []).append(row)
    return found


def _question(table: PredictionTable, doubt: Doubt, together: dict[str, list[int]], places: dict[int, int]) -> Question:
    """Args: together: group -> its rows, nothing where the data name no groups."""
    whole = bool(together) and len(doubt.rows) > 1
    name = doubt.group if whole else str(table.path[doubt.rows[0]])
    others = tuple(row for row in together.get(doubt.group, []) if row not in doubt.rows)
    ranked = [places[row] for row in doubt.rows if row in places]
    return Question(doubt, "group" if whole else "path", plain(name), others, min(ranked, default=None))


def digest_of(table: PredictionTable) -> str:
    """SHA-256 over images and labels, in any order."""
    columns: Sequence[list[str]] = (table.sha256.tolist(), table.path.tolist(), table.true.astype(str).tolist())
    lines = sorted("\0".join(cells) for cells in zip(*columns, strict=True))
    return hashlib.sha256("\n".join([*table.classes, *lines]).encode(errors="surrogatepass")).hexdigest()


def _text_of(source: Path, subject: Subject) -> str:
    """The table again with commas. A run of one factor may have been corrected by a table of them all."""
    read_corrections(source, subject.schema, other_columns=True)
    rows = [cells for _, cells in read_csv(source)]
    return csv_text([list(rows[0]), *(list(cells.values()) for cells in rows)]) if rows else ""
