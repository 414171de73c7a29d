"""The real faces, where they are there: what the adapter reads against counts made by other means."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.splits import split

FILES = {"incorrect_mask": 1, "normal": 2}


def test_real_faces_are_read_as_the_competition_defines_them(mask18: Path) -> None:
    manifest = read_dataset(mask18)
    expected: Counter[int] = Counter()
    with (mask18 / "train/train.csv").open() as lines:
        for row in csv.DictReader(lines):
            person = 3 * (row["gender"] == "female") + (int(row["age"]) >= 30) + (int(row["age"]) >= 60)
            for photo in (mask18 / "train/images" / row["path"]).iterdir():
                expected[6 * FILES.get(photo.stem, 0) + person] += 1
    train = manifest.where("train")
    assert Counter(train.joint.tolist()) == expected
    assert len(manifest.where("test")) == 840
    with (mask18 / "eval/info.csv").open() as lines:
        assert [r.id for r in manifest.where("test").rows] == [r["ImageID"] for r in csv.DictReader(lines)]


def test_real_persons_are_never_torn_apart(mask18: Path) -> None:
    for fold in range(5):
        parts = split(read_dataset(mask18), folds=5, fold=fold, seed=0, min_groups=2)
        train, val = parts.where("train"), parts.where("val")
        assert not set(train.groups) & set(val.groups)
        assert len(train) + len(val) == 2100
        assert abs(len(val) - 420) <= 21
