"""Paths that come from a label file are not trusted: they must stay inside the data set's folder."""

from __future__ import annotations

from pathlib import Path

from ssl_mask.errors import DataError


def safe_root(root: Path) -> Path:
    """`root` made absolute.

    Raises:
        DataError: not a folder.
    """
    if not root.is_dir():
        raise DataError(f"No folder {root}.", hint="Give the data set's folder: --data DIR (or data.root).")
    return root.absolute()


def inside(root: Path, relative: str, *, where: str) -> str:
    """`relative` in normal form, refused when it leads out of `root` by its words (`..`, an absolute path).

    Links are checked once the manifest is complete, see `ssl_mask.data.checks`.

    Raises:
        DataError: names `where`.
    """
    text = relative.replace("\\", "/")
    path = Path(text)
    if path.is_absolute():
        if not path.is_relative_to(root):
            raise DataError(
                f"{where}: the path {relative!r} is outside {root}.", hint="Use paths below the data folder."
            )
        path = path.relative_to(root)
    if ".." in path.parts or not text or "\0" in text:
        raise DataError(f"{where}: the path {relative!r} leads out of {root}.", hint="Use paths below the data folder.")
    return path.as_posix()
