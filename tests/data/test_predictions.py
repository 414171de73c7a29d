"""The predictions table: what is written is read, and each kind of damage is one error that names the file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.predictions import read_predictions, read_validation, write_predictions
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError

SCHEMA = LabelSchema((Factor("shape", ("round", "square")), Factor("size", ("small", "big"))))
ROWS = (
    Row("a/1.jpg", "ann", "val", "t", (1, 0), digest="d1"),
    Row("a/2.jpg", "", "unlabeled", "t", None, id="two", digest="d2"),
    Row("b/3.jpg", "bob", "val", "t", (0, 1), digest=""),
)
PROBS = np.asarray([[0.1, 0.2, 0.6, 0.1], [0.7, 0.1, 0.1, 0.1], [np.nan] * 4], dtype=np.float32)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    rows = Manifest(tmp_path, "table", SCHEMA, ROWS, True, Submission("image", ("shape", "size"), "names"))
    write_predictions(tmp_path / "p.parquet", rows, PROBS, fold=2, more={"flips": [0, 3, 1], "why": ["", "", "cut"]})
    return tmp_path / "p.parquet"


def test_the_columns_are_those_of_every_predictions_file(written: Path) -> None:
    names = pq.read_schema(written).names
    classes = ["p/round/small", "p/round/big", "p/square/small", "p/square/big"]
    assert names == ["id", "path", "sha256", "group", "fold", "true", "predicted", *classes, "flips", "why"]


def test_what_is_written_is_read(written: Path) -> None:
    table = read_predictions(written, SCHEMA, more=["flips"])
    assert len(table) == 3
    assert table.classes == SCHEMA.joint_classes
    assert table.id.tolist() == ["a/1.jpg", "two", "b/3.jpg"]
    assert table.path.tolist() == [r.path for r in ROWS]
    assert table.sha256.tolist() == ["d1", "d2", ""]
    assert table.group.tolist() == ["ann", "", "bob"]
    assert table.fold.tolist() == [2, 2, 2]
    assert table.true.tolist() == [2, -1, 1]
    assert table.predicted.tolist() == [2, 0, -1]
    assert table.probs.dtype == np.float32
    np.testing.assert_array_equal(table.probs, PROBS)
    assert {k: v.tolist() for k, v in table.more.items()} == {"flips": [0, 3, 1], "why": ["", "", "cut"]}


def test_a_table_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    rows = Manifest(tmp_path, "table", SCHEMA, (), True, Submission("image", (), "names"))
    write_predictions(tmp_path / "p.parquet", rows, np.empty((0, 4), np.float32))
    table = read_predictions(tmp_path / "p.parquet", SCHEMA)
    assert len(table) == 0
    assert table.probs.shape == (0, 4)


def test_reading_imports_neither_pandas_nor_torch(written: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom ssl_mask.data.predictions import read_predictions\n"
        f"table = read_predictions(Path({str(written)!r}))\n"
        "print(len(table), sorted({'pandas', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "3 []\n"


def change(path: Path, how: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(how(pq.read_table(path)), path)


def replaced(name: str, values: list[object]) -> Callable[[pa.Table], pa.Table]:
    return lambda t: t.set_column(t.column_names.index(name), name, pa.array(values))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (lambda p: p.unlink(), "There is no"),
    "no Parquet": (lambda p: p.write_bytes(b"PAR1 no more"), "is damaged"),
    "cut off": (lambda p: p.write_bytes(p.read_bytes()[:-60]), "is damaged"),
    "no group": (lambda p: change(p, lambda t: t.drop_columns(["group"])), "has no column 'group'"),
    "no further column": (lambda p: change(p, lambda t: t.drop_columns(["flips"])), "has no column 'flips'"),
    "no probabilities": (
        lambda p: change(p, lambda t: t.select([n for n in t.column_names if not n.startswith("p/")])),
        "has no probabilities",
    ),
    "a class less": (lambda p: change(p, lambda t: t.drop_columns(["p/round/big"])), "made for other classes"),
    "words for numbers": (
        lambda p: change(p, replaced("p/round/big", ["x", "y", "z"])),
        "'p/round/big' is not a number",
    ),
    "words for classes": (lambda p: change(p, replaced("true", ["x", "y", "z"])), "'true' is not a number"),
    "bytes for paths": (lambda p: change(p, replaced("path", [b"\xff", b"", b"x"])), "'path' is not text in every row"),
    "no digest": (lambda p: change(p, replaced("sha256", ["a", None, "b"])), "'sha256' is not text in every row"),
    "no number": (lambda p: change(p, replaced("fold", [1, None, 2])), "'fold' is not a number in every row"),
    "half a fold": (lambda p: change(p, replaced("fold", [1.5, 1.0, 2.0])), "is damaged"),
    "above 1": (lambda p: change(p, replaced("p/round/big", [0.2, 2.0, float("nan")])), "probabilities of row 1"),
    "below 0": (lambda p: change(p, replaced("p/round/big", [-0.2, 0.1, float("nan")])), "probabilities of row 0"),
    "a sum of 1.3": (lambda p: change(p, replaced("p/round/big", [0.5, 0.1, float("nan")])), "probabilities of row 0"),
    "NaN in part": (lambda p: change(p, replaced("p/round/big", [float("nan"), 0.1, 0.1])), "probabilities of row 0"),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), "it is a folder"),
    "a device": (lambda p: (p.unlink(), p.symlink_to("/dev/zero")), "it is a pipe or a device"),
    "no such class": (lambda p: change(p, replaced("predicted", [0, 4, 1])), "'predicted' holds a number"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_file_is_named(written: Path, name: str) -> None:
    damage, message = BROKEN[name]
    damage(written)
    with pytest.raises(DataError, match=message) as caught:
        read_predictions(written, SCHEMA, more=["flips"])
    assert str(written) in caught.value.problem
    assert caught.value.hint


@pytest.mark.parametrize(("rows", "problem"), [(0, "holds no images"), (2, "an image without a class")])
def test_validation_images_are_there_and_have_a_class(written: Path, rows: int, problem: str) -> None:
    pq.write_table(pq.read_table(written).slice(0, rows), written)
    with pytest.raises(DataError, match=problem) as told:
        read_validation(written, SCHEMA)
    assert str(written) in str(told.value)


def test_validation_images_with_a_class_are_read(written: Path) -> None:
    pq.write_table(pq.read_table(written).slice(0, 1), written)
    assert read_validation(written, SCHEMA).true.tolist() == [2]
