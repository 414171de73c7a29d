"""Labels that came later: they train, the split stays, and what is wrong in their table is named."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.extra_labels import is_extra, join_extra_labels, read_extra_labels, refuse_changed_images
from ssl_mask.data.load import read_all_labels, read_manifest
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.text import csv_text, inert

SCHEMA = LabelSchema((Factor("hue", ("red", "blue")), Factor("shape", ("disc", "=box"))))
ROOT = Path("/data")
HEADER = ("image", "group", "hue", "shape")


def table(folder: Path, *rows: Sequence[str], header: Sequence[str] = HEADER) -> Path:
    path = folder / "extra.csv"
    path.write_text(csv_text([header, *rows]))
    return path


def read(folder: Path, *rows: Sequence[str], header: Sequence[str] = HEADER) -> tuple[tuple[Row, ...], int]:
    return read_extra_labels([table(folder, *rows, header=header)], SCHEMA, ROOT)


def test_rows_become_training_rows_and_empty_ones_are_counted(tmp_path: Path) -> None:
    rows, unfilled = read(
        tmp_path, ("a.jpg", "p", "red", "disc"), ("b.jpg", "p", "", " "), (inert("=c.jpg"), "", "blue", inert("=box")),
        ("/data/d.jpg", "q", "blue", "disc"), ("/far/e.jpg", "q", "blue", "disc"),
    )  # fmt: skip
    source = f"{tmp_path / 'extra.csv'}:"
    assert unfilled == 1 and all(is_extra(row.source, [tmp_path / "extra.csv"]) for row in rows)
    assert [(r.path, r.group, r.split, r.labels, r.source) for r in rows] == [
        ("a.jpg", "p", "train", (0, 0), f"{source}2"), ("=c.jpg", "=c.jpg", "train", (1, 1), f"{source}4"),
        ("d.jpg", "q", "train", (1, 0), f"{source}5"), ("/far/e.jpg", "q", "train", (1, 0), f"{source}6"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([("a.jpg", "p", "red", "")], r"extra\.csv:2: column 'shape' is empty, but another label"),
        ([("a.jpg", "p", "rad", "disc")], r"extra\.csv:2: hue 'rad' is not a known class"),
        ([("", "p", "red", "disc")], r"extra\.csv:2: column 'image' is empty"),
        ([("../a.jpg", "p", "red", "disc")], r"extra\.csv:2: the path '\.\./a\.jpg' leads out"),
        ([("a.jpg", "p", "red", "disc"), ("/data/a.jpg", "", "red", "disc")], r"extra\.csv:3: a\.jpg is also at"),
        ([("a.jpg", "p", "", "")], r"extra\.csv has no label yet"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, rows: list[tuple[str, ...]], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read(tmp_path, *rows)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'shape'"):
        read(tmp_path, ("a.jpg", "red"), header=("image", "hue"))


def dataset() -> Manifest:
    rows = (
        Row("t.jpg", "p", "train", "labels.csv:2", (0, 0)), Row("v.jpg", "q", "val", "labels.csv:3", (1, 0)),
        Row("e.jpg", "", "test", "labels.csv:4", None), Row("u.jpg", "", "unlabeled", "labels.csv:5", None),
    )  # fmt: skip
    return Manifest(ROOT, "table", SCHEMA, rows, True, Submission("image", ("hue",), "names"))


def extra(path: str, group: str, digest: str = "") -> Row:
    return Row(path, group, "train", "extra.csv:2", (0, 0), digest=digest)


def test_old_rows_stay_and_images_of_validation_groups_are_left_out() -> None:
    before = dataset()
    made = join_extra_labels(before, [extra("u.jpg", "r"), extra("n.jpg", "q"), extra("m.jpg", "p")])
    assert made.rows == (*before.rows[:3], extra("u.jpg", "r"), extra("m.jpg", "p"))
    assert made.excluded == {"n.jpg": "group q is in validation (extra.csv:2)"}


def test_a_group_whose_leading_zeros_a_spreadsheet_dropped_is_refused() -> None:
    """Else an image of the validated person 0094 would be trained on as one of 94."""
    before = dataset()
    before = before.with_rows(row._replace(group="0094") if row.split == "val" else row for row in before.rows)
    with pytest.raises(DataError, match=r"extra\.csv:2: there is no group '94', but '0094'"):
        join_extra_labels(before, [extra("n.jpg", "94")])
    assert join_extra_labels(before, [extra("n.jpg", "0094")]).excluded
    assert len(join_extra_labels(before, [extra("n.jpg", "940")]).rows) == 5


@pytest.mark.parametrize(("path", "what"), [("t.jpg", "has a label already"), ("e.jpg", "is a test image")])
def test_an_image_of_the_data_set_is_refused(path: str, what: str) -> None:
    with pytest.raises(DataError, match=rf"extra\.csv:2: {path} {what} \(labels\.csv"):
        join_extra_labels(dataset(), [extra(path, "r")])


def test_an_image_that_changed_is_refused() -> None:
    asked = dataset().with_rows([extra("a.jpg", "p", "1" * 64), extra("b.jpg", "p")])
    refuse_changed_images(asked, asked.with_digests(["1" * 64, "2" * 64]))
    with pytest.raises(DataError, match=r"extra\.csv:2: a\.jpg has changed since it was chosen"):
        refuse_changed_images(asked, asked.with_digests(["3" * 64, "2" * 64]))


def of_faces(data: Path, path: Path, **more: Any) -> DataConfig:
    return DataConfig(root=data, folds=2, min_groups=1, extra_labels=path, **more)


def test_no_split_of_a_data_set_moves(drawn: Path, tmp_path: Path) -> None:
    images = sorted((drawn / "extra").iterdir())[:3]
    header = ("image", "mask", "gender", "age")
    path = table(tmp_path, *((str(i.absolute()), "worn", "male", ">=60") for i in images), header=header)
    for more in ({"fold": 1, "factor": "gender"}, {"validation": "none"}, {"labeled_groups": 4}):
        own = of_faces(drawn, path, **more)
        made, before = (
            read_manifest(c, Console(quiet=True)) for c in (own, own.model_copy(update={"extra_labels": ()}))
        )
        assert made.rows[:-3] == before.rows and made.rows[-3].path == f"extra/{images[0].name}"
        assert {row.split for row in made.rows[-3:]} == {"train"} and made.where("val").rows == before.where("val").rows
        assert len(read_all_labels(own)) == len(read_all_labels(own.model_copy(update={"extra_labels": ()}))) + 3


def test_an_image_elsewhere_is_refused_unless_its_folder_is_named(drawn: Path, tmp_path: Path) -> None:
    far = Path(shutil.copy(next(iter(sorted((drawn / "extra").iterdir()))), tmp_path / "far.jpg"))
    path = table(tmp_path, (str(far), "worn", "male", "<30"), header=("image", "mask", "gender", "age"))
    with pytest.raises(DataError, match=r"extra\.csv:2: .*far\.jpg is outside"):
        read_manifest(of_faces(drawn, path), Console(quiet=True))
    assert read_manifest(of_faces(drawn, path, unlabeled=(str(tmp_path),)), Console(quiet=True)).rows[-1].path == str(
        far
    )
