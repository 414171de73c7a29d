"""Images without labels: a folder, or a CSV whose image column names them. No label is ever read here."""

from __future__ import annotations

from pathlib import Path

from ssl_mask.data.images import find_images
from ssl_mask.data.layouts.paths import inside
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError

IMAGE_COLUMNS = ("ImageID", "image", "path", "file", "filename", "id")


def read_images(source: Path, schema: LabelSchema, submission: Submission) -> Manifest:
    """All images below a folder (sorted by path), or those a CSV names (in its order).

    A CSV's names are relative to its own folder, or to an `images` folder next to it (as in eval/info.csv).

    Raises:
        DataError: no such folder or file, no image in it, no image column, a path that leads out of the folder.
    """
    if source.is_dir():
        root = source.absolute()
        rows = [Row(p, "", "test", p, None, id=p) for p in (f.relative_to(root).as_posix() for f in find_images(root))]
    elif source.is_file():
        root = source.absolute().parent
        rows = list(_from_csv(source, root))
    else:
        raise DataError(f"There is no folder or CSV file {source}.", hint="Give one: --images DIR or --images CSV.")
    if not rows:
        raise DataError(f"No images in {source}.", hint="Check the path, or give another folder or CSV.")
    message = f"{len(rows)} images of {source}"
    return Manifest(root, "images", schema, tuple(rows), grouped=False, submission=submission, message=message)


def _from_csv(table: Path, root: Path) -> list[Row]:
    rows: list[Row] = []
    for where, cells in read_csv(table):
        column = next((c for c in IMAGE_COLUMNS if c in cells), None)
        if column is None:
            raise DataError(f"{table} has no image column.", hint=f"Name it one of: {', '.join(IMAGE_COLUMNS)}.")
        name = inside(root, cells[column], where=where)
        path = name if (root / name).exists() or not (root / "images" / name).exists() else f"images/{name}"
        rows.append(Row(path, "", "test", where, None, id=cells[column]))
    return rows
