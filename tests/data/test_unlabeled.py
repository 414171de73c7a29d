"""The unlabeled pool: folders, globs and CSVs; copies and unreadable files; no label is ever read."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssl_mask.config import DataConfig
from ssl_mask.data.image_set import ImageSet, open_images
from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.splits import keep_labels_of, split
from ssl_mask.data.unlabeled import pool_csv, read_unlabeled, unlabeled_rows, usable
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


def pictures(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_brackets_in_a_path_are_no_pattern(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "photos [2023]"
    pictures(
        root / "extra" / "1.jpg", root / "extra [raw]" / "2.jpg", root / "extra r" / "3.jpg", tmp_path / "x [1].jpg"
    )
    there = replace(manifest, root=root, rows=())
    for folder in (root, tmp_path):
        monkeypatch.chdir(folder)
        for source, name in (("extra", "1"), ("extra/*.jpg", "1"), ("extra [raw]", "2"), (f"{root}/extra", "1")):
            assert [p.stem for p in read_unlabeled([source], there).files] == [name]
    assert [p.name for p in read_unlabeled(["x [1].jpg"], there).files] == ["x [1].jpg"]


def test_a_source_in_both_folders_is_refused_with_both_named(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    pictures(here / "extra" / "1.jpg", here / "own" / "2.jpg")
    monkeypatch.chdir(here)
    for source, end in (("extra", "extra"), ("ext*", "extra")):
        with pytest.raises(DataError) as caught:
            read_unlabeled([source], manifest)
        assert f"{here / end} or {manifest.root / end}" in caught.value.problem
        assert str(here / end) in caught.value.hint
    assert names(read_unlabeled(["own", "./extra"], manifest)) == [str(here / "extra/1.jpg"), str(here / "own/2.jpg")]
    monkeypatch.chdir(manifest.root)  # one folder, so nothing to mistake
    assert len(read_unlabeled(["extra"], manifest)) == len(everything_in(manifest.root / "extra"))


@pytest.mark.parametrize("source", ["links", "links/*.jpg", "list.csv", "links/out.jpg"])
def test_links_that_lead_out_of_what_was_named_are_refused(manifest: Manifest, tmp_path: Path, source: str) -> None:
    pool = tmp_path / "pool"
    pictures(pool / "links" / "own.jpg", tmp_path / "secret" / "x.jpg")
    (pool / "links" / "out.jpg").symlink_to(tmp_path / "secret" / "x.jpg")
    (pool / "list.csv").write_text("image\nlinks/own.jpg\nlinks/out.jpg\n")
    config = DataConfig(root=manifest.root, unlabeled=(str(pool / source),))
    with pytest.raises(DataError, match=r"out\.jpg is a link to a file outside") as caught:
        unlabeled_rows(config, manifest)
    assert "data.outside_root=allow" in caught.value.hint
    allowed = config.model_copy(update={"outside_root": "allow"})
    assert str(pool / "links" / "out.jpg") in names(unlabeled_rows(allowed, manifest))
    (pool / "links" / "out.jpg").unlink()
    (pool / "links" / "out.jpg").symlink_to(manifest.where("train").files[0])  # inside of the data set: as labeled ones
    assert str(pool / "links" / "out.jpg") in names(unlabeled_rows(config, manifest))


def test_a_link_to_a_folder_above_adds_nothing(manifest: Manifest, tmp_path: Path) -> None:
    pictures(*(tmp_path / "pool" / "deep" / f"{i}.jpg" for i in range(3)), tmp_path / "other.jpg")
    (tmp_path / "pool" / "deep" / "up").symlink_to(tmp_path)
    (tmp_path / "pool" / "again").symlink_to(tmp_path / "pool")
    assert len(read_unlabeled([str(tmp_path / "pool")], manifest)) == 3
