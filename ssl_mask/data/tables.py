"""CSV tables that people write: label files, corrections, allow files, submissions. Each error names its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from ssl_mask.errors import DataError, did_you_mean


def read_csv(path: Path, *, columns: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a CSV as (`file:line`, {column: text without spaces around it}); empty lines are skipped.

    Args:
        columns: the header must have these; it may have more, in any order.

    Raises:
        DataError: the file cannot be read, is not UTF-8, lacks a column, or has a row that does not fit the header.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")  # a line break inside of a cell stays what it is
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.", hint="Check the path and its permissions.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}).", hint="Save it as a UTF-8 CSV.") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [h.strip() for h in next(reader, [])]
    for column in columns:
        if column not in header:
            raise DataError(
                f"{path} has no column {column!r}.",
                hint=did_you_mean(column, header) if header else "The file is empty.",
            )
    for cells in reader:
        where = f"{path}:{reader.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise DataError(
                f"{where}: this row has {len(cells)} cells, but the header has {len(header)}.",
                hint='Fix the row; a comma inside a cell needs quotes: "a, b".',
            )
        yield where, dict(zip(header, (cell.strip() for cell in cells), strict=True))
