"""Answers to images as a CSV: the truth that predictions are scored against, and submissions themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_mask.data.layouts.images import image_column
from ssl_mask.data.layouts.table import LABEL_NAMES
from ssl_mask.data.manifest import Submission
from ssl_mask.data.names import alike, plain
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError, did_you_mean


class Answers(NamedTuple):
    """What a CSV says of images, in its order."""

    joint: dict[str, int]
    """Image -> joint class; -1 for an empty answer."""
    groups: dict[str, str]
    """Image -> group, where the CSV has a `group` column."""


def read_answers(
    path: Path, schema: LabelSchema, submission: Submission | None = None, *, allow_empty: bool = False
) -> Answers:
    """Read a CSV with an image column, and a class name in a column per factor or the joint class in a single column.

    In a single column a name is that class. A number is a class number where the data set submits numbers; where that
    is not known, it is one if no class is called by a number.

    Args:
        submission: how the data set is submitted; its columns are looked for first. None: not known.
        allow_empty: an empty answer is -1 instead of an error.

    Raises:
        DataError: no rows, an image twice, no such class, or a column that is missing or not certain.
    """
    rows = _rows(path)
    if not rows:
        raise DataError(f"{path} has no rows.", hint="Expected a header and a row per image.")
    header, usual = list(rows[0][1]), submission.id_column if submission else ""
    image = image_column(header, path, usual)
    _refuse_twice(path, image, rows)
    factors = [f.name for f in schema.factors]
    column = None if set(factors) <= set(header) else _answer_column(path, header, image, factors, submission)
    classes = _Classes(schema, submission)
    joint: dict[str, int] = {}
    for where, cells in rows:
        texts = [cells[c] for c in (factors if column is None else [column])]
        if allow_empty and not any(texts):
            joint[cells[image]] = -1
        elif column is None:
            joint[cells[image]] = int(schema.join(np.asarray([schema.encode(cells, where=where)]))[0])
        else:
            joint[cells[image]] = classes.index(texts[0], where=where)
    return Answers(joint, {cells[image]: cells["group"] for _, cells in rows if cells.get("group")})


def read_groups(path: Path, submission: Submission | None = None) -> dict[str, str]:
    """Image -> group of a CSV with an image column and a `group` column.

    Raises:
        DataError: no such column, or an image twice.
    """
    rows = _rows(path, "group")
    if not rows:
        return {}
    image = image_column(list(rows[0][1]), path, submission.id_column if submission else "")
    _refuse_twice(path, image, rows)
    return {cells[image]: cells["group"] for _, cells in rows}


def refuse_other_images(true: Mapping[str, int], given: Mapping[str, int], answers: Path, predictions: Path) -> None:
    """Raises DataError when the predictions are not of the images that have answers."""
    without, extra = sorted(true.keys() - given.keys()), sorted(given.keys() - true.keys())
    problems = []
    if without:
        problems.append(
            f"{predictions}: no prediction for {len(without)} images of {answers}, such as {without[0]}"
            f" ({len(true)} have answers)."
        )
    if extra:
        problems.append(
            f"{answers}: no answer for {len(extra)} images of {predictions}, such as {extra[0]}"
            f" ({len(given)} have predictions)."
        )
    if problems:
        raise DataError("\n".join(problems), hint="Both must be of the same images, named alike in the image column.")


def _rows(path: Path, *columns: str) -> list[tuple[str, dict[str, str]]]:
    """The rows of a CSV, with one Unicode form for names that look alike."""
    return [(where, {c: plain(text) for c, text in cells.items()}) for where, cells in read_csv(path, columns=columns)]


def _refuse_twice(path: Path, image: str, rows: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    first: dict[str, str] = {}
    twice: dict[str, str] = {}
    for where, cells in rows:
        name = cells[image]
        if not name:
            raise DataError(f"{where}: the image column {image!r} is empty.", hint="Fill it in, or remove the row.")
        if first.setdefault(name, where) != where:
            twice.setdefault(name, where)
    for name, where in twice.items():
        raise DataError(
            f"{path}: {len(twice)} images are there more than once, such as {name} ({first[name]} and {where}).",
            hint="Keep one row per image.",
        )


def _answer_column(
    path: Path, header: Sequence[str], image: str, factors: Sequence[str], submission: Submission | None
) -> str:
    """The single column that holds the answer: that of the submission, one with a usual name, or the only other one."""
    others = [name for name in header if name not in {image, "group"}]
    submitted = [name for name in others if submission and [name] == list(submission.answer_columns)]
    usual = [name for name in others if alike(name) in LABEL_NAMES]
    found = submitted or usual or others
    expected = f"Expected a single column with the class, or a column per factor: {', '.join(factors)}."
    if not found:
        raise DataError(f"{path} has no column with the answer.", hint=expected)
    if len(found) > 1:
        listed = " and ".join(map(repr, found)) if len(found) < 5 else f"{len(found)} columns"
        raise DataError(f"{path}: {listed} can all be the answer.", hint=expected)
    return found[0]


class _Classes:
    """What a single column may hold."""

    def __init__(self, schema: LabelSchema, submission: Submission | None) -> None:
        self.names = {plain(name): number for number, name in enumerate(schema.joint_classes)}
        called_by_numbers = any(name.isdecimal() for name in self.names)
        self.numbers = submission.answers == "joint index" if submission else not called_by_numbers

    def index(self, text: str, *, where: str) -> int:
        """The joint class. Raises DataError."""
        if self.numbers and text.isdecimal() and int(text) < len(self.names):
            return int(text)
        if text in self.names:
            return self.names[text]
        hint = did_you_mean(text, list(self.names))
        if self.numbers:
            hint = (
                f"Expected a class number from 0 to {len(self.names) - 1}, the name of a class, or a column per factor."
            )
        raise DataError(f"{where}: answer {text!r} is not a class.", hint=hint)
