"""A CSV or Parquet file: an image column, one or more label columns and, if you have them, group and split columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import field_validator

from ssl_mask.config.base import Settings
from ssl_mask.data.layouts.paths import Finder, entries, inside
from ssl_mask.data.manifest import Manifest, Row, Submission, csv_columns
from ssl_mask.data.names import SPLIT_WORDS, Split, alike, class_order, plain, split_of, split_of_folder
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.data.tables import header_of, read_table
from ssl_mask.errors import DataError, did_you_mean

IMAGE_NAMES = ("image", "path", "file", "filename", "filepath", "image_path", "image_id", "ImageID")
LABEL_NAMES = ("label", "class", "target", "labels")
GROUP_NAMES = ("group", "person", "person_id", "patient", "patient_id", "subject", "subject_id")
_ANSWER_WORDS = {"submission", "submissions", "answer", "answers", "solution", "predictions", "pseudo"}

_PSEUDO_LABEL_COLUMNS = ("image", "confidence", "margin", "first_round", "flips")  # and `label`, which is left out then


class Options(Settings):
    file: Path | None = None
    """The table, below the data folder. Not set: the only .csv or .parquet there that has image and label columns."""
    images: Path | None = None
    """Folder that the image column is relative to, below the data folder. Not set: the data folder, or else the only
    folder in it that has all images of the table."""
    image: str | None = None
    """Column with the image's path. Not set: the one that has a usual name."""
    labels: tuple[str, ...] = ()
    """Label columns, one per factor; a single one needs no brackets. Not set: `label`, `class` or `target`."""
    group: str | None = None
    """Column with the group (person, patient). Not set: the one that has a usual name, or none."""
    split: str | None = None
    """Column with train, val, test or unlabeled. Not set: the column `split`, if there is one."""

    @field_validator("labels", mode="before")
    @classmethod
    def _one_column(cls, given: Any) -> Any:
        return given if isinstance(given, list | tuple) else (given,)


class Columns(NamedTuple):
    """Which column says what."""

    image: str
    labels: tuple[str, ...]
    group: str | None
    split: str | None

    def __str__(self) -> str:
        named = {"image": self.image, "label": ", ".join(self.labels), "group": self.group, "split": self.split}
        return ", ".join(f"{key} {value!r}" for key, value in named.items() if value)


class Record(NamedTuple):
    """A row of the table before its classes are known."""

    where: str
    name: str
    path: str
    split: Split
    labels: dict[str, str]
    group: str


def detect(root: Path) -> bool:
    return bool(_recognised(root))


def read(root: Path, options: Options) -> Manifest:
    """Rows of the table. A row without labels must be `test` or `unlabeled` by its split column.

    Classes are those of train and val rows. The labels of `unlabeled` rows are not read; a test row of an unknown class
    has no label.

    Raises:
        DataError: no table, no such column or two that could be meant, an unknown split word, a row without a label,
            an image in two rows.
    """
    path = _table_path(root, options)
    columns = _columns(path, options, header_of(path))
    needed = [c for c in (columns.image, *columns.labels, columns.group, columns.split) if c]
    cells = list(read_table(path, needed))
    if not cells:
        raise DataError(f"{path} has no rows.", hint="It needs one row per image, below a header.")
    finder = Finder(root)
    names = [row[columns.image] for _, row in cells]
    folder = options.images or _images_folder(root, finder, path, [n for n in names if n])
    records = [_record(root, folder, finder, columns, where, row) for where, row in cells]
    schema = _schema(path, columns, records)
    rows = tuple(_row(record, schema) for record in records)
    _refuse_twice(rows)
    below = f", images in {folder.as_posix()}/" if folder != Path() else ""
    return Manifest(
        root=root,
        layout="table",
        schema=schema,
        rows=rows,
        grouped=columns.group is not None,
        submission=Submission(columns.image, columns.labels, "names"),
        message=f"table layout: {path.name}, {len(rows)} rows, columns {columns}{below}",
        notes=tuple(_notes(path.name, records, rows, schema)),
    )


