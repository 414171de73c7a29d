"""The guard's self-test against slow loops: which photos are drawn, what their copies are, how many are found."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
import pytest
from guard_battery import write_copies
from scipy.stats import binomtest
from textures import texture, write

from ssl_mask.console import Console
from ssl_mask.errors import ConfigError, DataError
from ssl_mask.guard import self_test as module
from ssl_mask.guard.check import ReadPools, read_pools
from ssl_mask.guard.copies.alterations import BATTERY, HARD, Alteration, uint8
from ssl_mask.guard.copies.fingerprints import fingerprint
from ssl_mask.guard.copies.matching import match
from ssl_mask.guard.copies.planted import among, plant
from ssl_mask.guard.findings import Pool, Role
from ssl_mask.guard.self_test import AlterationRecall, SelfTest, draw, refuse_self_test, self_test, sides

SOME = {
    "JPEG 50": BATTERY["JPEG 50"], "flip": BATTERY["flip"], "border of a third": HARD["border of a third"],
    "crop 60 %": Alteration(lambda photo, _: photo[: len(photo) * 2 // 5, : photo.shape[1] * 2 // 5]),
    "much noise": Alteration(lambda photo, rng: uint8(photo + rng.normal(0, 58, photo.shape))),
}  # fmt: skip
"""Some that are found, one that is missed, and one that ends in the review band."""
QUIET = Console(quiet=True).counting


def pool(role: Role, root: Path, files: Sequence[Path]) -> Pool:
    names = tuple(f.relative_to(root).as_posix() for f in files)
    return Pool(role, role, root, names, ("",) * len(names), ("",) * len(names))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pools")
    write(folder / "test", [texture(seed) for seed in range(6)])
    write(folder / "unlabeled", [texture(seed) for seed in range(100, 112)])
    return folder


@pytest.fixture(scope="module")
def read(root: Path) -> ReadPools:
    roles: tuple[Role, ...] = ("test", "unlabeled")
    return read_pools([pool(r, root, sorted((root / r).iterdir())) for r in roles], cache=None)


def result_of(read: ReadPools, root: Path, **how: object) -> SelfTest:
    roots = dict.fromkeys(("test", "unlabeled"), root)
    given: dict[str, object] = {"photos": 4, "alterations": SOME, **how}
    return self_test(read, roots, counting=QUIET, **given)  # type: ignore[arg-type]


# ---- the photos ----


def test_the_same_photos_are_drawn_in_any_order() -> None:
    names = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(6)]
    ranks = {name: hashlib.sha256(f"3 {name}".encode()).hexdigest() for name in names}
    expected = sorted(names, key=ranks.__getitem__)[:2]
    for order in permutations(names):
        assert [order[row] for row in draw(order, 2, 3)] == expected
    assert draw(names, 2, 3) != draw(names, 2, 4) or draw(names, 2, 3) != draw(names, 2, 5)


def test_equal_files_are_drawn_once_and_unreadable_ones_never() -> None:
    assert sorted(draw(["b", "", "a", "b", "a", ""], 10, 0)) == [0, 2]
    assert draw(["", ""], 10, 0) == []


# ---- the copies ----


def test_copies_in_memory_are_those_that_a_file_would_be(root: Path, tmp_path: Path) -> None:
    files = sorted((root / "test").iterdir())[:2]
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    planted = plant(files, digests, BATTERY, seed=7)
    copies = write_copies(files, tmp_path, BATTERY, seed=7)
    place = {copy[:2]: row for row, copy in enumerate(copies)}
    rows = [place[o, a] for o, a in zip(planted.originals.tolist(), planted.alterations.tolist(), strict=True)]
    assert sorted(rows) == list(range(2 * len(BATTERY)))
    expected = fingerprint([copies[row].path for row in rows], cache=None)
    whole = among(planted, fingerprint(files, cache=None))
    assert whole.digests == (*expected.digests, *digests) and whole.pixels[: len(rows)] == expected.pixels
    for name in ("pdq", "hog", "thumbs"):
        assert (getattr(whole, name)[: len(rows)] == getattr(expected, name)[:]).all(), name
    pool = fingerprint([*files, tmp_path / "absent.png"], cache=None)
    held = replace(pool, pdq=np.asarray(pool.pdq), hog=np.asarray(pool.hog), thumbs=np.asarray(pool.thumbs))
    for each in (pool, held):  # in its store, and in memory
        behind = among(planted, each).at(range(len(rows), len(rows) + 3))
        assert (behind.pdq[:] == pool.pdq[:]).all() and (behind.hog[:] == pool.hog[:]).all()
        assert not np.any(behind.thumbs[:]) and (among(planted, each).hog[: len(rows)] == expected.hog[:]).all()


def test_what_cannot_be_read_again_is_not_planted(root: Path) -> None:
    roles: tuple[Role, ...] = ("test", "unlabeled")
    pools = [pool(r, root, sorted((root / r).iterdir())[:2]) for r in roles]
    some = {name: BATTERY[name] for name in ("double size", "border", "half size")}
    read = read_pools(pools, cache=None)
    found = result_of(read, root, max_pixels=160 * 160, alterations=some)
    assert {a.alteration: a.planted for a in found.alterations} == {"double size": 0, "border": 0, "half size": 2}
    assert found.planted == 2 and found.to_json()["alterations"][0]["recall"] is None
    assert found.weakest is found.alterations[2]


def test_a_photo_that_changed_meanwhile_is_named(root: Path, tmp_path: Path) -> None:
    files = write(tmp_path / "test", [texture(1), texture(2)])
    others = sorted((root / "unlabeled").iterdir())
    read = read_pools([pool("test", tmp_path, files), pool("unlabeled", root, others)], cache=None)
    files[1].write_bytes(files[0].read_bytes())
    with pytest.raises(DataError, match=r"001\.png: it was changed"):
        self_test(read, {"test": tmp_path, "unlabeled": root}, photos=2, counting=QUIET)


# ---- the search ----


@pytest.mark.parametrize("share", [0.1, 10.0])
def test_the_counts_are_those_of_a_slow_loop(
    read: ReadPools, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Files on disk, one search with all pairs verified for what is planted together, and a count by hand."""
    monkeypatch.setattr(module, "_PLANTED_SHARE", share)
    files, others = (sorted((root / name).iterdir()) for name in ("test", "unlabeled"))
    wanted = draw([hashlib.sha256(f.read_bytes()).hexdigest() for f in files], 4, 0)
    chosen, kinds = [files[row] for row in wanted], {name: [] for name in SOME}
    # At most 0.1 of 18 images: fewer than four, so each alteration alone. With 10 all are planted together.
    for names in [list(SOME)] if share > 1 else [[name] for name in SOME]:
        copies = write_copies(chosen, tmp_path / names[0], names, known=SOME)
        paths = [copy.path for copy in copies] + others
        matches = match(fingerprint(files, cache=None), fingerprint(paths, cache=None), cache=None)
        for number, copy in enumerate(copies):
            for m in matches:
                if (m.first, m.second) == (wanted[copy.original], number):
                    kinds[copy.alteration].append(m.kind)
    result = result_of(read, root)
    assert [(a.alteration, a.planted) for a in result.alterations] == [(name, 4) for name in SOME]
    assert [a.review for a in result.alterations] == [kinds[name].count("review") for name in SOME]
    assert [a.found for a in result.alterations] == [len(kinds[n]) - kinds[n].count("review") for n in SOME]
    found = {a.alteration: a.found for a in result.alterations}
    assert found["JPEG 50"] == found["flip"] == 4 and found["crop 60 %"] == 0
    assert {a.alteration: a.review for a in result.alterations}["much noise"] == 4
    assert (result.photos, result.of, result.pool, result.among) == (4, 6, "test", "unlabeled")


