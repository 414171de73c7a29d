"""The competition's layout: what is read, what is skipped, and refusals that name the row."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.errors import ConfigError, DataError

NAMES = ("mask1.jpg", "mask2.png", "mask3.JPG", "mask4.jpeg", "mask5.jpg", "incorrect_mask.jpg", "normal.jpg")
MASKS = (0, 0, 0, 0, 0, 1, 2)
HEADER = "id,gender,race,age,path"
PERSONS = ("000001,male,Asian,29", "001498-1,female,Asian,30", "001498-2,Male,Asian,60")


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((4, 4, 3), 90, np.uint8))


def make(root: Path, persons: tuple[str, ...] = PERSONS, header: str = HEADER) -> Path:
    lines = [header]
    for person in persons:
        folder = person.replace(",", "_")
        lines.append(f"{person},{folder}")
        for name in NAMES:
            photo(root / "train/images" / folder / name)
    (root / "train/train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def refused(root: Path, message: str) -> str:
    with pytest.raises(DataError, match=message) as caught:
        read_dataset(root)
    return caught.value.hint


def by_person(manifest: Manifest) -> dict[str, list[Row]]:
    return {k: list(v) for k, v in itertools.groupby(manifest.where("train").rows, key=lambda r: r.group)}


def test_photos_labels_and_groups(tmp_path: Path) -> None:
    manifest = read_dataset(make(tmp_path))
    assert manifest.layout == "mask18" and manifest.grouped and "3 persons, 21 images" in manifest.message
    persons = by_person(manifest)
    others = {"000001": (0, 0), "001498-1": (1, 1), "001498-2": (0, 2)}
    assert persons.keys() == others.keys()
    for person, rows in persons.items():
        found = {Path(r.path).name: r.labels for r in rows}
        assert found == {n: (m, *others[person]) for n, m in zip(NAMES, MASKS, strict=True)}
    assert all(path.is_file() for path in manifest.files)


def test_class_is_mask_times_six_plus_gender_times_three_plus_age(tmp_path: Path) -> None:
    manifest = read_dataset(make(tmp_path))
    assert [6 * m + 3 * g + a for m, g, a in manifest.labels] == manifest.joint.tolist()
    assert len(manifest.schema.joint_classes) == 18 and manifest.schema.joint_classes[10] == "incorrect/female/30-59"


def test_source_names_the_row_of_the_csv(tmp_path: Path) -> None:
    assert [rows[0].source for rows in by_person(read_dataset(make(tmp_path))).values()] == [
        f"train/train.csv:{line}" for line in (2, 3, 4)
    ]


def test_hidden_and_other_files_are_skipped(tmp_path: Path) -> None:
    root = make(tmp_path)
    folder = next((root / "train/images").iterdir())
    for name in ("._mask1.jpg", ".normal.jpg", "._x.jpg", "portrait.jpg"):
        photo(folder / name)
    (folder / "normal.txt").write_text("no photo")
    assert len(read_dataset(root)) == 21


def test_eval_keeps_ids_and_order(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "eval").mkdir()
    (root / "eval/info.csv").write_text("ImageID,ans\nb.jpg,0\na.jpg,0\n")
    manifest = read_dataset(root)
    test = manifest.where("test").rows
    assert [(r.id, r.path, r.labels) for r in test] == [
        ("b.jpg", "eval/images/b.jpg", None),
        ("a.jpg", "eval/images/a.jpg", None),
    ]
    assert manifest.submission == ("ImageID", ("ans",), "joint index")


def test_age_boundary_changes_what_is_trained_on_only(tmp_path: Path) -> None:
    root = make(tmp_path, tuple(f"{i},male,Asian,{age}" for i, age in enumerate((29, 57, 58, 60))))
    plain, moved = read_dataset(root), read_dataset(root, options={"age_boundary": 58})
    np.testing.assert_array_equal(moved.labels, plain.labels)
    np.testing.assert_array_equal(plain.train_labels, plain.labels)
    bands = {rows[0].group: (rows[0].labels[2], (rows[0].train_labels or rows[0].labels)[2])  # type: ignore[index]
             for rows in by_person(moved).values()}  # fmt: skip
    assert bands == {"0": (0, 0), "1": (1, 1), "2": (1, 2), "3": (2, 2)}


@pytest.mark.parametrize("options", [{"age_boundary": 61}, {"age_boundry": 58}])
def test_bad_options_are_named(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"data\.options\.{next(iter(options))}"):
        read_dataset(make(tmp_path), options=options)


@pytest.mark.parametrize("column", ["id", "gender", "age", "path"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    refused(make(tmp_path, header=HEADER.replace(column, "other")), rf"train\.csv has no column '{column}'")


@pytest.mark.parametrize(
    ("person", "message"),
    [
        ("9,mal,Asian,20", r"train/train\.csv:5: gender 'mal' is not a known class"),
        ("9,male,Asian,old", r"train/train\.csv:5: age 'old' is not a whole number"),
        ("9,male,Asian,", r"train/train\.csv:5: age '' is not a whole number"),
        ("9,male,Asian,-3", r"train/train\.csv:5: age '-3' is not a whole number"),
        ("9,male,Asian,300", r"train/train\.csv:5: age '300' is not a whole number"),
        ("000001,female,Asian,29", r"train/train\.csv:5: id '000001' is in train.csv twice"),
        ("000001,male,Asian,30", r"train/train\.csv:5: id '000001' is in train.csv twice"),
        (",male,Asian,30", r"train/train\.csv:5: this row has no id"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, person: str, message: str) -> None:
    assert refused(make(tmp_path, (*PERSONS, person)), message)


def append(root: Path, line: str) -> Path:
    with (root / "train/train.csv").open("a", encoding="utf-8") as table:
        table.write(line + "\n")
    return root


@pytest.mark.parametrize("path", ["../../../etc", "/etc", "a/../../..", "..\\..\\x"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    refused(append(make(tmp_path), f"9,male,Asian,20,{path}"), r"train/train\.csv:5: ")


@pytest.mark.parametrize("person", ["000001", "another"])
def test_a_folder_named_by_two_rows_is_refused(tmp_path: Path, person: str) -> None:
    root = append(make(tmp_path), f"{person},male,Asian,29,{PERSONS[0].replace(',', '_')}")
    refused(root, r"train/train\.csv:5: .*000001_male_Asian_29 is also named at train/train\.csv:2")


def test_a_row_without_its_folder_is_named(tmp_path: Path) -> None:
    root = make(tmp_path)
    shutil.rmtree(root / "train/images/000001_male_Asian_29")
    refused(root, r"train/train\.csv:2: there is no folder .*000001_male_Asian_29")


def test_a_folder_without_photos_is_named(tmp_path: Path) -> None:
    root = make(tmp_path)
    for name in NAMES:
        (root / "train/images/000001_male_Asian_29" / name).unlink()
    refused(root, r"train/train\.csv:2: no image found in")


def test_a_row_of_another_length_is_named(tmp_path: Path) -> None:
    refused(append(make(tmp_path), "9,male,Asian"), r"train\.csv:5: this row has 3 cells, but the header has 5")
