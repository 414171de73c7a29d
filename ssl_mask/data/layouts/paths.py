"""Paths from a label file are not trusted: they must stay inside the data set's folder."""

from __future__ import annotations

from pathlib import Path

from ssl_mask.errors import DataError


def safe_root(root: Path) -> Path:
    """The absolute path of `root`.

    Raises:
        DataError: it is not a folder.
    """
    if not root.is_dir():
        raise DataError(f"There is no folder {root}.", hint="Give the data set's folder: --data DIR (or data.root).")
    return root.absolute()


def inside(root: Path, relative: str, *, where: str) -> str:
    """`relative` in normal form, with forward slashes and relative to `root`.

    Only the text is checked here; links that lead out are found later, by `ssl_mask.data.checks.refuse_escapes`.

    Raises:
        DataError: it is empty, or leads out of `root` (`..`, an absolute path); the message names `where`.
    """
    text = relative.replace("\\", "/")
    path = Path(text)
    if path.is_absolute():
        if not path.is_relative_to(root):
            raise DataError(
                f"{where}: the path {relative!r} is outside {root}.", hint="Use paths below the data folder."
            )
        path = path.relative_to(root)
    if not text:
        raise DataError(f"{where}: the path is empty.", hint="Fill it in, or remove the row.")
    if ".." in path.parts or "\0" in text:
        raise DataError(f"{where}: the path {relative!r} leads out of {root}.", hint="Use paths below the data folder.")
    return path.as_posix()
