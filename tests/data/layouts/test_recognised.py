"""What strangers' folders are read as: splits are never classes, two readings are refused, nothing is passed over."""

from __future__ import annotations

import csv
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import DataError


def make(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()  # layouts read names, never pixels
    return root


def many(*folders: str, count: int = 2) -> list[str]:
    return [f"{folder}/{i}.jpg" for folder in folders for i in range(count)]


def write(path: Path, rows: Iterable[Sequence[str]], *, delimiter: str = ",", encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def classes(manifest: Manifest) -> tuple[str, ...]:
    return manifest.schema.factors[0].classes


def splits(manifest: Manifest) -> dict[str, int]:
    return dict(Counter(r.split for r in manifest.rows))


def kaggle(root: Path) -> Path:
    make(root, *many("train_images", count=6), *many("test_images", count=4))
    write(root / "train.csv", [("image_id", "label"), *((f"{i}.jpg", str(i % 3)) for i in range(6))])
    write(root / "sample_submission.csv", [("image_id", "label"), *((f"{i}.jpg", "0") for i in range(4))])
    return root


def test_a_table_with_two_folders_of_images_is_read_by_its_table(tmp_path: Path) -> None:
    made = read_dataset(kaggle(tmp_path))
    assert made.layout == "table" and classes(made) == ("0", "1", "2") and splits(made) == {"train": 6}
    assert (made.rows[3].path, made.rows[3].id) == ("train_images/3.jpg", "3.jpg")
    assert "train.csv" in made.message and "images in train_images/" in made.message and "data.layout" in made.message
    assert any("test_images/ (4)" in note for note in made.notes)


def test_an_option_of_one_layout_settles_on_it(tmp_path: Path) -> None:
    root = make(tmp_path, *many("cat", "dog"))
    write(root / "labels.csv", [("image", "label"), ("cat/0.jpg", "big"), ("dog/1.jpg", "small")])
    with pytest.raises(DataError, match="read in two ways"):
        read_dataset(root)
    assert classes(read_dataset(root, options={"file": "labels.csv"})) == ("big", "small")
    assert classes(read_dataset(root, options={"images": "."})) == ("big", "small")
    (root / "groups.csv").write_text("image,group\n" + "".join(f"{p},g\n" for p in many("cat", "dog")))
    assert classes(read_dataset(root, options={"group_csv": "groups.csv"})) == ("cat", "dog")


def test_images_that_no_single_folder_has_are_asked_for(tmp_path: Path) -> None:
    root = kaggle(tmp_path)
    (root / "train_images" / "5.jpg").unlink()
    with pytest.raises(DataError, match=r"train_images/ has 5 of 6") as caught:
        read_dataset(root)
    assert "data.options.images=train_images" in caught.value.hint


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("Training", "Validation", "Testing"), ("TRAIN", "VAL", "Test"), ("train", "validation", "TEST"),
     ("train_images", "dev", "eval"), ("trainset", "valid_data", "test images")],
)  # fmt: skip
@pytest.mark.parametrize("places", ["train/{}", "{}"])
def test_split_folders_of_any_usual_name_are_splits(
    tmp_path: Path, train: str, val: str, test: str, places: str
) -> None:
    kept = f"{train}/{{}}" if places != "{}" else "{}"
    root = make(tmp_path, *many(*(kept.format(c) for c in ("glioma", "no tumor")), count=4))
    make(root, *many(f"{val}/glioma", f"{val}/no tumor", count=1), *many(f"{test}/glioma", count=3))
    made = read_dataset(root)
    assert classes(made) == ("glioma", "no tumor") and splits(made) == {"train": 8, "val": 2, "test": 3}
    assert made.notes == ()


