"""Options of the layouts: names of every kind, each column for one use, nothing outside the data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ssl_mask.config import parse_assignments, resolve
from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import DataError


def read(root: Path, header: str, *lines: str, **options: Any) -> Manifest:
    (root / "t.csv").write_text("\n".join([header, *lines]) + "\n")
    return read_dataset(root, layout="table", options=options)


def test_numbers_are_names() -> None:
    given = ["augment.grid_shuffle_classes=[1, 2]", "loss.class_weights={1: 2.0, 3: 1}", "data.root=2023", "name=7"]
    config = resolve([parse_assignments([*given, "data.unlabeled=[2024, x]"])], has_gpu=lambda: False)
    assert config.augment.grid_shuffle_classes == ("1", "2") and config.data.unlabeled == ("2024", "x")
    assert config.loss.class_weights == {"1": 2.0, "3": 1.0}
    assert config.data.root == Path("2023") and config.name == "7"


def test_columns_may_be_called_by_numbers(tmp_path: Path) -> None:
    made = read(tmp_path, "0,1,2", "a.jpg,x,p", "b.jpg,y,q", image=0, labels=1, group=2)
    assert made.schema.sizes == {"1": 2} and made.grouped and made.rows[0].id == "a.jpg"


@pytest.mark.parametrize("header", ["Image,LABEL", "image ,Label", "IMAGE,label"])
def test_usual_columns_are_known_in_any_case(tmp_path: Path, header: str) -> None:
    assert len(read(tmp_path, header, "a.jpg,x", "b.jpg,y")) == 2
    assert read_dataset(tmp_path).layout == "table"


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        ("image,path,label", {}, r"columns 'image' and 'path' can both be meant by data\.options\.image"),
        ("image,label,class", {}, r"columns 'label' and 'class' can both be meant by data\.options\.labels"),
        ("image,label,person,patient", {}, r"'person' and 'patient' can both be meant by data\.options\.group"),
        ("image,Label,LABEL", {"labels": "label"}, r"'Label' and 'LABEL' can both be meant by data\.options\.labels"),
        ("image,label,label", {}, r"columns 2 and 3 are both called 'label'"),
        ("image,label,g", {"labels": ["label", "label"]}, r"'label' is named twice, by data\.options\.labels and"),
        (
            "image,label,g",
            {"group": "label"},
            r"'label' is named twice, by .*labels and data\.options\.group",
        ),
        ("image,label,g", {"labels": "image"}, r"'image' is named twice, by data\.options\.image and"),
        ("image,label,g", {"split": "image"}, r"'image' is named twice"),
        ("image,sha256,g", {"labels": "sha256"}, r"label column 'sha256' has the name of a column that sslmask writes"),
        ("path,flips,g", {"labels": "flips"}, r"label column 'flips' has the name of a column that sslmask writes"),
        ("image,a,train_a", {"labels": ["a", "train_a"]}, r"label column 'train_a' has the name of a column"),
    ],
)
def test_columns_that_could_mean_two_things_are_refused(
    tmp_path: Path, header: str, options: dict[str, Any], message: str
) -> None:
    width = header.count(",") - 1
    with pytest.raises(DataError, match=message):
        read(tmp_path, header, "a.jpg,x" + ",p" * width, "b.jpg,y" + ",q" * width, **options)


def test_naming_one_of_two_columns_settles_it(tmp_path: Path) -> None:
    made = read(tmp_path, "image,path,label", "a.jpg,x.jpg,p", "b.jpg,y.jpg,q", image="path")
    assert [r.path for r in made.rows] == ["x.jpg", "y.jpg"]


@pytest.mark.parametrize("file", ["../t.csv", "/etc/passwd", "sub/../../t.csv"])
def test_the_table_is_below_the_data_folder(tmp_path: Path, file: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (tmp_path / "t.csv").write_text("image,label\na.jpg,x\nb.jpg,y\n")
    with pytest.raises(DataError, match=r"data\.options\.file: the path .* (leads out of|is outside)"):
        read_dataset(root, options={"file": file})


def test_classes_that_differ_in_case_only_are_said(tmp_path: Path) -> None:
    made = read(tmp_path, "image,label", "a.jpg,Cat", "b.jpg,cat", "c.jpg,dog")
    assert made.notes == ("'Cat' and 'cat' differ only in upper and lower case: they are two classes.",)


def test_an_image_in_two_rows_of_the_groups_is_refused(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "dog/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    table = tmp_path / "g.csv"
    for last, message in (
        ("cat/1.jpg,z", r"g\.csv:4: cat/1\.jpg is also named at .*g\.csv:2"),
        ("x,", r"g\.csv:4: the group is"),
    ):
        table.write_text(f"image,group\ncat/1.jpg,x\ndog/2.jpg,y\n{last}\n")
        with pytest.raises(DataError, match=message):
            read_dataset(tmp_path, options={"group_csv": "g.csv"})


def test_an_expression_whose_group_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "dog/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"dog/2\.jpg: data\.options\.group_regex"):
        read_dataset(tmp_path, options={"group_regex": "(cat)?/"})


def test_a_folder_that_cannot_be_listed_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"cannot list this folder \(Permission denied\)"):
        read_dataset(tmp_path)
    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(DataError, match=r"Cannot read .*Permission denied"):
        read_dataset(tmp_path)
