"""Which images were seen before: by the pictures where they are at hand, else by digests alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest
from textures import texture, write

from ssl_mask.config import DataConfig, RunConfig
from ssl_mask.console import Console
from ssl_mask.guard.ancestors import Ancestor
from ssl_mask.guard.copies.fingerprints import fingerprint
from ssl_mask.guard.copies.sketches import Sketches, sketched
from ssl_mask.guard.findings import Pool
from ssl_mask.guard.gate import GateResult
from ssl_mask.guard.lineage import met_again
from ssl_mask.guard.provenance import judge_seen
from ssl_mask.guard.sightings import Sightings, sightings

QUIET = Console(quiet=True)
COPIES = {"same.png", "pixels.bmp", "jpeg.jpg", "mirrored.png", "crop.png"}


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    return write(tmp_path / "photos", [texture(seed) for seed in range(10)])


@pytest.fixture
def pool(photos: list[Path], tmp_path: Path) -> Pool:
    folder = tmp_path / "pool"
    folder.mkdir()
    shutil.copy(photos[0], folder / "same.png")
    cv2.imwrite(str(folder / "pixels.bmp"), texture(1))
    cv2.imwrite(str(folder / "jpeg.jpg"), texture(2), [cv2.IMWRITE_JPEG_QUALITY, 60])
    cv2.imwrite(str(folder / "mirrored.png"), texture(3)[:, ::-1])
    cv2.imwrite(str(folder / "crop.png"), texture(4)[10:150, 8:152])
    cv2.imwrite(str(folder / "new.png"), texture(50))
    (folder / "broken.png").write_bytes(b"")
    names = tuple(sorted(p.name for p in folder.iterdir()))
    return Pool("test", "test", folder, names, ("",) * len(names), ("",) * len(names))


def seen_of(photos: list[Path], cache: Path | None = None) -> Sketches:
    return sketched(fingerprint(photos, cache=cache))


def kinds(found: Sightings) -> dict[str, str]:
    return {path: how[0].kind for path, how in sorted((found.copies | found.review).items())}


def nowhere() -> dict[str, Path]:
    return {}


def test_with_the_cache_nothing_is_lost(photos: list[Path], pool: Pool, tmp_path: Path) -> None:
    seen = {"train": seen_of(photos, tmp_path / "cache")}
    shutil.rmtree(tmp_path / "photos")

    def unasked() -> dict[str, Path]:
        raise AssertionError("the cache holds all of them")

    found = sightings(pool, seen, DataConfig(cache=str(tmp_path / "cache")), QUIET, places=unasked)
    near = {"crop.png": "near", "jpeg.jpg": "near", "mirrored.png": "near"}
    assert kinds(found) == {**near, "pixels.bmp": "pixels", "same.png": "bytes"}
    assert (found.review, found.blind) == ({}, 0)
    assert found.pool.unreadable.keys() == {"broken.png"} and found.pool.role == "test"


@pytest.mark.parametrize("cache", ["off", "own"])
def test_without_the_cache_the_files_are_compared(photos: list[Path], pool: Pool, tmp_path: Path, cache: str) -> None:
    seen, places = seen_of(photos), dict(zip(fingerprint(photos, cache=None).digests, photos, strict=True))
    config = DataConfig(cache="off" if cache == "off" else str(tmp_path / "cache"))
    found = sightings(pool, {"train": seen}, config, QUIET, places=lambda: places)
    assert found.copies.keys() == COPIES and (found.review, found.blind) == ({}, 0)


def test_without_any_picture_a_copy_is_at_least_review(photos: list[Path], pool: Pool) -> None:
    found = sightings(pool, {"train": seen_of(photos)}, DataConfig(cache="off"), QUIET, places=nowhere)
    review = {"jpeg.jpg": "review", "mirrored.png": "review"}
    assert kinds(found) == {**review, "pixels.bmp": "pixels", "same.png": "bytes"}
    assert found.review.keys() == review.keys() and found.blind == 10
    judged = judge_seen(found, [{}], grouped=True)
    assert judged.status == "leaked-declared" and judged.overlap.keys() == {"pixels.bmp", "same.png"}
    assert judged.review["jpeg.jpg"].startswith("perhaps trained on with its label (review, 0.")


def test_review_alone_is_never_clean_and_says_why(photos: list[Path], pool: Pool) -> None:
    some = pool.at([i for i, path in enumerate(pool.paths) if path in {"jpeg.jpg", "new.png"}])
    found = sightings(some, {"unlabeled": seen_of(photos)}, DataConfig(cache="off"), QUIET, places=nowhere)
    judged = judge_seen(found, [{}], grouped=True)
    assert judged.status == "not-checked" and judged.overlap == {} and judged.review.keys() == {"jpeg.jpg"}
    assert "1 images may be copies of images that were seen in training" in judged.sentence
    assert "neither in the cache nor where they were (review)" in judged.sentence
    assert "of 10 images that were seen no picture is" in judged.sentence
    assert judged.to_json()["review"] == judged.review


def test_a_picture_that_was_changed_at_its_place_is_not_taken_for_it(photos: list[Path], pool: Pool) -> None:
    seen, places = seen_of(photos), dict(zip(fingerprint(photos, cache=None).digests, photos, strict=True))
    cv2.imwrite(str(photos[2]), texture(70))
    photos[3].unlink()
    found = sightings(pool, {"train": seen}, DataConfig(cache="off"), QUIET, places=lambda: places)
    assert found.review.keys() == {"jpeg.jpg", "mirrored.png"} and found.blind == 2
    assert found.copies.keys() == COPIES - found.review.keys()


def test_a_role_that_means_nothing_to_a_pool_is_not_told(photos: list[Path], pool: Pool) -> None:
    seen = seen_of(photos)
    found = sightings(pool.at([2]), {"val": seen, "train": seen.at([])}, DataConfig(cache="off"), QUIET, places=nowhere)
    assert {s.role for how in (found.copies | found.review).values() for s in how} == {"val"}


def test_what_weights_have_seen_is_said_where_a_run_starts_from_them(photos: list[Path], pool: Pool) -> None:
    some = pool.at([i for i, path in enumerate(pool.paths) if path in {"jpeg.jpg", "new.png"}])
    prints = fingerprint([some.root / path for path in some.paths], cache=None)
    gate = GateResult(pools=(some,), prints={some.name: prints})
    config, old = RunConfig(data=DataConfig(cache="off")), Ancestor("runs/old", None, None, "")
    ((digest, mark),) = met_again(gate, old, {"train": seen_of(photos)}, config, QUIET)
    assert (digest, mark.status) == (prints.content_digest, "not-checked")
    assert "1 images of the test set may be copies of images that runs/old, which it builds on, has seen" in mark.reason
    assert "(review)" in mark.reason