def test_more_photos_than_there_are_is_all_of_them(read: ReadPools, root: Path) -> None:
    result = result_of(read, root, photos=1000, alterations={"flip": BATTERY["flip"]})
    assert (result.photos, result.of, result.planted, result.found) == (6, 6, 6, 6)


def test_a_copy_that_is_there_already_counts_as_found(root: Path, tmp_path: Path) -> None:
    """Two photos with equal pixels, and a pool that holds the very copy that is planted."""
    photo = sorted((root / "test").iterdir())[0]
    twin = tmp_path / "test/twin.bmp"
    twin.parent.mkdir()
    cv2.imwrite(str(twin), cv2.imread(str(photo)))
    (tmp_path / "test/photo.png").write_bytes(photo.read_bytes())
    names = {name: BATTERY[name] for name in ("PNG", "WebP")}
    write_copies([tmp_path / "test/photo.png", twin], tmp_path / "unlabeled", names)
    roles: tuple[Role, ...] = ("test", "unlabeled")
    read = read_pools([pool(r, tmp_path, sorted((tmp_path / r).iterdir())) for r in roles], cache=None)
    result = self_test(read, dict.fromkeys(roles, tmp_path), photos=2, counting=QUIET, alterations=names)
    assert [(a.planted, a.found) for a in result.alterations] == [(2, 2), (2, 2)]


