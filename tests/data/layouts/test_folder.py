"""Class folders: plain and by split, groups by expression and by table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ssl_mask.data.layouts import read_dataset
from ssl_mask.errors import ConfigError, DataError


def make(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()  # layouts read names, never pixels
    return root


PLAIN = ("cat/p1_a.jpg", "cat/p2_b.PNG", "dog/p1_c.jpg", "dog/deep/p3_d.jpeg")
BY_SPLIT = ("train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg", "test/dog/4.jpg", "test/5.jpg")


def test_plain_class_folders(tmp_path: Path) -> None:
    made = read_dataset(make(tmp_path, *PLAIN, "cat/.hidden.jpg", "cat/notes.txt", "loose.jpg"))
    assert made.layout == "folder" and made.schema.factors[0].classes == ("cat", "dog") and not made.grouped
    assert {(r.path, r.split, r.labels) for r in made.rows} == {
        (p, "train", (int(p.startswith("dog")),)) for p in PLAIN
    }
    assert [r.group for r in made.rows] == [r.path for r in made.rows]


@pytest.mark.parametrize("val", ["val", "valid"])
def test_split_folders(tmp_path: Path, val: str) -> None:
    made = read_dataset(make(tmp_path, *(p.replace("val/", f"{val}/") for p in BY_SPLIT)))
    assert {r.path: (r.split, r.labels) for r in made.rows} == {
        "train/cat/1.jpg": ("train", (0,)), "train/dog/2.jpg": ("train", (1,)), f"{val}/cat/3.jpg": ("val", (0,)),
        "test/dog/4.jpg": ("test", (1,)), "test/5.jpg": ("test", None),
    }  # fmt: skip
    assert [r.id for r in made.where("test").rows] == ["5.jpg", "dog/4.jpg"]


def test_a_class_that_train_lacks_is_refused_in_val(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"val/owl/3\.jpg: its folder is not a class of the training images"):
        read_dataset(make(tmp_path, *BY_SPLIT, "val/owl/3.jpg"))


@pytest.mark.parametrize("regex", [r"(p\d)_", r"p\d"])
def test_groups_by_expression(tmp_path: Path, regex: str) -> None:
    made = read_dataset(make(tmp_path, *PLAIN), options={"group_regex": regex})
    assert made.grouped and Counter(r.group for r in made.rows) == {"p1": 2, "p2": 1, "p3": 1}


def test_an_image_that_the_expression_misses_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cat/p2_b\.PNG: data\.options\.group_regex"):
        read_dataset(make(tmp_path, *PLAIN), options={"group_regex": "p[13]"})


def test_a_bad_expression_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.options\.group_regex: not a regular expression"):
        read_dataset(make(tmp_path, *PLAIN), options={"group_regex": "(p"})


def test_groups_by_table(tmp_path: Path) -> None:
    root = make(tmp_path, *PLAIN)
    (root / "groups.csv").write_text("image,group\n" + "".join(f"{p},g{i // 2}\n" for i, p in enumerate(PLAIN)))
    made = read_dataset(root, options={"group_csv": "groups.csv"})
    assert made.grouped and {r.path: r.group for r in made.rows} == dict(
        zip(PLAIN, ["g0", "g0", "g1", "g1"], strict=True)
    )


def test_an_image_that_the_table_lacks_is_named(tmp_path: Path) -> None:
    root = make(tmp_path, *PLAIN)
    (root / "groups.csv").write_text("image,group\ncat/p1_a.jpg,1\n")
    with pytest.raises(DataError, match=r"cat/p2_b\.PNG is not in .*groups\.csv"):
        read_dataset(root, options={"group_csv": "groups.csv"})


@pytest.mark.parametrize("paths", [(), ("cat/1.jpg",), ("train/cat/1.jpg", "val/dog/2.jpg"), ("a.jpg", "b.jpg")])
def test_fewer_than_two_classes_is_no_data_set(tmp_path: Path, paths: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="No data set found"):
        read_dataset(make(tmp_path, *paths))
    with pytest.raises(DataError, match="fewer than two class folders"):
        read_dataset(tmp_path, layout="folder")


def test_an_unknown_layout_and_an_absent_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no layout 'foldr'[\s\S]*'folder'"):
        read_dataset(tmp_path, layout="foldr")
    with pytest.raises(DataError, match=r"There is no folder .*absent"):
        read_dataset(tmp_path / "absent")
