"""Labels that came later: tables of images that join the training images. The split of the data set does not change.

    image,group,rank,score,reason,<factor>…,sha256

`sslmask acquire` writes such a table with empty labels. A row in which nothing is filled in yet is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ssl_mask.data.layouts.paths import inside
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.data.names import plain
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.tables import header_of, read_csv
from ssl_mask.errors import DataError, did_you_mean
from ssl_mask.text import csv_text, from_inert, inert

IMAGE, GROUP, DIGEST = "image", "group", "sha256"
NOTES = ("rank", "score", "reason")
"""Columns that say why an image is to be labeled; nobody reads them. A factor of such a name has the column."""


class Wanted(NamedTuple):
    """An image that is worth labeling."""

    path: str
    group: str
    """Empty where it is not known."""
    rank: int
    """Of its group, from 1."""
    score: float
    reason: str
    digest: str


def to_label_csv(schema: LabelSchema, wanted: Iterable[Wanted]) -> str:
    """The table to fill in, a row an image, with empty labels; no spreadsheet runs its cells."""
    notes = [name for name in NOTES if name not in schema.sizes]
    rows = []
    for row in wanted:
        said = {"rank": str(row.rank), "score": f"{row.score:.6f}", "reason": row.reason}
        labels = [""] * len(schema.sizes)
        rows.append([row.path, row.group, *(said[name] for name in notes), *labels, row.digest])
    header = [IMAGE, GROUP, *notes, *schema.sizes, DIGEST]
    return csv_text([[inert(cell) for cell in cells] for cells in [header, *rows]])


def read_extra_labels(tables: Sequence[Path], schema: LabelSchema, root: Path) -> tuple[tuple[Row, ...], int]:
    """The labeled rows of the tables, as training rows, and how many rows have no label yet.

    Args:
        root: what relative paths are below. An absolute path below it becomes relative, another one stays.

    Returns:
        Rows whose `source` is the table and the line, with the digest that the table gives, if any.

    Raises:
        DataError: no such table, a column that is missing, a row that is filled in by half, an unknown class, an image
            in two rows, or a table without any label; names the row.
    """
    found: dict[str, Row] = {}
    unfilled = 0
    for table in tables:
        before = len(found)
        for where, cells in _rows(table, schema):
            empty = [name for name in schema.sizes if not plain(cells[name])]
            if len(empty) == len(schema.sizes):
                unfilled += 1
                continue
            row = _row(cells, empty, schema, root, where)
            if found.setdefault(row.path, row) is not row:
                raise DataError(f"{where}: {row.path} is also at {found[row.path].source}.", hint="Keep one row.")
        if len(found) == before:
            raise DataError(
                f"{table} has no label yet.", hint=f"Fill in {', '.join(schema.sizes)}, or leave out data.extra_labels."
            )
    return tuple(found.values()), unfilled


def _rows(table: Path, schema: LabelSchema) -> Iterator[tuple[str, dict[str, str]]]:
    header = [from_inert(name) for name in header_of(table)]
    for name in (IMAGE, *schema.sizes):
        if name not in header:
            raise DataError(f"{table} has no column {name!r}.", hint=did_you_mean(name, header))
    for where, guarded in read_csv(table):
        yield where, {from_inert(name): from_inert(cell) for name, cell in guarded.items()}


def _row(cells: dict[str, str], empty: Sequence[str], schema: LabelSchema, root: Path, where: str) -> Row:
    image = cells[IMAGE]
    if not image:
        raise DataError(f"{where}: column {IMAGE!r} is empty.", hint="Fill in the path of the image.")
    if empty:
        raise DataError(
            f"{where}: column {empty[0]!r} is empty, but another label of this image is filled in.",
            hint="Fill in all labels of an image, or none: then it is left out.",
        )
    absolute = Path(image).is_absolute() and not Path(image).is_relative_to(root)
    path = Path(image).as_posix() if absolute else inside(root, image, where=where)
    labels = schema.encode({name: plain(cells[name]) for name in schema.sizes}, where=where)
    group = plain(cells.get(GROUP, "")) or path
    return Row(path, group, "train", where, labels, id=Path(path).name, digest=cells.get(DIGEST, ""))


def join_extra_labels(manifest: Manifest, rows: Sequence[Row]) -> Manifest:
    """The data set and these training rows, after the split; all rows that were labeled stay as they are.

    An image that was unlabeled is replaced. One of a validation group is left out (`Manifest.excluded`).

    Raises:
        DataError: an image that has a label or is a test image, or a group whose leading zeros were lost; names the
            row.
    """
    _refuse_lost_zeros(rows, {row.group for row in manifest.rows} - {""})
    known = {row.path: row for row in manifest.rows if row.split != "unlabeled"}
    validating = {row.group for row in manifest.where("val").rows} - {""}
    excluded: dict[str, str] = {}
    kept: list[Row] = []
    for row in rows:
        if (own := known.get(row.path)) is not None:
            what = "is a test image" if own.split == "test" else "has a label already"
            raise DataError(
                f"{row.source}: {row.path} {what} ({own.source}).",
                hint="Remove the row." if own.split == "test" else "Remove the row; data.corrections changes labels.",
            )
        if row.group in validating:
            excluded[row.path] = f"group {row.group} is in validation ({row.source})"
        else:
            kept.append(row)
    new = {row.path for row in rows}
    own_rows = (row for row in manifest.rows if row.path not in new)
    return replace(manifest.with_rows([*own_rows, *kept]), excluded={**manifest.excluded, **excluded})


def _refuse_lost_zeros(rows: Sequence[Row], known: AbstractSet[str]) -> None:
    """A spreadsheet writes 000094 as 94, and then a validated person would be trained on unseen."""
    whole = {group.lstrip("0"): group for group in known}
    for row in rows:
        alone = row.group == row.path
        if not alone and row.group not in known and (meant := whole.get(row.group.lstrip("0"))) is not None:
            raise DataError(
                f"{row.source}: there is no group {row.group!r}, but {meant!r}: a spreadsheet drops leading zeros.",
                hint=f"Write it as the data set does, or give another group another name (column {GROUP}).",
            )


def is_extra(source: str, tables: Sequence[Path]) -> bool:
    """Whether a row with this `source` is of one of the tables."""
    return any(source.startswith(f"{table}:") for table in tables)


def refuse_changed_images(asked: Manifest, opened: Manifest) -> None:
    """Raises DataError where an image has other bytes than when it was chosen to be labeled."""
    wanted = {row.path: row for row in asked.rows if row.digest}
    for row in opened.rows:
        if (before := wanted.get(row.path)) is not None and before.digest != row.digest:
            raise DataError(
                f"{before.source}: {row.path} has changed since it was chosen to be labeled.",
                hint=f"Restore the image, or label it anew and empty the cell of {DIGEST}.",
            )
