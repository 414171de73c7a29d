"""Answers to images as a CSV: the truth that predictions are scored against, and submissions themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError


class Answers(NamedTuple):
    """What a CSV says of images, in its order."""

    joint: dict[str, int]
    """Image -> joint class; -1 for an empty answer."""
    groups: dict[str, str]
    """Image -> group, where the CSV has a `group` column."""


def read_answers(path: Path, schema: LabelSchema, *, allow_empty: bool = False) -> Answers:
    """Read a CSV with the image in its first column.

    The answer is a class name in a column per factor, or else the number of the joint class in the second column.

    Args:
        allow_empty: an empty answer is -1 instead of an error.

    Raises:
        DataError: no rows, an image twice, no such class; names the file and row.
    """
    joint: dict[str, int] = {}
    groups: dict[str, str] = {}
    for where, cells in read_csv(path):
        name = next(iter(cells.values()))
        if name in joint:
            raise DataError(f"{where}: {name} has an answer already.", hint="Keep one row per image.")
        joint[name] = _answer(cells, schema, where, allow_empty=allow_empty)
        if cells.get("group"):
            groups[name] = cells["group"]
    if not joint:
        raise DataError(f"{path} has no rows.", hint="Expected a header and a row per image.")
    return Answers(joint, groups)


def read_groups(path: Path) -> dict[str, str]:
    """Image -> group of a CSV with the image in its first column and a `group` column.

    Raises:
        DataError: no such column.
    """
    return {next(iter(cells.values())): cells["group"] for _, cells in read_csv(path, columns=("group",))}


def refuse_other_images(true: Mapping[str, int], given: Mapping[str, int], answers: Path, predictions: Path) -> None:
    """Raises DataError when the predictions are not of the images that have answers."""
    without, extra = sorted(true.keys() - given.keys()), sorted(given.keys() - true.keys())
    hint = "Both must be of the same images, named alike in the first column."
    if without:
        raise DataError(
            f"{predictions}: no prediction for {len(without)} images of {answers}, such as {without[0]}.", hint=hint
        )
    if extra:
        raise DataError(
            f"{answers}: no answer for {len(extra)} images of {predictions}, such as {extra[0]}.", hint=hint
        )


def _answer(cells: Mapping[str, str], schema: LabelSchema, where: str, *, allow_empty: bool) -> int:
    named = all(f.name in cells for f in schema.factors)
    texts = [cells[f.name] for f in schema.factors] if named else list(cells.values())[1:2]
    if allow_empty and not any(texts):
        return -1
    if named:
        return int(schema.join(np.asarray([schema.encode(cells, where=where)]))[0])
    text = texts[0] if texts else ""
    if not text.isdecimal() or int(text) >= len(schema.joint_classes):
        hint = f"Expected a class number from 0 to {len(schema.joint_classes) - 1}, or a column per factor."
        raise DataError(f"{where}: answer {text!r} is not a class.", hint=hint)
    return int(text)
