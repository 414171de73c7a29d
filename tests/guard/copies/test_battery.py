"""The alterations against arithmetic, and the guard against them: every copy is found, nobody is accused falsely."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from guard_battery import Copy, write_copies
from PIL import Image, ImageFilter

from ssl_mask.data.image_files import find_images
from ssl_mask.data.images import decode
from ssl_mask.guard.copies.alterations import BATTERY, COMBINED, HARD, Photo, collage, crop, flip, logo, tone, turn
from ssl_mask.guard.copies.fingerprints import fingerprint
from ssl_mask.guard.copies.matching import match


def texture(seed: int, side: int = 128) -> Photo:
    """Smooth noise at several scales: like no other, and without any symmetry."""
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=(cells, cells, 3)) / cells**0.5 for cells in (4, 9, 20, 45)]
    total = sum(cv2.resize(layer, (side, side), interpolation=cv2.INTER_CUBIC) for layer in layers)
    return np.clip(128 + 60 * total, 0, 255).astype(np.uint8)


def textures(folder: Path, seeds: range) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{seed}.png" for seed in seeds]
    for path, seed in zip(paths, seeds, strict=True):
        cv2.imwrite(str(path), texture(seed))
    return paths


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# --- the alterations --------------------------------------------------------------------------------------------------


def test_there_are_enough_of_them() -> None:
    assert len(BATTERY) >= 21
    assert not BATTERY.keys() & COMBINED.keys()


def test_the_same_bytes_every_time_in_any_company(tmp_path: Path) -> None:
    files = textures(tmp_path / "originals", range(3))
    once = write_copies(files, tmp_path / "a", BATTERY | COMBINED)
    alone = write_copies(files[2:], tmp_path / "b", ["logo"])
    (same,) = [copy.path for copy in once if copy[:2] == (2, "logo")]
    assert same.read_bytes() == alone[0].path.read_bytes() != files[2].read_bytes()
    assert write_copies(files[2:], tmp_path / "c", ["logo"], seed=1)[0].path.name != same.name
    assert len({copy.path for copy in once}) == 3 * len(BATTERY | COMBINED) == len(find_images(tmp_path / "a"))


def test_sizes(tmp_path: Path) -> None:
    copies = write_copies(textures(tmp_path, range(1)), tmp_path / "copies", BATTERY)
    sizes = {copy.alteration: decode(copy.path).shape[:2] for copy in copies}
    other = {"half size": 64, "double size": 256, "crop 5 %": 122, "crop 10 %": 115, "crop 20 %": 102, "border": 144}
    assert sizes == {name: (side, side) for name in BATTERY for side in [other.get(name, 128)]}


def test_changes_by_hand() -> None:
    photo = texture(0)
    assert (flip(photo, rng())[5, 7] == photo[5, 120]).all()
    assert (crop(photo, rng(), share=0.2) == photo[22:124, 17:119]).all()
    assert tone(np.uint8([[[128, 100, 250]]]), rng(), gain=1.3).tolist() == [[[166, 130, 255]]]
    assert tone(np.uint8([[[255, 51, 0]]]), rng(), contrast=0.6).tolist() == [[[204, 82, 51]]]
    covered = (logo(photo, rng()) != photo).any(axis=2)
    assert covered.mean() == pytest.approx(0.10, abs=0.01)
    turned = turn(photo, rng(), degrees=5.0)
    assert abs(int(turned[64, 64, 0]) - int(photo[64, 64, 0])) < 20
    assert (turned[0, [0, -1]] == 0).all(axis=1).any()


def test_hard_changes_by_hand() -> None:
    photo, others = texture(0), [texture(seed) for seed in range(1, 6)]
    whole = collage(photo, rng(), others=others)
    tiles = [whole[y : y + 128, x : x + 128] for y in (0, 128) for x in (0, 128)]
    known = {photo.tobytes(): 0} | {other.tobytes(): 1 for other in others}
    assert len({tile.tobytes() for tile in tiles}) == 4 and sorted(known[t.tobytes()] for t in tiles) == [0, 1, 1, 1]
    framed = HARD["border of a third"].change(photo, rng())
    assert framed.shape == (214, 214, 3) and (framed[43:171, 43:171] == photo).all()
    assert len(np.unique(framed[:43].reshape(-1, 3), axis=0)) == 1
    assert HARD["crop 30 %"].change(photo, rng()).shape == (90, 90, 3)
    blurred = HARD["blur of radius 6"].change(np.repeat(photo[:, :, :1], 3, axis=2), rng())
    expected = np.asarray(Image.fromarray(photo[:, :, 0]).filter(ImageFilter.GaussianBlur(6 / 160 * 128)))
    assert np.abs(blurred[20:-20, 20:-20, 0].astype(int) - expected[20:-20, 20:-20]).max() <= 4


# --- the guard --------------------------------------------------------------------------------------------------------


def audit(originals: list[Path], clean: list[Path], folder: Path) -> tuple[list[Copy], set[tuple[int, int]]]:
    """The copies that are missed, and the pairs (original, clean photo) accused."""
    copies = write_copies(originals, folder, BATTERY)
    first = fingerprint(originals, cache=None)
    second = fingerprint([copy.path for copy in copies] + clean, cache=None)
    pairs = {(m.first, m.second) for m in match(first, second, cache=None) if m.kind != "review"}
    missed = [copy for n, copy in enumerate(copies) if (copy.original, n) not in pairs]
    return missed, {(i, j - len(copies)) for i, j in pairs if j >= len(copies)}


def test_every_copy_of_a_texture_is_found(tmp_path: Path) -> None:
    originals, clean = textures(tmp_path / "a", range(4)), textures(tmp_path / "b", range(10, 60))
    assert audit(originals, clean, tmp_path / "copies") == ([], set())


def test_every_copy_of_a_drawn_photo_is_found(drawn: Path, tmp_path: Path) -> None:
    originals = find_images(drawn / "eval")[::7]
    clean = find_images(drawn / "train")[::2]
    assert audit(originals, clean, tmp_path / "copies") == ([], set())


@pytest.mark.slow
def test_real_faces(mask18: Path, tmp_path: Path) -> None:
    """The goal, on fewer photos than `guard_recall.py` takes."""
    originals = find_images(mask18 / "eval" / "images")[::21]
    clean = find_images(mask18 / "train" / "images")[::4]
    missed, accused = audit(originals, clean, tmp_path / "copies")
    assert len(missed) <= 0.01 * len(originals) * len(BATTERY)
    assert not accused