def test_nothing_is_kept(root: Path, tmp_path: Path) -> None:
    roles: tuple[Role, ...] = ("test", "unlabeled")
    pools = [pool(r, root, sorted((root / r).iterdir())) for r in roles]
    read = read_pools(pools, cache=tmp_path)

    def tree() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for folder in (tmp_path, root) for p in sorted(folder.rglob("*")) if p.is_file()}

    before = tree()
    assert result_of(read, root, photos=2).found >= 4
    assert tree() == before and any("guard" in name for name in before)


# ---- the figures ----


@pytest.mark.parametrize(("found", "planted"), [(0, 1), (1, 1), (194, 200), (200, 200), (0, 200), (7, 9)])
def test_intervals_are_wilsons(found: int, planted: int) -> None:
    expected = binomtest(found, planted).proportion_ci(confidence_level=0.95, method="wilson")
    value, low, high = AlterationRecall("x", planted, found, 0).recall
    assert value == found / planted
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_sentence_names_the_weakest() -> None:
    parts = (AlterationRecall("JPEG", 200, 200, 0), AlterationRecall("crop 20 %", 200, 194, 3),
             AlterationRecall("blur", 200, 197, 1), AlterationRecall("huge", 0, 0, 0))  # fmt: skip
    result = SelfTest("test", "train", 200, 840, 0, "exact", parts)
    said = "of 600 altered copies of your photos 591 were found; weakest: crop 20 % (0.970, 0.936 to 0.986)"
    assert result.sentence == said == result.to_json()["sentence"]
    assert SelfTest("test", "train", 200, 840, 0, "exact", parts[:1]).sentence == (
        "of 200 altered copies of your photos 200 were found; 1.000, 0.981 to 1.000 for each alteration"
    )
    assert "no photo of test can be read" in SelfTest("test", "train", 0, 0, 0, "exact", parts[3:]).sentence


# ---- which pools ----


def named(*roles: Role) -> list[Pool]:
    return [pool(role, Path(), []) for role in roles]


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (("train", "unlabeled", "val", "test"), ("test", "unlabeled")),
        (("test", "train", "val"), ("test", "train")),
        (("test", "val"), ("test", "val")),
        (("train", "val"), ("val", "train")),
    ],
)
def test_the_most_protected_photos_are_planted_where_training_reads(
    roles: tuple[Role, ...], expected: tuple[str, str]
) -> None:
    assert sides(named(*roles)) == expected


@pytest.mark.parametrize("roles", [("train", "unlabeled"), ("test",), ()])
def test_without_two_such_pools_it_is_refused_with_the_next_step(roles: tuple[Role, ...]) -> None:
    with pytest.raises(DataError, match="needs test or validation images") as refused:
        refuse_self_test(named(*roles), 5)
    assert "--test FOLDER --unlabeled FOLDER" in refused.value.hint


def test_no_photos_is_refused() -> None:
    with pytest.raises(ConfigError, match="of 0 photos"):
        refuse_self_test(named("test", "train"), 0)


def test_a_pool_without_a_readable_photo_is_said(root: Path, tmp_path: Path) -> None:
    bad = tmp_path / "test.jpg"
    bad.write_bytes(b"")
    others = sorted((root / "unlabeled").iterdir())
    read = read_pools([pool("test", tmp_path, [bad]), pool("unlabeled", root, others)], cache=None)
    result = self_test(read, {"test": tmp_path, "unlabeled": root}, photos=2, counting=QUIET)
    assert result.planted == result.photos == 0 and "no photo of test can be read" in result.sentence
