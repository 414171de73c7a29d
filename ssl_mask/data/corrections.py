"""Corrections of labels: a CSV beside the data set, so that its own files stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.data.names import alike, plain
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError
from ssl_mask.text import from_inert

TARGETS = ("path", "group")
NOTES = ("exclude", "reviewer", "reason")
"""Columns beside the factors. Where a factor has such a name, the column is the factor's."""

_EXCLUDE = {"": None, "yes": True, "1": True, "true": True, "x": True, "no": False, "0": False, "false": False}


class Correction(NamedTuple):
    """What a row says of an image or of a group."""

    where: str
    """File and line."""
    labels: dict[int, int]
    """Number of the factor -> class; the other factors keep their labels."""
    exclude: bool | None
    """None: nothing is said."""
    reviewer: str
    reason: str

    @property
    def why(self) -> str:
        """Why an image is left out, for people."""
        by = f" by {self.reviewer}" if self.reviewer else ""
        return f"excluded at {self.where}{by}" + (f": {self.reason}" if self.reason else "")


Corrections = Mapping[tuple[str, str], Correction]
"""(`path` or `group`, its name) -> what is said of it."""


def note_columns(schema: LabelSchema) -> list[str]:
    """The columns beside the factors that a table for this schema may have."""
    return [name for name in NOTES if name not in schema.sizes]


def read_corrections(table: Path, schema: LabelSchema, *, other_columns: bool = False) -> Corrections:
    """A CSV with `path` or `group`, a column per factor (an empty cell keeps the label), and perhaps `exclude`,
    `reviewer` and `reason`.

    Args:
        other_columns: there may be columns of other factors, which are not looked at.

    Raises:
        DataError: a row without `path` and `group`, an unknown column or class, or two rows for one; names the row.
    """
    factors = {f.name: position for position, f in enumerate(schema.factors)}
    notes = note_columns(schema)
    found: dict[tuple[str, str], Correction] = {}
    for where, guarded in read_csv(table):
        cells = {from_inert(name): plain(from_inert(cell)) for name, cell in guarded.items()}
        key = next((k for k in TARGETS if cells.get(k)), None)
        if key is None:
            raise DataError(
                f"{where}: no `path` or `group`.", hint="Fill in one of them: a correction is for an image or a group."
            )
        unknown = cells.keys() - factors.keys() - {*TARGETS, *notes}
        if unknown and not other_columns:
            raise DataError(
                f"{table}: unknown column {min(unknown)!r}.",
                hint=f"Use path, group, {', '.join(factors)}; also read: {', '.join(notes)}.",
            )
        labels = {
            i: schema.index_of(schema.factors[i], cells[name], where=where)
            for name, i in factors.items()
            if cells.get(name)
        }
        said = {name: cells.get(name, "") for name in notes}
        new = Correction(where, labels, _excluded(said.get("exclude", ""), where), said.get("reviewer", ""),
                         said.get("reason", ""))  # fmt: skip
        first = found.setdefault((key, cells[key]), new)
        if first is not new:
            raise DataError(
                f"{where}: {key} {cells[key]!r} is also corrected at {first.where}.", hint="Keep one of the rows."
            )
    return found


def _excluded(cell: str, where: str) -> bool | None:
    if alike(cell) not in _EXCLUDE:
        raise DataError(f"{where}: exclude is {cell!r}.", hint="Write `yes` to leave the images out, or nothing.")
    return _EXCLUDE[alike(cell)]


def apply_corrections(manifest: Manifest, table: Path) -> Manifest:
    """Replace labels by those in a table, and leave out what it excludes (`Manifest.excluded`).

    A corrected image is trained on and validated with the corrected label; a label that is confirmed changes nothing.
    What is said of an image goes before what is said of its group.

    Raises:
        DataError: as `read_corrections`; or a row for no labeled image.
    """
    corrections = read_corrections(table, manifest.schema)
    rows: list[Row] = []
    excluded: dict[str, str] = {}
    used: set[tuple[str, str]] = set()
    for row in manifest.rows:
        said = [] if row.labels is None or row.split not in {"train", "val"} else _said_of(row, corrections)
        used.update(key for key, _ in said)
        out = [each for _, each in said if each.exclude is not None]
        if out and out[-1].exclude:
            excluded[row.path] = out[-1].why
        else:
            rows.append(_relabeled(row, said))
    for (key, name), correction in corrections.items():
        if (key, name) not in used:
            raise DataError(
                f"{correction.where}: no labeled image has {key} {name!r}.",
                hint="Fix or remove the row; paths are relative to data.root.",
            )
    return replace(manifest.with_rows(rows), excluded=excluded)


def _said_of(row: Row, corrections: Corrections) -> list[tuple[tuple[str, str], Correction]]:
    """What is said of an image, what counts most at the end."""
    keys = (("group", plain(row.group)), ("path", plain(row.path)))
    return [(key, corrections[key]) for key in keys if key in corrections]


def _relabeled(row: Row, said: list[tuple[tuple[str, str], Correction]]) -> Row:
    new = {factor: label for _, each in said for factor, label in each.labels.items()}
    labels = None if row.labels is None else tuple(new.get(i, old) for i, old in enumerate(row.labels))
    return row if labels == row.labels else row._replace(labels=labels, train_labels=None)
