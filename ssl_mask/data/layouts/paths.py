"""Paths that come from a label file are not trusted: they must stay inside the data set's folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from ssl_mask.errors import DataError, did_you_mean


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


def read_csv(path: Path, *, columns: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a CSV as (`file:line`, {column: stripped text}); the header must hold `columns`.

    Raises:
        DataError: not readable, not UTF-8, a missing column, a row of another length.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}).", hint="Save it as a UTF-8 CSV.") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [h.strip() for h in next(reader, [])]
    for column in columns:
        if column not in header:
            raise DataError(
                f"{path}: no column {column!r}.", hint=did_you_mean(column, header) if header else "It is empty."
            )
    for cells in reader:
        where = f"{path}:{reader.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise DataError(f"{where}: {len(cells)} cells, but the header has {len(header)}.")
        yield where, dict(zip(header, (cell.strip() for cell in cells), strict=True))
