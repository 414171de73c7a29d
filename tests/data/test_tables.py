"""CSV and Parquet tables: read as Python's csv module and pandas read them, and refused by line where they are odd."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssl_mask.data.tables import header_of, read_csv, read_table
from ssl_mask.errors import DataError

CELLS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
TABLES = st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=5))


def saved(folder: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def cells_of(path: Path) -> list[list[str]]:
    return [list(cells.values()) for _, cells in read_csv(path)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@given(
    TABLES, st.sampled_from(",;\t|"), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.sampled_from(["\n", "\r\n"])
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_python_writes_is_read_as_python_reads_it(
    folder: Path, table: list[list[str]], delimiter: str, encoding: str, end: str
) -> None:
    out = io.StringIO()
    header = [f"c{i}" for i in range(len(table[0]))]
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([header, *table])
    expected = [[cell.strip() for cell in row] for row in table]
    assert cells_of(saved(folder, out.getvalue(), encoding)) == [row for row in expected if any(row)]


def test_excels_line_that_names_the_separator(tmp_path: Path) -> None:
    path = saved(tmp_path, "sep=;\r\na;b\r\n1;2,5\r\n")
    assert list(read_csv(path)) == [(f"{path}:3", {"a": "1", "b": "2,5"})] and header_of(path) == ["a", "b"]


def test_a_comma_in_the_header_goes_first(tmp_path: Path) -> None:
    assert cells_of(saved(tmp_path, "id,p/a;b;c\n1,2\n")) == [["1", "2"]]


def test_unnamed_columns_but_the_first_are_left_out(tmp_path: Path) -> None:
    path = saved(tmp_path, ",a,,\n7,x,y,z\n")
    assert [cells for _, cells in read_csv(path)] == [{"": "7", "a": "x"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,label,label\na,b,c\n", r"t\.csv: columns 2 and 3 are both called 'label'"),
        ("image,caf\u00e9,cafe\u0301\na,b,c\n", r"t\.csv: columns 2 and 3 are both called 'café'"),
        ("image,label\na,b\n" + "x" * 140_000 + ",b\n", r"t\.csv:3: .*field larger than field limit"),
        ('image,label\na,b\nc,"d\ne,f\n', r"t\.csv:3: .*unexpected end of data"),
        ('image,label\na,"b"c\n', r"t\.csv:2: .*expected after"),
        ("image,label\na,b\nc\0,d\n", r"t\.csv:3: a NUL character"),
        (b"image,label\na,b\nc,\xe9\n", r"t\.csv is not UTF-8 text \(byte \d+, line 3\)"),
        (b"\xff\xfei\0m\0a", r"t\.csv is not UTF-16 text"),
        ("x" * 140_000, "field larger than field limit"),
        ("image,label\na,b,c\n", r"t\.csv:2: this row has 3 cells"),
        ("", r"t\.csv has no column 'image'"),
    ],
)
def test_odd_tables_are_one_clear_error(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_csv(saved(tmp_path, content), columns=("image",)))


def test_a_path_that_cannot_be_is_an_error() -> None:
    with pytest.raises(DataError, match=r"is damaged|Cannot read"):
        list(read_csv(Path("a\0b.csv")))


def parquet(folder: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), folder / "t.parquet")
    return folder / "t.parquet"


def test_a_parquet_table_is_read_as_its_csv(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"image": ["a", "b"], "n": pandas.array([1, None], dtype="Int64"), "x": [0.5, None],
                              "c": pandas.Categorical(["u", "v"]), "t": [True, False]})  # fmt: skip
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    one, other = ([c for _, c in read_table(tmp_path / name, list(frame))] for name in ("t.parquet", "t.csv"))
    assert one == other


def test_whole_numbers_with_a_gap_stay_whole(tmp_path: Path) -> None:
    path = parquet(tmp_path, image=["a", "b"], label=pa.array([7, None], pa.int32()))
    assert [cells["label"] for _, cells in read_table(path, ["label"])] == ["7", ""]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"a"]),
        pa.array([["a"]]),
        pa.array([{"bytes": b"x"}]),
        pa.array([{"a": 1}]),
        pa.array([b"x"], pa.binary(1)),
    ],
)
def test_columns_that_hold_no_text_are_named(tmp_path: Path, column: Any) -> None:
    path = parquet(tmp_path, image=["a"], label=column)
    with pytest.raises(DataError, match=r"t\.parquet: column 'label' holds .*, not text or numbers"):
        list(read_table(path, ["image", "label"]))
    assert len(list(read_table(path, ["image"]))) == 1  # nobody looks at the pictures inside a table


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b[:-12] + bytes(12), lambda b: b"PAR1" + b[4:40]]
)
def test_a_damaged_parquet_file_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = parquet(tmp_path, image=["a"] * 100)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"t\.parquet (is damaged|cannot be read)"):
        list(read_table(path, ["image"]))
