"""Checks of a complete manifest: names, and links that lead outside."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import DataError

_NOT_UTF8 = re.compile("[\ud800-\udfff]")  # how Python keeps the bytes of a file's name that are not UTF-8
_FORMULA = re.compile(r"[=+\-@](?![\d.]+$)")  # a number is none


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
    inside: dict[Path, bool] = {}  # a folder is looked up once: of a million files that is minutes
    for row, path in zip(manifest.rows, manifest.files, strict=True):
        folder = path.resolve().parent if path.is_symlink() else path.parent
        if folder not in inside:
            there = folder.resolve()
            inside[folder] = not real.isdisjoint({there, *there.parents})
        if not inside[folder]:
            target = path.resolve()
            what = "" if target == path else "a link to a file "
            raise DataError(
                f"{row.source}: {row.path} is {what}outside {' and '.join(dict.fromkeys(map(str, named)))}.",
                hint="Copy the image into the folder, or allow such links with --set data.outside_root=allow.",
            )
