"""Pictures within pictures: what is cut out against arithmetic, and that copies of parts are found as copies."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from textures import grey, texture, write

from ssl_mask.guard.copies import parts as module
from ssl_mask.guard.copies.describe import describe_pictures
from ssl_mask.guard.copies.fingerprints import Fingerprints, fingerprint
from ssl_mask.guard.copies.matching import match
from ssl_mask.guard.copies.parts import parts_of

Picture = NDArray[np.uint8]


def prints(*thumbs: Picture) -> Fingerprints:
    """Fingerprints of which only the thumbs and the names matter here."""
    names = tuple(f"{number:064d}" for number in range(len(thumbs)))
    pictures = [cv2.cvtColor(thumb, cv2.COLOR_GRAY2RGB) for thumb in thumbs]
    records, _ = describe_pictures(list(zip(names, pictures, strict=True)))
    return Fingerprints(names, names, records["pdq"], records["hog"], np.stack(thumbs), {})


def parts(*thumbs: Picture) -> tuple[list[int], list[Picture]]:
    found = parts_of(prints(*thumbs), np.arange(len(thumbs)))
    assert len(set(found.prints.pixels)) == len(found.owners) == len(found.prints)
    return found.owners.tolist(), list(found.prints.thumbs)


def large(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, (128, 128), interpolation=cv2.INTER_CUBIC), np.uint8)


def framed(inner: Picture, top: int, bottom: int, left: int, right: int, level: int = 200) -> Picture:
    return np.pad(inner, ((top, bottom), (left, right)), constant_values=level)


def collage(*seeds: int) -> Picture:
    one, two, three, four = (grey(seed, 64, 64) for seed in seeds)
    return np.concatenate([np.concatenate([one, two], axis=1), np.concatenate([three, four], axis=1)])


def test_a_wide_border_is_taken_off() -> None:
    inner = grey(1, 68, 78)
    noise = np.random.default_rng(0).integers(-3, 4, (128, 128))
    whole = np.clip(framed(inner, 30, 30, 20, 30).astype(int) + noise, 0, 255).astype(np.uint8)
    owners, (part,) = parts(grey(0), whole)
    assert owners == [1]
    # The outermost line is a mixture of picture and border where a picture is made smaller, and left out.
    assert np.abs(part.astype(int) - large(inner[1:-1, 1:-1])).mean() < 3


@pytest.mark.parametrize("sides", [(30, 30, 0, 0), (0, 0, 40, 10)])
def test_bars_at_two_sides_are_taken_off(sides: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = sides
    inner = grey(2, 128 - top - bottom, 128 - left - right)
    _, (part,) = parts(framed(inner, *sides, level=0))
    cut = inner[1:-1] if top else inner[:, 1:-1]
    assert (part == large(cut)).mean() > 0.99


def test_what_is_no_wide_border_has_no_parts() -> None:
    narrow = framed(grey(3, 108, 108), 10, 10, 10, 10)
    tiny = framed(grey(4, 20, 20), 54, 54, 54, 54)
    flat = np.full((128, 128), 90, np.uint8)
    assert parts(narrow, tiny, flat, flat // 90)[0] == []


def test_a_collage_has_four_parts_and_other_pictures_none() -> None:
    whole = collage(5, 6, 7, 8)
    owners, found = parts(*(grey(seed) for seed in range(60)), whole)
    assert owners == [60] * 4
    quarters = [whole[y : y + 64, x : x + 64] for y in (0, 64) for x in (0, 64)]
    assert all((part == large(quarter)).all() for part, quarter in zip(found, quarters, strict=True))


# ---- in a search ----


def bordered(picture: Picture) -> Picture:
    wide = len(picture) // 3
    return np.asarray(cv2.copyMakeBorder(picture, *[wide] * 4, cv2.BORDER_CONSTANT, value=(10, 200, 90)), np.uint8)


def four(*seeds: int) -> Picture:
    one, two, three, other = map(texture, seeds)
    return np.concatenate([np.concatenate([one, two], axis=1), np.concatenate([three, other], axis=1)])


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fingerprints, Fingerprints]:
    root = tmp_path_factory.mktemp("parts")
    first = [*map(texture, range(10)), bordered(texture(100)), bordered(texture(50))]
    second = [*map(texture, range(100, 110)), bordered(texture(3)), four(4, 200, 5, 201), bordered(texture(3))]
    one, other = (fingerprint(write(root / n, p), cache=None) for n, p in (("a", first), ("b", second)))
    return one, other


EXPECTED = {(3, 10), (3, 12), (4, 11), (5, 11), (10, 0)}


def test_copies_of_parts_are_found_whichever_pool_they_are_in(
    pools: tuple[Fingerprints, Fingerprints], tmp_path: Path
) -> None:
    found = match(*pools, cache=None)
    assert {(m.first, m.second) for m in found} == EXPECTED
    assert {m.kind for m in found} == {"near"} and len(found) == len(EXPECTED) and found == sorted(found)
    for how in ({"cache": tmp_path}, {"cache": tmp_path}, {"cache": None, "processes": 2}):
        assert match(*pools, **how) == found
    assert {(m.second, m.first) for m in match(*pools[::-1], cache=None)} == EXPECTED


def test_which_pictures_have_parts_is_remembered_whatever_order_they_are_in(
    pools: tuple[Fingerprints, Fingerprints], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, within = list[int](), module._within
    monkeypatch.setattr(module, "_within", lambda thumbs: looked.append(len(thumbs)) or within(thumbs))
    match(*pools, cache=tmp_path)
    assert sum(looked) == 12 + 13
    turned = [prints.at(np.arange(len(prints))[::-1]) for prints in pools]
    for damaged, number in ((False, 2 + 3), (True, 12 + 13)):
        if damaged:
            for path in tmp_path.glob("*/*/parts/*"):
                path.write_bytes(path.read_bytes()[:-3])
        looked.clear()
        found = match(*turned, cache=tmp_path)
        assert {(11 - m.first, 12 - m.second) for m in found} == EXPECTED and sum(looked) == number


def test_a_pair_that_is_skipped_is_skipped_for_its_parts_too(pools: tuple[Fingerprints, Fingerprints]) -> None:
    found = match(*pools, cache=None, skip=lambda i, j: (i == 10) | (j == 12))
    assert {(m.first, m.second) for m in found} == {(3, 10), (4, 11), (5, 11)}


def test_within_one_pool_no_picture_is_a_copy_of_its_own_part(tmp_path: Path) -> None:
    # The search lays the last one upon its own part: the part takes 0.8 of a side.
    just = np.pad(texture(60, 104, 104), ((12, 12), (12, 12), (0, 0)), constant_values=200)
    pictures = [bordered(texture(1)), *map(texture, range(3)), bordered(texture(9)), four(2, 30, 31, 32), just]
    one = fingerprint(write(tmp_path, pictures), cache=None)
    found = {(m.first, m.second): m.kind for m in match(one, one, cache=None)}
    assert found == {(0, 2): "near", (3, 5): "near"}
