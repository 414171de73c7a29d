"""`check` on painted pictures: what is compared with what, what is left alone, and that order does not matter."""

from __future__ import annotations

import io
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ssl_mask.errors import DataError
from ssl_mask.guard.check import check
from ssl_mask.guard.copies.fingerprints import fingerprint
from ssl_mask.guard.findings import Findings, Pair, Pool, Role, canonical


def painting(seed: int) -> Image.Image:
    """Smooth colour noise: no two seeds look alike."""
    noise = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(cv2.resize(noise, (96, 96), interpolation=cv2.INTER_CUBIC))


def encoded(picture: Image.Image, quality: int = 95) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def pool(root: Path, role: Role, *images: str) -> Pool:
    """`images` are `path@group=label`."""
    parts = [(i.split("@")[0], i.split("@")[1].split("=")[0], i.split("=")[1]) for i in images]
    paths, groups, labels = zip(*parts, strict=True)
    return Pool(role, role, root / role, paths, groups, labels, "by hand")


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> list[Pool]:
    """test 0-3, val 10-12, train 20-23, unlabeled 30-32, and what is planted among them."""
    root = tmp_path_factory.mktemp("pools")

    def put(name: str, data: bytes) -> None:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(data)

    for role, first, count in (("test", 0, 4), ("val", 10, 3), ("train", 20, 4), ("unlabeled", 30, 3)):
        for i in range(count):
            put(f"{role}/{i}.jpg", encoded(painting(first + i)))
    put("train/bytes.jpg", encoded(painting(0)))  # of test/0
    png = io.BytesIO()
    Image.open(root / "test/1.jpg").save(png, "PNG")
    put("unlabeled/pixels.png", png.getvalue())  # of test/1
    put("train/near.jpg", encoded(painting(10), 40))  # of val/0, with another label
    put("train/same-person.jpg", encoded(painting(20), 40))  # of train/0, and of its group
    put("train/other-person.jpg", encoded(painting(21), 40))  # of train/1, of another group, with another label
    put("unlabeled/of-train.jpg", encoded(painting(22), 40))  # of train/2
    put("test/empty.jpg", b"")
    return [
        pool(root, "unlabeled", "0.jpg@=", "1.jpg@=", "2.jpg@=", "pixels.png@=", "of-train.jpg@="),
        pool(root, "train", "0.jpg@a=cat", "1.jpg@b=cat", "2.jpg@c=dog", "3.jpg@shared=dog", "bytes.jpg@e=cat",
             "near.jpg@f=dog", "same-person.jpg@a=dog", "other-person.jpg@g=dog"),
        pool(root, "val", "0.jpg@u=cat", "1.jpg@v=cat", "2.jpg@shared=dog"),
        pool(root, "test", "0.jpg@w=cat", "1.jpg@x=", "2.jpg@y=", "3.jpg@z=", "empty.jpg@y2="),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def found(pools: list[Pool]) -> Findings:
    return check(pools, cache=None)


def short(pair: Pair) -> tuple[str, str, str]:
    return f"{pair.first_pool}/{pair.first}", f"{pair.second_pool}/{pair.second}", pair.kind


def test_everything_planted_is_found_and_nothing_else(found: Findings) -> None:
    assert {short(p) for p in found.pairs} == {
        ("test/0.jpg", "train/bytes.jpg", "bytes"),
        ("test/1.jpg", "unlabeled/pixels.png", "pixels"),
        ("val/0.jpg", "train/near.jpg", "near"),
        ("val/2.jpg", "train/3.jpg", "group"),
        ("train/1.jpg", "train/other-person.jpg", "near"),
        ("train/2.jpg", "unlabeled/of-train.jpg", "near"),
    }
    assert {short(p)[:2] for p in found.conflicts} == {
        ("val/0.jpg", "train/near.jpg"), ("train/1.jpg", "train/other-person.jpg")
    }  # fmt: skip
    assert all(p.score == 1 for p in found.pairs if p.kind in {"bytes", "pixels"})
    assert all(0.94 <= p.score < 1 for p in found.pairs if p.kind == "near")


def test_a_group_is_one_finding_with_its_count(found: Findings) -> None:
    group = next(p for p in found.pairs if p.kind == "group")
    assert (group.group, group.images, group.score) == ("shared", 2, 0)


def test_unreadable_images_are_listed_with_their_reason(found: Findings) -> None:
    assert {p.name: list(p.unreadable) for p in found.pools} == {
        "test": ["empty.jpg"], "val": [], "train": [], "unlabeled": []
    }  # fmt: skip
    assert "0 bytes" in found.pool("test").unreadable["empty.jpg"]


def test_missing_groups_are_not_checked_where_a_pool_is_protected(found: Findings) -> None:
    assert Counter((u.first_pool, u.second_pool) for u in found.not_checked) == {
        ("test", "unlabeled"): 1, ("val", "unlabeled"): 1
    }  # fmt: skip
    assert "unlabeled names no groups" in found.not_checked[0].what


@pytest.mark.parametrize("processes", [1, 2])
def test_order_and_processes_change_no_byte(pools: list[Pool], found: Findings, tmp_path: Path, processes: int) -> None:
    shuffled = []
    for number, each in enumerate(reversed(pools)):
        order = list(range(len(each.paths)))
        random.Random(number).shuffle(order)
        columns = {name: tuple(getattr(each, name)[i] for i in order) for name in ("paths", "groups", "labels")}
        shuffled.append(replace(each, **columns))
    for _ in range(2):  # the second time from the cache
        again = check(shuffled, cache=tmp_path, processes=processes)
        assert canonical(again.to_json()) == canonical(found.to_json())


def test_known_fingerprints_stand_in_for_files_that_are_gone(
    pools: list[Pool], found: Findings, tmp_path: Path
) -> None:
    test, train = pools[3], pools[1]
    prints = fingerprint([train.root / p for p in train.paths], cache=None)
    moved = Path(shutil.copytree(test.root, tmp_path / "test"))
    again = check(
        [replace(train, root=tmp_path / "gone"), replace(test, root=moved)], cache=None, known={"train": prints}
    )
    expected = [p for p in found.pairs if {p.first_pool, p.second_pool} <= {"test", "train"}]
    assert list(again.pairs) == expected


def test_pools_are_told_apart(pools: list[Pool]) -> None:
    with pytest.raises(DataError, match="Two pools are called 'val'"):
        check([pools[0], pools[2], pools[2]], cache=None)
    with pytest.raises(DataError, match="names an image twice"):
        check([replace(pools[2], paths=("0.jpg", "0.jpg", "1.jpg"))], cache=None)
