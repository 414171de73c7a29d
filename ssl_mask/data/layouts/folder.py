"""Class folders: `<class>/…`, or `train/<class>/…` with optional `val/<class>/…` and `test/…`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import field_validator

from ssl_mask.config.base import Settings
from ssl_mask.data.images import find_images
from ssl_mask.data.manifest import Manifest, Row, Split, Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError

SPLITS: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "test": "test"}


class Options(Settings):
    group_regex: str | None = None
    """The group is what this regular expression finds in an image's path (its first group, or the whole match)."""
    group_csv: Path | None = None
    """CSV with the columns `image` (path below the data folder) and `group`."""

    @field_validator("group_regex")
    @classmethod
    def _compiles(cls, text: str | None) -> str | None:
        try:
            re.compile(text or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return text


def detect(root: Path, options: dict[str, Any]) -> bool:
    if "image" in options or "labels" in options:
        return False
    return len(_class_folders(root / "train" if (root / "train").is_dir() else root)) >= 2


def read(root: Path, options: Options) -> Manifest:
    """Images by class folder. Test images in class folders get their labels too, but only for scoring.

    Raises:
        DataError: no class folders, an image without a group, a validation class that is not in train.
    """
    split_folders = {root / n: s for n, s in SPLITS.items() if (root / n).is_dir()}
    if not any(s == "train" for s in split_folders.values()):
        split_folders = {root: "train"}
    classes = tuple(_class_folders(next(f for f, s in split_folders.items() if s == "train")))
    if len(classes) < 2:
        raise DataError(
            f"{root}: fewer than two class folders with images.",
            hint="Put the images into train/<class>/, one folder per class.",
        )
    schema = LabelSchema((Factor("class", classes),))
    group_of = _grouping(root, options)
    rows = [
        _row(root, folder, image, split, schema, group_of)
        for folder, split in split_folders.items()
        for image in find_images(folder)
    ]
    rows = [r for r in rows if r.split != "train" or r.labels is not None]
    counts = {s: sum(r.split == s for r in rows) for s in ("train", "val", "test")}
    return Manifest(
        root=root,
        layout="folder",
        schema=schema,
        rows=tuple(rows),
        grouped=bool(options.group_regex or options.group_csv),
        submission=Submission("image", ("class",), "names"),
        message=f"folder layout: {len(classes)} classes, " + ", ".join(f"{n} {s}" for s, n in counts.items() if n),
    )


def _class_folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    subfolders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return [p.name for p in subfolders if find_images(p)]


def _row(
    root: Path, folder: Path, image: Path, split: Split, schema: LabelSchema, group_of: Callable[[str], str]
) -> Row:
    path = image.relative_to(root).as_posix()
    inner = image.relative_to(folder)
    known = schema.factors[0].classes
    labels = (known.index(inner.parts[0]),) if len(inner.parts) > 1 and inner.parts[0] in known else None
    if labels is None and split == "val":
        raise DataError(
            f"{path}: its folder is not a class of the training images.", hint=f"Classes: {', '.join(known[:20])}."
        )
    group = "" if split == "test" else group_of(path)
    return Row(path, group, split, path, labels, id=inner.as_posix())


def _grouping(root: Path, options: Options) -> Callable[[str], str]:
    if options.group_csv is not None:
        table = options.group_csv if options.group_csv.is_absolute() else root / options.group_csv
        known = {cells["image"]: cells["group"] for _, cells in read_csv(table, columns=("image", "group"))}

        def by_table(path: str) -> str:
            if path not in known:
                raise DataError(f"{path} is not in {table}.", hint="Add a row with its group: every image needs one.")
            return known[path]

        return by_table
    if options.group_regex is not None:
        pattern = re.compile(options.group_regex)

        def by_regex(path: str) -> str:
            match = pattern.search(path)
            if match is None:
                raise DataError(
                    f"{path}: data.options.group_regex {pattern.pattern!r} does not match this path.",
                    hint="The expression must find a group in the path of every train and validation image.",
                )
            return match.group(1) if match.groups() else match.group(0)

        return by_regex
    return lambda path: path
