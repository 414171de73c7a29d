"""Images without labels: a folder, one image, a glob, or a CSV whose image column names them. No label is read here."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from os.path import realpath  # Path.resolve raises RuntimeError for a link to itself
from pathlib import Path

from ssl_mask.data.image_files import find_images, is_image_name
from ssl_mask.data.layouts.paths import Finder, inside
from ssl_mask.data.layouts.table import GROUP_NAMES, IMAGE_NAMES, LABEL_NAMES
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.names import alike
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError


def read_images(
    source: str | Path, schema: LabelSchema, submission: Submission, *, bases: Sequence[Path] = (Path(),),
    flag: str = "--images",
) -> Manifest:  # fmt: skip
    """All images of a source: those below a folder or of a glob (sorted by path), or those a CSV names (in its order).

    A CSV's names are relative to its own folder, or to an `images` folder next to it (as in eval/info.csv).

    Args:
        source: a folder, an image, a glob or a CSV; see `find_source`.
        submission: its id column names the images of a CSV, where it has that column.
        flag: that named the source, for messages.

    Raises:
        DataError: no such source, no image in it, no image column or several, a path that leads out of the folder.
    """
    places = find_source(source, bases, flag=flag)
    first = places[0].absolute()
    if len(places) == 1 and first.is_dir():
        root, rows = first, _rows(find_images(first), first)
    elif len(places) == 1 and not is_image_name(first.name):
        root, rows = first.parent, _of_csv(places[0], first.parent, submission.id_column)
    else:
        files = [f for place in places for f in (find_images(place) if place.is_dir() else [place.absolute()])]
        root = Path(os.path.commonpath([f.absolute().parent for f in files] or [first]))
        rows = _rows(files, root)
    if not rows:
        raise DataError(f"No images in {source}.", hint=f"Check the path, or give {flag} another folder, glob or CSV.")
    message = f"{len(rows)} images of {source}"
    return Manifest(root, "images", schema, tuple(rows), grouped=False, submission=submission, message=message)


def find_source(source: str | Path, bases: Sequence[Path], *, flag: str) -> list[Path]:
    """The file or folder that a source names, or else the images and folders that match it as a glob, sorted.

    What exists is taken as it is: `photos [2023]` and the first part of `photos [2023]/*.jpg` are folders, no patterns.

    Args:
        bases: folders that the source may be relative to. `./x` is in the first one.

    Raises:
        DataError: none has it, or two have something else each; the message names `flag`.
    """
    found = [matches for base in bases if (matches := _matches(base, str(source)))]
    if not found:
        raise DataError(
            f"There is no folder or file {str(source)!r}, and no match for it.",
            hint=f"Give {flag} a folder, one image, a quoted glob, or a CSV.",
        )
    first, last = found[0], found[-1]
    if not str(source).startswith(".") and {*map(realpath, first)} != {*map(realpath, last)}:
        raise DataError(
            f"{str(source)!r} can be {first[0]} or {last[0]}: it is in the working folder and in the data set's.",
            hint=f"Write the whole path of the one you mean, such as {first[0]}.",
        )
    return first


def _matches(base: Path, source: str) -> list[Path]:
    if os.path.lexists(base / source):
        return [base / source]
    if not glob.has_magic(source):
        return []
    folder, pattern = _literal_part(base, Path(source))
    matches = [folder / m for m in sorted(glob.glob(pattern, root_dir=folder, recursive=True))]  # noqa: PTH207 - **
    return [m for m in matches if m.is_dir() or is_image_name(m.name)]


def _literal_part(base: Path, source: Path) -> tuple[Path, str]:
    """As much of a glob as exists, and what is left of it to match below."""
    folder, parts = base / source.anchor, list(source.parts[1:] if source.anchor else source.parts)
    while len(parts) > 1 and (folder / parts[0]).is_dir():
        folder /= parts.pop(0)
    return folder, str(Path(*parts))


def image_column(header: Sequence[str], table: Path, first: str = "") -> str:
    """The column that names the images: `first` where it is there, else the only one with a usual name, else `id`.

    Raises:
        DataError: none, or several that may be meant.
    """
    if first in header:
        return first
    found = [name for name in header if alike(name) in {alike(n) for n in IMAGE_NAMES}]
    found = found or [name for name in header if alike(name) == "id"]
    if not found:
        known = dict.fromkeys([*([first] if first else []), *IMAGE_NAMES, "id"])
        raise DataError(f"{table} has no image column.", hint=f"Name it one of: {', '.join(known)}.")
    if len(found) > 1:
        raise DataError(
            f"{table}: the columns {' and '.join(map(repr, found))} can both be meant by the image column.",
            hint=f"Rename all but one{f', or name that one {first!r}' if first else ''}.",
        )
    return found[0]


def group_and_label(table: Path) -> dict[Path, tuple[str, str]]:
    """Image -> its group and its label in a CSV, where columns have one of the usual names; "" where they have not."""
    images = read_images(table, LabelSchema(()), Submission("", (), "names"))
    found: dict[Path, tuple[str, str]] = {}
    for path, (_, cells) in zip(images.files, read_csv(table), strict=True):
        group, label = (next((cells[n] for n in names if n in cells), "") for names in (GROUP_NAMES, LABEL_NAMES))
        found[path] = group, label
    return found


def _rows(files: Sequence[Path], root: Path) -> list[Row]:
    return [Row(p, "", "test", p, None, id=p) for p in (f.absolute().relative_to(root).as_posix() for f in files)]


def _of_csv(table: Path, root: Path, id_column: str) -> list[Row]:
    rows: list[Row] = []
    finder, column = Finder(root), ""
    for where, cells in read_csv(table):
        column = column or image_column(list(cells), table, id_column)
        name = inside(root, cells[column], where=where)
        found = finder.find(name, where=where) or finder.find(f"images/{name}", where=where)
        rows.append(Row(found or name, "", "test", where, None, id=cells[column]))
    return rows