def test_pools_and_what_sslmask_writes_are_no_classes(tmp_path: Path) -> None:
    root = make(tmp_path, *many("cat", "dog", "extra", "pool", "Unlabelled"), "runs/train-001/plots/a.png")
    make(root, "runs/train-001/run.json", "mine/audit_pairs.png", "data_cards/audit_pairs.png", "augment.png")
    make(root, "lost+found/9.jpg", ".git/8.jpg")
    made = read_dataset(root)
    assert classes(made) == ("cat", "dog") and len(made) == 4
    assert made.message.endswith("4 train (not read: Unlabelled/ 2, extra/ 2, pool/ 2)")
    assert made.notes == (f"images right in {root} that are not read: 1, for example augment.png.",)
    assert "Unlabelled/ 2, pool/ 2)" in read_dataset(root, unlabeled=["extra/*.jpg"]).message


def test_two_folders_of_one_split_are_refused_with_both_named(tmp_path: Path) -> None:
    root = make(tmp_path, *many("Train/cat", "Train/dog", "training/cat"))
    with pytest.raises(DataError, match="Train/ and training/ both say that they are the train images"):
        read_dataset(root)


def test_a_split_inside_train_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train/unlabeled: the folder's name says"):
        read_dataset(make(tmp_path, *many("train/cat", "train/dog", "train/unlabeled")))


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (many("a/cat", "a/dog", "b/cat", "b/dog"), r"a/ and b/ hold the same folders \(cat, dog, …\)"),
        (many("first/train/cat", "second/train/dog"), "first/ holds train/"),
        (many("usr/share", "work"), "usr/ is no class"),
        (many("node_modules/x", "pictures"), "node_modules/ is no class"),
    ],
)
def test_folders_that_do_not_look_like_classes_must_be_named(tmp_path: Path, paths: list[str], message: str) -> None:
    root = make(tmp_path, *paths)
    with pytest.raises(DataError, match=message) as caught:
        read_dataset(root)
    assert f"--data {root} --set data.layout=folder" in caught.value.hint
    assert len(read_dataset(root, layout="folder")) == len(paths)


@pytest.mark.parametrize("kind", ["home", "temporary", "downloads", "not named"])
def test_a_folder_of_the_system_must_be_named(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path / "Downloads" if kind == "downloads" else tmp_path, *many("cat", "dog"))
    if kind == "temporary":
        monkeypatch.setattr(tempfile, "tempdir", str(root))
    else:
        monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(root)
    with pytest.raises(DataError, match="everything below it would be read") as caught:
        if kind == "not named":
            read_dataset(Path(), layout="folder")
        read_dataset(root)
    assert f"--data {root} --set data.layout=folder" in caught.value.hint
    assert len(read_dataset(root, layout="folder")) == 4


@pytest.mark.parametrize("place", ["/", "/usr", "/etc"])
def test_the_system_itself_is_refused_before_it_is_read(place: str) -> None:
    with pytest.raises(DataError, match="a folder of the system"):
        read_dataset(Path(place))


def test_loose_images_and_other_pictures_are_counted(tmp_path: Path) -> None:
    root = make(
        tmp_path, *many("train/cat", "train/dog"), "train/loose.jpg", "test/1.jpg", "top.png", "train/cat/x.heic"
    )
    assert sorted(read_dataset(root).notes) == [
        "files in train/ that look like images and are not read: 1 (.heic 1).",
        "images in train/ that are not read: 1 of 5, for example train/loose.jpg.",
        f"images right in {root} that are not read: 1, for example top.png.",
    ]


def test_test_folders_that_are_no_class_are_counted(tmp_path: Path) -> None:
    made = read_dataset(make(tmp_path, *many("train/cat", "train/dog", "test/cat", "test/owl"), "test/1.jpg"))
    assert [r.labels for r in made.where("test").rows] == [None, (0,), (0,), None, None]
    assert made.notes == (
        "images in test/ that get no label, because no train folder has the name of theirs: 2 (owl/ 2).",
    )


def placeholder(root: Path) -> Path:
    labeled = [(f"{i}.png", ("ham", "spam")[i % 2], "train") for i in range(8)]
    others = [(f"{i}.png", "-1", "unlabeled" if i < 12 else "test") for i in range(8, 14)]
    write(root / "all.csv", [("filename", "label", "split"), *labeled, *others])
    return root