def _recognised(root: Path) -> list[Path]:
    """Tables with image and label columns. Where there are several: those whose names do not say test or submission."""
    found = [p for p in entries(root) if p.suffix.lower() in {".csv", ".parquet"} and _has_labels(p)]
    if len(found) > 1:
        found = [p for p in found if split_of_folder(p.stem) in {None, "train"} and not _is_answers(p.stem)] or found
    return found


def _has_labels(path: Path) -> bool:
    try:
        header = header_of(path)
    except DataError:  # no table after all; `read` says so when the layout is asked for by name
        return False
    known = {alike(name) for name in header}
    image, label = (any(alike(n) in known for n in names) for names in (IMAGE_NAMES, LABEL_NAMES))
    return image and label and "sha256" not in known  # with it, sslmask has written the table


def _is_answers(stem: str) -> bool:
    return not _ANSWER_WORDS.isdisjoint(re.split(r"[^a-z]+", stem.lower()))


def _table_path(root: Path, options: Options) -> Path:
    if options.file is not None:
        return root / inside(root, options.file.as_posix(), where="data.options.file")
    tables = _recognised(root) or [p for p in entries(root) if p.suffix.lower() in {".csv", ".parquet"}]
    if len(tables) != 1:
        found = ", ".join(t.name for t in tables) or "none"
        raise DataError(
            f"{root}: expected one table, found {found}.", hint="Say which one: --set data.options.file=labels.csv"
        )
    return tables[0]


def _images_folder(root: Path, finder: Finder, table: Path, names: Sequence[str]) -> Path:
    """Where the images of a table are: the data folder if it has any of them, else the only folder that has all."""
    if any(_is_there(finder, root, Path(), name) for name in names):
        return Path()
    folders = [Path(p.name) for p in entries(root) if p.is_dir()]
    has = {f: n for f in folders if (n := sum(_is_there(finder, root, f, name) for name in names))}
    whole = [folder for folder, count in has.items() if count == len(names)]
    if not has:
        return Path()  # whoever opens the images names those that are missing
    if len(whole) == 1:
        return whole[0]
    counts = ", ".join(f"{folder}/ has {n} of {len(names)}" for folder, n in has.items())
    first = max(has, key=lambda folder: has[folder])
    raise DataError(
        f"{table}: its images are not in {root}, but {counts}.",
        hint=f"Say which folder is meant: --set data.options.images={first}",
    )


def _is_there(finder: Finder, root: Path, folder: Path, name: str) -> bool:
    try:
        return finder.find(inside(root, (folder / name).as_posix(), where=""), where="") is not None
    except DataError:  # said with its row later
        return False


def _columns(path: Path, options: Options, header: Sequence[str]) -> Columns:
    def pick(asked: str | None, usual: tuple[str, ...], key: str, *, needed: bool) -> str | None:
        same = [n for n in header if n == asked] or [n for n in header if asked and alike(n) == alike(asked)]
        found = same if asked is not None else [n for n in header if alike(n) in {alike(u) for u in usual}]
        if asked is not None and not found:
            hint = did_you_mean(asked, list(header))
            raise DataError(f"{path} has no column {asked!r} (data.options.{key}).", hint=hint)
        if not found and needed:
            hint = f"Name it: --set data.options.{key}=COLUMN. Columns: {', '.join(header)}."
            raise DataError(f"{path}: no {key} column found.", hint=hint)
        if len(set(found)) > 1:
            raise DataError(
                f"{path}: columns {found[0]!r} and {found[1]!r} can both be meant by data.options.{key}.",
                hint=f"Say which: --set data.options.{key}={found[0]}",
            )
        return found[0] if found else None

    def must(asked: str | None, usual: tuple[str, ...], key: str) -> str:
        return str(pick(asked, usual, key, needed=True))

    columns = Columns(
        image=must(options.image, IMAGE_NAMES, "image"),
        labels=tuple(must(name, LABEL_NAMES, "labels") for name in options.labels or (None,)),
        group=pick(options.group, GROUP_NAMES, "group", needed=False),
        split=pick(options.split, ("split",), "split", needed=False),
    )
    _refuse_two_uses(path, columns)
    return columns


