"""Tables, as CSV and as Parquet: columns found or named, splits honoured, refusals that name the row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest

from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import DataError

Cells = dict[str, list[Any]]
PLAIN: Cells = {"image": ["a.jpg", "b.jpg", "c.jpg"], "label": ["dog", "cat", "dog"]}


def save(root: Path, cells: Cells, kind: str = "csv") -> Path:
    frame = pandas.DataFrame(cells)
    if kind == "csv":
        frame.to_csv(root / "labels.csv", index=False)
    else:
        frame.to_parquet(root / "labels.parquet")
    return root


def read(root: Path, cells: Cells, kind: str = "csv", **options: Any) -> Manifest:
    return read_dataset(save(root, cells, kind), options=options)


def refused(root: Path, cells: Cells, message: str, kind: str = "csv", **options: Any) -> str:
    with pytest.raises(DataError, match=message) as caught:
        read(root, cells, kind, **options)
    return caught.value.hint


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_plain_table(tmp_path: Path, kind: str) -> None:
    made = read(tmp_path, PLAIN, kind)
    assert made.layout == "table" and not made.grouped and made.schema.factors[0].classes == ("cat", "dog")
    assert [(r.path, r.group, r.split, r.labels) for r in made.rows] == [
        ("a.jpg", "a.jpg", "train", (1,)),
        ("b.jpg", "b.jpg", "train", (0,)),
        ("c.jpg", "c.jpg", "train", (1,)),
    ]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_several_labels_group_and_split(tmp_path: Path, kind: str) -> None:
    cells: Cells = {
        "file": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"], "shape": ["disc", "box", "", "disc"], "n": ["10", "9", "", "9"],
        "who": ["x", "y", "", "z"], "part": ["Training", "valid", "eval", "unlabeled"],
    }  # fmt: skip
    made = read(tmp_path, cells, kind, labels=["shape", "n"], group="who", split="part")
    assert [f.classes for f in made.schema.factors] == [("box", "disc"), ("9", "10")] and made.grouped
    assert [(r.split, r.group, r.labels) for r in made.rows] == [
        ("train", "x", (1, 1)), ("val", "y", (0, 0)), ("test", "", None), ("unlabeled", "z", None),
    ]  # fmt: skip
    assert made.submission == ("file", ("shape", "n"), "names")


def test_images_folder_is_put_before_the_path_and_the_id_is_kept(tmp_path: Path) -> None:
    made = read(tmp_path, PLAIN, images="photos")
    assert (made.rows[0].path, made.rows[0].id) == ("photos/a.jpg", "a.jpg")


@pytest.mark.parametrize(
    ("options", "hint"),
    [({"labels": ["lable"]}, "'label'"), ({"image": "imge"}, "'image'"), ({"group": "labl"}, "'label'")],
)
def test_an_unknown_column_is_answered_with_the_closest(tmp_path: Path, options: dict[str, Any], hint: str) -> None:
    assert hint in refused(tmp_path, PLAIN, r"labels\.csv has no column '.*' \(data\.options\.", **options)


def test_columns_without_usual_names_must_be_named(tmp_path: Path) -> None:
    hint = refused(tmp_path, {"x": ["a.jpg"], "y": ["cat"]}, "no image column found", file="labels.csv")
    assert "data.options.image=COLUMN" in hint and "x, y" in hint


@pytest.mark.parametrize(("kind", "where"), [("csv", r"labels\.csv:3"), ("parquet", r"labels\.parquet row 1")])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": ["train", "trian", "val"]}, "unknown split 'trian'"),
        ({"label": ["dog", "", "cat"]}, "label column 'label' is empty"),
        ({"label": ["dog", None, "cat"]}, "label column 'label' is empty"),
        ({"image": ["a.jpg", "a.jpg", "c.jpg"]}, "a.jpg is also named at"),
        ({"image": ["a.jpg", "./a.jpg", "c.jpg"]}, "a.jpg is also named at"),
        ({"image": ["a.jpg", "/etc/passwd", "c.jpg"]}, "the path '/etc/passwd' is outside"),
        ({"image": ["a.jpg", "../b.jpg", "c.jpg"]}, "the path '../b.jpg' leads out of"),
        ({"image": ["a.jpg", "", "c.jpg"]}, "the path is empty"),
        ({"group": ["x", "", "y"]}, "group column 'group' is empty"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, kind: str, where: str, change: Cells, message: str) -> None:
    assert refused(tmp_path, {**PLAIN, **change}, f"{where}: {message}", kind)


def test_an_absolute_path_inside_the_folder_is_the_same_image(tmp_path: Path) -> None:
    made = read(tmp_path, {**PLAIN, "image": [str(tmp_path / "a.jpg"), "b.jpg", "c.jpg"]})
    assert made.rows[0].path == "a.jpg"


def test_two_tables_must_be_told_apart(tmp_path: Path) -> None:
    (save(tmp_path, PLAIN) / "other.csv").write_text("image,label\nz.jpg,cat\ny.jpg,dog\n")
    with pytest.raises(DataError, match=r"expected one table, found labels\.csv, other\.csv"):
        read_dataset(tmp_path, layout="table")
    assert len(read_dataset(tmp_path, options={"file": "other.csv"})) == 2


@pytest.mark.parametrize(
    ("name", "content"), [("t.csv", b""), ("t.csv", b"image,label\n"), ("t.csv", b"\xff\xfe"), ("t.parquet", b"PAR1")]
)
def test_an_unreadable_or_empty_table_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        read_dataset(tmp_path, layout="table")
    with pytest.raises(DataError):
        read_dataset(tmp_path)
