"""The unlabeled pool: folders, globs and CSVs; copies and unreadable files; no label is ever read."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from ssl_mask.config import DataConfig
from ssl_mask.data.image_set import ImageSet, open_images
from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.splits import keep_labels_of, split
from ssl_mask.data.unlabeled import pool_csv, read_unlabeled, usable
from ssl_mask.errors import DataError


@pytest.fixture
def manifest(faces: Path) -> Manifest:
    return read_dataset(faces)


def names(pool: Manifest) -> list[str]:
    return sorted(str(p) for p in pool.files)


def everything_in(folder: Path) -> list[str]:
    return sorted(str(p) for p in folder.iterdir() if p.suffix == ".jpg")


def test_a_folder_a_glob_and_a_csv_give_the_same_images(
    manifest: Manifest, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = faces / "extra"
    with (faces / "pool.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "class"])
        writer.writerows([f"extra/{Path(p).name}", "no such class"] for p in everything_in(extra))
    expected = everything_in(extra)
    for source in ("extra", str(extra), "extra/*.jpg", "ext*", "pool.csv"):  # relative to the data set's folder
        assert names(read_unlabeled([source], manifest)) == expected
    monkeypatch.chdir(extra)  # and to the working folder
    assert names(read_unlabeled(["."], manifest)) == expected
    assert names(read_unlabeled(["*.jpg", "../extra", str(extra)], manifest)) == expected  # each image once


def test_no_row_of_the_pool_has_a_label_or_a_group(manifest: Manifest) -> None:
    pool = read_unlabeled(["extra", "train/images"], manifest)
    assert all(r.labels is None and r.group == "" and r.split == "unlabeled" for r in pool.rows)
    assert any("train/images" in r.path for r in pool.rows)


def test_the_data_sets_own_unlabeled_rows_join(manifest: Manifest) -> None:
    fewer = keep_labels_of(split(manifest, folds=2, fold=0, seed=0, min_groups=1), 2, seed=0)
    own = fewer.where("unlabeled")
    assert len(own) > 0
    assert names(read_unlabeled([], fewer)) == sorted(str(p) for p in own.files)
    assert len(read_unlabeled(["extra"], fewer)) == len(own) + len(read_unlabeled(["extra"], manifest))


@pytest.mark.parametrize(
    ("sources", "message"),
    [([], "There are no unlabeled"), (["nowhere"], "There is no folder or file 'nowhere'"), (["e/*.png"], "match"),
     (["empty"], "No images in"), (["eval/info.csv", "empty"], "No images in")],
)  # fmt: skip
def test_nothing_there_is_one_clear_error(manifest: Manifest, faces: Path, sources: list[str], message: str) -> None:
    (faces / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        read_unlabeled(sources, manifest)


def pool_of(manifest: Manifest, *sources: str, on_bad: str = "fail") -> ImageSet:
    config = DataConfig(root=manifest.root)
    labeled = open_images(manifest.where("train"), config, 32).manifest
    return usable(open_images(read_unlabeled(sources, manifest), config, 32, tolerant=True), labeled, on_bad=on_bad)  # type: ignore[arg-type]


def test_unreadable_images_stop_or_are_left_out_when_said(manifest: Manifest, faces: Path) -> None:
    (faces / "extra" / "broken.jpg").write_bytes(b"no image")
    (faces / "extra" / "empty.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of \d+ unlabeled images cannot be read: .*broken.jpg") as error:
        pool_of(manifest, "extra")
    assert "--on-bad skip" in error.value.hint
    pool = pool_of(manifest, "extra", on_bad="skip")
    assert sorted(Path(p).name for p in pool.left_out) == ["broken.jpg", "empty.jpg"]
    assert len(pool.images) == len(pool.manifest) == len(everything_in(faces / "extra")) - 2
    lines = list(csv.DictReader(pool_csv(pool).splitlines()))
    assert sum(r["use"] == "used" and len(r["sha256"]) == 64 for r in lines) == len(pool.manifest)
    assert sum(r["use"].startswith("left out: ") for r in lines) == 2


def test_copies_of_labeled_images_and_of_each_other_are_left_out(manifest: Manifest, faces: Path) -> None:
    photo = manifest.where("train").files[0]
    shutil.copy(photo, faces / "extra" / "aa-labeled.jpg")
    first = everything_in(faces / "extra")[1]
    shutil.copy(first, faces / "extra" / "zz-copy.jpg")
    pool = pool_of(manifest, "extra")
    assert {Path(p).name: why.split(" the ")[0] for p, why in pool.left_out.items()} == {
        "aa-labeled.jpg": "same bytes as",
        "zz-copy.jpg": f"same bytes as {Path(first).name}",
    }
    images = {r.path: pool.images.read(i) for i, r in enumerate(pool.manifest.rows)}
    alone = pool_of(manifest, first)
    np.testing.assert_array_equal(images[Path(first).name], alone.images.read(0))  # positions moved with the rows


def test_a_pool_of_labeled_images_only_is_refused(manifest: Manifest) -> None:
    with pytest.raises(DataError, match=r"None of the \d+ unlabeled images can be used: same bytes as the labeled"):
        pool_of(manifest, "train/images")
