"""Checks and changes of a complete manifest: label corrections, links that lead outside, another run's validation."""

from __future__ import annotations

from pathlib import Path

from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError


def apply_corrections(manifest: Manifest, table: Path) -> Manifest:
    """Replace labels by those in a CSV: `path` or `group`, then one column per factor; an empty cell keeps the label.

    A corrected image is trained on and validated with the corrected label.

    Raises:
        DataError: an unknown path, group, column or class; the message names the row.
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
            i: manifest.schema.index_of(manifest.schema.factors[i], cells[name], where=where)
            for name, i in factors.items()
            if cells.get(name)
        }
        changes[key, cells[key]] = (where, new)
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
        for key in (("group", row.group), ("path", row.path)):  # an image's own correction goes before its group's
            if key in changes and row.labels is not None and row.split in {"train", "val"}:
                new |= changes[key][1]
                used.add(key)
        if new and row.labels is not None:
            labels = tuple(new.get(i, old) for i, old in enumerate(row.labels))
            row = row._replace(labels=labels, train_labels=None)  # noqa: PLW2901
        rows.append(row)
    return rows, used


def refuse_escapes(manifest: Manifest) -> None:
    """Refuse links that lead out of the data set's folder.

    Raises:
        DataError: the real location of an image is outside the folder.
    """
    root = manifest.root.resolve()
    for row, path in zip(manifest.rows, manifest.files, strict=True):
        real = path.resolve()
        if not real.is_relative_to(root):
            raise DataError(
                f"{row.source}: {row.path} is a link to a file outside {manifest.root}.",
                hint="Copy the image into the folder, or allow such links with --set data.outside_root=allow.",
            )


def refuse_other_validation(run: Path, table: Path, val: Manifest) -> None:
    """Refuse a run that has other validation images: it may have been trained on these.

    Args:
        run: named in the message.
        table: the run's manifest.csv.
        val: validation rows, with or without digests.

    Raises:
        DataError: the validation images are not the same.
    """
    rows = [cells for _, cells in read_csv(table, columns=("path", "split"))]
    trained = {cells["path"] for cells in rows if cells["split"] == "train"}
    if {cells["path"] for cells in rows if cells["split"] == "val"} != {r.path for r in val.rows}:
        shared = sum(r.path in trained for r in val.rows)
        raise DataError(
            f"{run} has other validation images: it was trained on {shared} of these {len(val)}.",
            hint="Its score would not compare, or be optimistic. Use its data.split_seed, data.fold and data.folds.",
        )
