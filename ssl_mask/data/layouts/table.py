"""A CSV or Parquet file: an image column, one or more label columns and, if you have them, group and split columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from ssl_mask.config.base import Settings
from ssl_mask.data.layouts.paths import inside
from ssl_mask.data.manifest import Manifest, Row, Split, Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError, did_you_mean

IMAGE_NAMES = ("image", "path", "file", "filename", "filepath", "image_path", "image_id", "ImageID")
LABEL_NAMES = ("label", "class", "target", "labels")
GROUP_NAMES = ("group", "person", "person_id", "patient", "patient_id", "subject", "subject_id")
SPLIT_WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "eval": "test", "unlabeled": "unlabeled",
}  # fmt: skip


class Options(Settings):
    file: Path | None = None
    """The table, below the data folder. Not set: the only .csv or .parquet there."""
    images: Path = Path()
    """Folder that the image column is relative to, below the data folder."""
    image: str | None = None
    """Column with the image's path. Not set: the first of the usual names."""
    labels: tuple[str, ...] = ()
    """Label columns, one per factor. Not set: the first of `label`, `class`, `target`."""
    group: str | None = None
    """Column with the group (person, patient). Not set: the first of the usual names, or none."""
    split: str | None = None
    """Column with train, val, test or unlabeled. Not set: the column `split`, if there is one."""


def detect(root: Path, options: dict[str, Any]) -> bool:
    if {"file", "image", "labels"} & options.keys():
        return True
    tables = _tables(root)
    if len(tables) != 1:
        return False
    header = _header(tables[0])
    return any(n in header for n in IMAGE_NAMES) and any(n in header for n in LABEL_NAMES)


def read(root: Path, options: Options) -> Manifest:
    """Rows of the table. A row without labels must be `test` or `unlabeled` by its split column.

    Raises:
        DataError: no table, no such column, an unknown split word, a row without a label,
            an image in two rows.
    """
    path = _table_path(root, options)
    records = list(_records(path))
    if not records:
        raise DataError(f"{path} has no rows.", hint="It needs one row per image, below a header.")
    columns = _columns(path, options, list(records[0][1]))
    classes = {c: sorted({cells[c] for _, cells in records if cells[c]}, key=_natural) for c in columns["labels"]}
    schema = LabelSchema(tuple(Factor(c, tuple(names)) for c, names in classes.items()))
    rows = tuple(_row(root, options, schema, columns, where, cells) for where, cells in records)
    _refuse_twice(rows)
    named = ", ".join(f"{key} {value!r}" for key, value in columns.items() if value)
    return Manifest(
        root=root,
        layout="table",
        schema=schema,
        rows=rows,
        grouped=columns["group"] is not None,
        submission=Submission(columns["image"], tuple(columns["labels"]), "names"),
        message=f"table layout: {path.name}, {len(rows)} rows, columns {named}",
    )


def _table_path(root: Path, options: Options) -> Path:
    if options.file is not None:
        return root / options.file
    tables = _tables(root)
    if len(tables) != 1:
        found = ", ".join(t.name for t in tables) or "none"
        raise DataError(
            f"{root}: expected one table, found {found}.", hint="Say which one: --set data.options.file=labels.csv"
        )
    return tables[0]


def _tables(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.suffix.lower() in {".csv", ".parquet"} and not p.name.startswith("."))


def _header(path: Path) -> list[str]:
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet

        try:
            return [str(name) for name in pyarrow.parquet.read_schema(path).names]
        except (OSError, ValueError):  # not Parquet after all; `read` says so when the layout is asked for by name
            return []
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        return [cell.strip() for cell in next(lines, "").split(",")]


def _records(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    if path.suffix.lower() != ".parquet":
        yield from read_csv(path)
        return
    import pandas

    try:
        frame = pandas.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path}: {error}.", hint="Save it as Parquet or CSV again.") from error
    text = frame.astype("string").fillna("")
    for number, cells in enumerate(text.to_dict("records")):
        yield f"{path} row {number}", {str(k): str(v).strip() for k, v in cells.items()}


def _columns(path: Path, options: Options, header: list[str]) -> dict[str, Any]:
    def pick(asked: str | None, usual: tuple[str, ...], key: str, *, needed: bool) -> str | None:
        if asked is not None and asked not in header:
            raise DataError(f"{path} has no column {asked!r} (data.options.{key}).", hint=did_you_mean(asked, header))
        found = asked or next((n for n in usual if n in header), None)
        if found is None and needed:
            hint = f"Name it: --set data.options.{key}=COLUMN. Columns: {', '.join(header)}."
            raise DataError(f"{path}: no {key} column found.", hint=hint)
        return found

    labels = [cast(str, pick(name, (), "labels", needed=True)) for name in options.labels]
    return {
        "image": pick(options.image, IMAGE_NAMES, "image", needed=True),
        "labels": labels or [cast(str, pick(None, LABEL_NAMES, "labels", needed=True))],
        "group": pick(options.group, GROUP_NAMES, "group", needed=False),
        "split": pick(options.split, ("split",), "split", needed=False),
    }


def _row(
    root: Path, options: Options, schema: LabelSchema, columns: dict[str, Any], where: str, cells: dict[str, str]
) -> Row:
    name = cells[columns["image"]]
    path = inside(root, (options.images / name).as_posix() if name else "", where=where)
    word = cells[columns["split"]].lower() if columns["split"] else "train"
    if word not in SPLIT_WORDS:
        raise DataError(f"{where}: unknown split {word!r}.", hint=f"Use one of {', '.join(SPLIT_WORDS)}.")
    split = SPLIT_WORDS[word]
    empty = [c for c in columns["labels"] if not cells[c]]
    if empty and split in {"train", "val"}:
        raise DataError(
            f"{where}: label column {empty[0]!r} is empty.",
            hint="Fill it in, or mark the row `unlabeled` in a split column.",
        )
    labels = None if empty or split == "unlabeled" else schema.encode(cells, where=where)
    group = cells[columns["group"]] if columns["group"] else path
    if not group and split in {"train", "val"}:
        raise DataError(
            f"{where}: group column {columns['group']!r} is empty.",
            hint="Fill it in: every labeled image needs a group.",
        )
    return Row(path, group, split, where, labels, id=name)


def _refuse_twice(rows: tuple[Row, ...]) -> None:
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.path, row)
        if other is not row:
            raise DataError(
                f"{row.source}: {row.path} is also named at {other.source}.", hint="Keep one of the two rows."
            )


def _natural(name: str) -> tuple[int, float | str]:
    """Sort key: numbers by value, then words."""
    try:
        return (0, float(name))
    except ValueError:
        return (1, name)
