"""Tables that people write: label files, corrections, allow files, submissions. Each error names its line."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ssl_mask.data.names import plain
from ssl_mask.errors import DataError, did_you_mean
from ssl_mask.reading import one_line, reading, regular

DELIMITERS = ",;\t|"
"""Spreadsheets of most European locales write `;`. A comma that splits the header goes first."""

_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_HEADER_BYTES = 1 << 16
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n")


def read_csv(path: Path, *, columns: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a CSV as (`file:line`, {column: text without spaces around it}); empty lines are skipped.

    It is UTF-8, or UTF-16 with a byte order mark; its header is split by `,`, `;`, a tab or `|`. Columns without a name
    are left out, but for the first one.

    Args:
        columns: the header must have these; it may have more, in any order.

    Raises:
        DataError: the file cannot be read, is no such text, lacks a column, has two of one name, or has a row that does
            not fit the header.
    """
    text = _decode(path, _content(path))
    line = 1
    try:
        reader = _reader(text)
        header = [plain(h) for h in next(reader, [])]
        _check_header(path, header, columns)
        line = reader.line_num + 1
        unnamed = [i for i, name in enumerate(header) if not name][1:]
        for cells in reader:
            line = reader.line_num + 1
            where = f"{path}:{reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{where}: this row has {len(cells)} cells, but the header has {len(header)}.",
                    hint='Fix the row; a comma inside a cell needs quotes: "a, b".',
                )
            yield where, {h: c.strip() for i, (h, c) in enumerate(zip(header, cells, strict=True)) if i not in unnamed}
    except csv.Error as error:
        hint = 'A quote (") without its partner takes all that follows into one cell: close or remove it.'
        raise DataError(f"{path}:{line}: this row cannot be read ({one_line(error)}).", hint=hint) from error


def header_of(path: Path) -> list[str]:
    """The column names of a CSV or Parquet file, as they are: a name may be there twice.

    Raises:
        DataError: the file cannot be read, or is no table.
    """
    if path.suffix.lower() == ".parquet":
        return [plain(name) for name in _parquet_schema(path).names]
    try:
        return [plain(h) for h in next(_reader(_decode(path, _content(path, _HEADER_BYTES))), [])]
    except csv.Error as error:
        raise DataError(f"{path}:1: the header cannot be read ({one_line(error)}).", hint="Fix its quotes.") from error


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """These columns of a CSV or Parquet file, in rows as `read_csv` gives them; of a Parquet file nothing else is read.

    Raises:
        DataError: as `read_csv`; or a Parquet column that holds neither text nor numbers.
    """
    if path.suffix.lower() != ".parquet":
        yield from read_csv(path, columns=columns)
        return
    import pyarrow.parquet
    from pyarrow import types

    schema = _parquet_schema(path)
    _check_header(path, [plain(n) for n in schema.names], columns)
    stored = {plain(name): name for name in schema.names}
    for name in columns:
        kind = schema.field(stored[name]).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        if types.is_nested(kind) or "binary" in str(kind):
            raise DataError(f"{path}: column {name!r} holds {kind}, not text or numbers.", hint="Save it as text.")
    with reading(path, DataError, hint="Save it as Parquet or CSV again."):
        # Without threads: one process a core may read this.
        table = pyarrow.parquet.read_table(path, columns=[stored[n] for n in columns], use_threads=False)
        texts = {name: _texts(table.column(stored[name])) for name in columns}
    for number in range(table.num_rows):
        yield f"{path} row {number}", {name: texts[name][number].strip() for name in columns}


def _content(path: Path, most: int = -1) -> bytes:
    with reading(path, DataError, hint="Check the path and its permissions."), regular(path).open("rb") as file:
        return file.read(most)


def _decode(path: Path, content: bytes) -> str:
    encoding = next((e for bom, e in _BOMS.items() if content.startswith(bom)), "utf-8")
    whole = len(content) != _HEADER_BYTES  # a header is cut somewhere, perhaps inside a letter
    try:
        text = content.decode(encoding, errors="strict" if whole else "ignore")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path} is not {encoding.removesuffix('-sig').upper()} text (byte {error.start}, line {line}).",
            hint="Save it as a UTF-8 CSV.",
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{path}:{line}: a NUL character: this is not a text file.", hint="Save it as a UTF-8 CSV.")
    return text


def _reader(text: str) -> Any:
    if told := _SEPARATOR_LINE.match(text):  # Excel reads and writes this line
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=told[1], strict=True)
        next(reader)
        return reader
    start = text[:_HEADER_BYTES]
    width = {d: len(next(csv.reader(io.StringIO(start, newline=""), delimiter=d), [])) for d in DELIMITERS}
    delimiter = "," if width[","] > 1 else max(DELIMITERS, key=lambda d: width[d])
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    for column in columns:
        if column not in header:
            hint = did_you_mean(column, list(header)) if any(header) else "The file is empty."
            raise DataError(f"{path} has no column {column!r}.", hint=hint)
    for position, name in enumerate(header):
        if name and name in header[:position]:
            raise DataError(
                f"{path}: columns {header.index(name) + 1} and {position + 1} are both called {name!r}.",
                hint="Rename or remove one of them.",
            )


def _parquet_schema(path: Path) -> Any:
    import pyarrow.parquet

    with reading(path, DataError, hint="Save it as Parquet or CSV again."):
        return pyarrow.parquet.read_schema(regular(path))


def _texts(column: Any) -> list[str]:
    """The cells of a Parquet column as CSV would hold them; nothing for a missing value."""
    from pyarrow import string, types

    if types.is_integer(column.type):
        column = column.cast(string())  # pandas would make floats of whole numbers where one is missing: `1.0`
    return [str(text) for text in column.to_pandas().astype("string").fillna("")]
