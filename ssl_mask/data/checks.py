"""Checks and changes of a complete manifest: label corrections, names, links that lead outside."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.data.names import plain
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError

_NOT_UTF8 = re.compile("[\ud800-\udfff]")  # how Python keeps the bytes of a file's name that are not UTF-8
_FORMULA = re.compile(r"[=+\-@](?![\d.]+$)")  # a number is none


def apply_corrections(manifest: Manifest, table: Path) -> Manifest:
    """Replace labels by those in a CSV: `path` or `group`, then one column per factor; an empty cell keeps the label.

    A corrected image is trained on and validated with the corrected label.

    Raises:
        DataError: an unknown path, group, column or class, or two rows for one; the message names the row.
    """
    factors = {f.name: position for position, f in enumerate(manifest.schema.factors)}
    changes: dict[tuple[str, str], tuple[str, dict[int, int]]] = {}
    for where, cells in read_csv(table):
        key = next((k for k in ("path", "group") if cells.get(k)), None)
        if key is None:
            raise DataError(
                f"{where}: no `path` or `group`.", hint="Fill in one of them: a correction is for an image or a group."
            )
        unknown = cells.keys() - factors.keys() - {"path", "group"}
        if unknown:
            raise DataError(
                f"{table}: unknown column {min(unknown)!r}.", hint=f"Use path, group, {', '.join(factors)}."
            )
        new = {
            i: manifest.schema.index_of(manifest.schema.factors[i], plain(cells[name]), where=where)
            for name, i in factors.items()
            if cells.get(name)
        }
        first = changes.setdefault((key, plain(cells[key])), (where, new))[0]
        if first != where:
            raise DataError(
                f"{where}: {key} {cells[key]!r} is also corrected at {first}.", hint="Keep one of the rows."
            )
    rows, used = _corrected(manifest, changes)
    for target, (where, _) in changes.items():
        if target not in used:
            raise DataError(
                f"{where}: no labeled image has {target[0]} {target[1]!r}.",
                hint="Fix or remove the row; paths are relative to data.root.",
            )
    return manifest.with_rows(rows)


def _corrected(
    manifest: Manifest, changes: dict[tuple[str, str], tuple[str, dict[int, int]]]
) -> tuple[list[Row], set[tuple[str, str]]]:
    rows: list[Row] = []
    used: set[tuple[str, str]] = set()
    for row in manifest.rows:
        new: dict[int, int] = {}
        for key in (
            ("group", row.group),
            ("path", plain(row.path)),
        ):  # an image's own correction goes before its group's
            if key in changes and row.labels is not None and row.split in {"train", "val"}:
                new |= changes[key][1]
                used.add(key)
        if new and row.labels is not None:
            labels = tuple(new.get(i, old) for i, old in enumerate(row.labels))
            row = row._replace(labels=labels, train_labels=None)  # noqa: PLW2901
        rows.append(row)
    return rows, used


def check_names(manifest: Manifest, console: Console) -> None:
    """Refuse paths that no CSV and no Parquet file can hold; warn of names that a spreadsheet runs as formulas.

    Raises:
        DataError: a path that is not UTF-8.
    """
    raw = [name for name in (str(manifest.root), *(r.path for r in manifest.rows)) if _NOT_UTF8.search(name)]
    if raw:
        raise DataError(
            f"{len(raw)} paths are not UTF-8, for example {os.fsencode(raw[0])!r}: tables of images cannot hold them.",
            hint="Rename them, for example: convmv -f latin1 -t utf8 -r --notest FOLDER",
        )
    named = {name for r in manifest.rows for name in (r.path, r.id, r.group)}
    named |= {name for f in manifest.schema.factors for name in (f.name, *f.classes)}
    formulas = sorted(name for name in named if _FORMULA.match(name))
    if formulas:
        console.warn(
            f"{len(formulas)} names begin with =, +, - or @, for example {formulas[0]!r}. They are written to CSV "
            "files as they are; a spreadsheet runs such cells as formulas: import the columns as text."
        )


def refuse_escapes(manifest: Manifest, places: Sequence[Path] = ()) -> None:
    """Refuse links that lead out of the data set's folder.

    Args:
        places: the folders that images may be in; none: the manifest's root.

    Raises:
        DataError: the real location of an image is outside the folders.
    """
    named = places or [manifest.root]
    real = {p.resolve() for p in named}
    for row, path in zip(manifest.rows, manifest.files, strict=True):
        target = path.resolve()
        if real.isdisjoint(target.parents):
            what = "" if target == path else "a link to a file "
            raise DataError(
                f"{row.source}: {row.path} is {what}outside {' and '.join(dict.fromkeys(map(str, named)))}.",
                hint="Copy the image into the folder, or allow such links with --set data.outside_root=allow.",
            )