def _refuse_two_uses(path: Path, columns: Columns) -> None:
    uses = [("image", columns.image), *(("labels", c) for c in columns.labels)]
    uses += [(key, column) for key, column in (("group", columns.group), ("split", columns.split)) if column]
    first: dict[str, str] = {}
    for key, column in uses:
        if column in first:
            raise DataError(
                f"{path}: column {column!r} is named twice, by data.options.{first[column]} and data.options.{key}.",
                hint="Name each column once.",
            )
        first[column] = key
    written = Counter([*csv_columns(columns.labels), *_PSEUDO_LABEL_COLUMNS])
    for name in columns.labels:
        if written[name] > 1:
            raise DataError(
                f"{path}: the label column {name!r} has the name of a column that sslmask writes itself.",
                hint=f"Rename it, for example to {name}_label.",
            )


def _record(root: Path, folder: Path, finder: Finder, columns: Columns, where: str, cells: dict[str, str]) -> Record:
    name = cells[columns.image]
    path = inside(root, (folder / name).as_posix() if name else "", where=where)
    path = finder.find(path, where=where) or path
    word = cells[columns.split] if columns.split else "train"
    split = split_of(word)
    if split is None:
        raise DataError(f"{where}: unknown split {word!r}.", hint=f"Use one of {', '.join(SPLIT_WORDS)}.")
    labels = {c: plain(cells[c]) for c in columns.labels} if split != "unlabeled" else {}
    group = plain(cells[columns.group]) if columns.group else path
    for column, cell in (*labels.items(), *([(columns.group, group)] if columns.group else [])):
        if not cell and split in {"train", "val"}:
            hint = (
                "Fill it in: every labeled image needs a group."
                if column == columns.group
                else "Fill it in, or mark the row `unlabeled` in a split column."
            )
            kind = "group" if column == columns.group else "label"
            raise DataError(f"{where}: {kind} column {column!r} is empty.", hint=hint)
    return Record(where, name, path, split, labels, group)


def _schema(path: Path, columns: Columns, records: Sequence[Record]) -> LabelSchema:
    labeled = [r for r in records if r.split in {"train", "val"}]
    if not labeled:
        raise DataError(
            f"{path} has no train or val rows.", hint="Say in the split column which rows are for training."
        )
    classes = {c: sorted({r.labels[c] for r in labeled}, key=class_order) for c in columns.labels}
    return LabelSchema(tuple(Factor(c, tuple(names)) for c, names in classes.items()))


def _row(record: Record, schema: LabelSchema) -> Row:
    known = record.labels and all(record.labels[f.name] in f.classes for f in schema.factors)
    labels = schema.encode(record.labels, where=record.where) if known else None
    return Row(record.path, record.group, record.split, record.where, labels, id=record.name)


def _notes(table: str, records: Sequence[Record], rows: Sequence[Row], schema: LabelSchema) -> Iterator[str]:
    unknown = [r for r, row in zip(records, rows, strict=True) if row.labels is None and any(r.labels.values())]
    if unknown:
        first = unknown[0]
        yield (
            f"test rows of {table} that get no label, because no train or val row has their class: {len(unknown)}, "
            f"for example {'/'.join(first.labels.values())!r} at {first.where}."
        )
    for factor in schema.factors:
        first_of: dict[str, str] = {}
        for name in factor.classes:
            other = first_of.setdefault(alike(name), name)
            if other != name:
                yield f"{other!r} and {name!r} differ only in upper and lower case: they are two classes."


def _refuse_twice(rows: tuple[Row, ...]) -> None:
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.path, row)
        if other is not row:
            raise DataError(
                f"{row.source}: {row.path} is also named at {other.source}.", hint="Keep one of the two rows."
            )