def test_a_placeholder_label_is_no_class(tmp_path: Path) -> None:
    made = read_dataset(placeholder(tmp_path))
    assert classes(made) == ("ham", "spam") and splits(made) == {"train": 8, "unlabeled": 4, "test": 2}
    assert all(r.labels is None for r in made.where("unlabeled", "test").rows)
    assert (
        len(made.notes) == 1
        and "has their class: 2, for example '-1'" in made.notes[0]
        and "all.csv:14" in made.notes[0]
    )


@pytest.mark.parametrize("order", [1, -1])
def test_classes_have_one_order(tmp_path: Path, order: int) -> None:
    names = ["1", "01", "nan", "3", "2", "10", "inf", "1_0"][::order]
    write(tmp_path / "t.csv", [("image", "label"), *((f"{i}.png", n) for i, n in enumerate(names))])
    assert classes(read_dataset(tmp_path)) == ("01", "1", "2", "3", "10", "1_0", "inf", "nan")


@pytest.mark.parametrize("labels", ["breed", ["breed"]])
def test_ids_without_suffix_are_found(tmp_path: Path, labels: str | list[str]) -> None:
    make(tmp_path, *many("train", "test", count=4))
    write(tmp_path / "labels.csv", [("id", "breed"), *((str(i), "ab"[i % 2]) for i in range(4))])
    made = read_dataset(tmp_path, layout="table", options={"image": "id", "labels": labels, "images": "train"})
    assert [(r.path, r.id) for r in made.rows] == [(f"train/{i}.jpg", str(i)) for i in range(4)]
    make(tmp_path, "train/2.png")
    with pytest.raises(DataError, match=r"labels\.csv:4: train/2 can be train/2\.jpg or train/2\.png"):
        read_dataset(tmp_path, layout="table", options={"image": "id", "labels": labels, "images": "train"})


@pytest.mark.parametrize(
    ("delimiter", "encoding"),
    [(";", "utf-8-sig"), ("\t", "utf-8"), ("|", "utf-8"), (",", "utf-16"), (";", "utf-16"), (",", "utf-8")],
)
def test_tables_of_other_spreadsheets(tmp_path: Path, delimiter: str, encoding: str) -> None:
    rows = [("image", "label"), ("img/ü.png", "a"), ("img/2.png", "b,c")]
    write(tmp_path / "labels.csv", rows, delimiter=delimiter, encoding=encoding)
    made = read_dataset(tmp_path)
    assert classes(made) == ("a", "b,c") and [r.path for r in made.rows] == ["img/ü.png", "img/2.png"]


def test_names_of_either_unicode_form_are_equal(tmp_path: Path) -> None:
    one, other = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    made = read_dataset(make(tmp_path / "f", *many(f"train/{one}", "train/b", f"val/{other}", f"Test/{other}")))
    assert classes(made) == ("b", one) and {r.labels for r in made.where("val", "test").rows} == {(1,)}
    make(tmp_path / "t", f"img/{other}.jpg", "img/2.jpg", "img/3.jpg")
    rows = [("image", "label"), (f"img/{one}.jpg", one), ("img/2.jpg", other), ("img/3.jpg", "b")]
    write(tmp_path / "t" / "labels.csv", rows)
    made = read_dataset(tmp_path / "t")
    assert classes(made) == ("b", one) and [r.labels for r in made.rows] == [(1,), (1,), (0,)]
    assert (made.rows[0].path, made.rows[0].id) == (f"img/{other}.jpg", f"img/{one}.jpg")


@pytest.mark.parametrize("layout", ["table", "folder", "mask18"])
def test_a_single_class_is_refused_in_every_layout(tmp_path: Path, layout: str) -> None:
    if layout == "table":
        write(tmp_path / "t.csv", [("image", "label"), ("a.jpg", "cat"), ("b.jpg", "cat")])
    elif layout == "folder":
        make(tmp_path, *many("train/cat"))
    else:
        write(tmp_path / "train" / "train.csv", [("id", "gender", "age", "path"), ("1", "male", "20", "one")])
        make(tmp_path, "train/images/one/normal.jpg")
    with pytest.raises(DataError, match=r"have the class|fewer than two class"):
        read_dataset(tmp_path, layout=layout)
