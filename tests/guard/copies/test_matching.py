"""Whole matching on pictures whose copies are known."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from textures import texture, write

from ssl_mask.guard.copies import matching, scoring
from ssl_mask.guard.copies.fingerprints import Fingerprints, fingerprint
from ssl_mask.guard.copies.matching import NEAR, REVIEW, Match, match

KINDS = {10: "bytes", 11: "pixels", 12: "near", 13: "near", 14: "near"}


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """30 pictures and 30 others; rows 10 to 14 of the second are copies of rows 0 to 4 of the first."""
    root = tmp_path_factory.mktemp("pools")
    first = write(root / "first", [texture(seed) for seed in range(30)])
    second = write(root / "second", [texture(seed) for seed in range(100, 130)])
    shutil.copy(first[0], second[10])
    Image.open(first[1]).save(second[11], "BMP")
    cv2.imwrite(str(second[12]), texture(2)[:, ::-1])
    cv2.imwrite(str(second[13]), cv2.resize(texture(3)[8:150, 5:147], (90, 90), interpolation=cv2.INTER_AREA))
    Image.open(first[4]).convert("L").save(second[14], "JPEG", quality=40)
    return first, second


@pytest.fixture(scope="module")
def prints(pools: tuple[list[Path], list[Path]]) -> tuple[Fingerprints, Fingerprints]:
    first, second = (fingerprint(files, cache=None) for files in pools)
    return first, second


def kinds(found: list[Match]) -> dict[tuple[int, int], str]:
    return {(m.first, m.second): m.kind for m in found}


EXPECTED = {(second - 10, second): kind for second, kind in KINDS.items()}


def test_copies_are_found_with_the_strongest_kind_and_nothing_else(prints: tuple[Fingerprints, Fingerprints]) -> None:
    found = match(*prints, cache=None)
    assert kinds(found) == EXPECTED
    assert found == sorted(found)
    assert [m.score for m in found[:2]] == [1, 1]
    assert all(NEAR <= m.score <= 1.0001 for m in found[2:])
    backwards = match(prints[1], prints[0], cache=None)
    assert {(m.second, m.first): (m.kind, m.score) for m in backwards} == {(m[0], m[1]): (m[2], m[3]) for m in found}


def test_progress_counts_only_pairs_that_are_looked_at(prints: tuple[Fingerprints, Fingerprints]) -> None:
    told: list[tuple[int, int]] = []
    found = match(
        *prints, cache=None, skip=lambda i, j: (i != 2) | (j % 2 == 1), on_progress=lambda *at: told.append(at)
    )
    assert kinds(found) == {(2, 12): "near"}
    everything: list[tuple[int, int]] = []
    match(*prints, cache=None, on_progress=lambda *at: everything.append(at))
    assert told[-1][0] == told[-1][1] < everything[-1][0] == everything[-1][1]


def test_order_processes_and_cache_change_nothing(prints: tuple[Fingerprints, Fingerprints], tmp_path: Path) -> None:
    first, second = prints
    plain = match(first, second, cache=None)
    rows, columns = (np.random.default_rng(seed).permutation(30) for seed in (0, 1))
    for processes, cache in ((2, None), (1, tmp_path), (2, tmp_path)):
        shuffled = match(first.at(rows), second.at(columns), cache=cache, processes=processes)
        assert sorted(Match(int(rows[m.first]), int(columns[m.second]), m.kind, m.score) for m in shuffled) == plain
    assert match(first, second, cache=tmp_path) == plain


def test_within_one_pool_a_pair_is_given_once(pools: tuple[list[Path], list[Path]]) -> None:
    first, second = pools
    both = fingerprint([*second, *first, second[10]], cache=None)
    expected = {(second, 30 + first): kind for (first, second), kind in EXPECTED.items()}
    expected |= {(10, 60): "bytes", (30, 60): "bytes"}
    assert kinds(match(both, both, cache=None)) == expected
    # The same files as two pools: every file is a copy of itself, and pairs come from both sides.
    twice = kinds(match(both, both.at(range(61)), cache=None))
    assert {(i, j) for i, j in twice if i < j} == set(expected)
    assert {pair: kind for pair, kind in twice.items() if pair[0] == pair[1]} == {(n, n): "bytes" for n in range(61)}


def test_skipped_pairs_are_neither_found_nor_verified(
    prints: tuple[Fingerprints, Fingerprints], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[tuple[int, int]] = set()

    def skip(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        asked.update(zip(i.tolist(), j.tolist(), strict=True))
        return i < 3

    assert kinds(match(*prints, cache=None, skip=skip)) == {(3, 13): "near", (4, 14): "near"}
    assert set(EXPECTED) <= asked
    monkeypatch.setattr(scoring, "similarity", None)
    assert match(*prints, cache=None, skip=lambda i, _: np.ones(len(i), bool)) == []


def test_a_second_match_looks_at_no_picture(
    prints: tuple[Fingerprints, Fingerprints], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def similarity(*args: Any) -> float:
        looks.append(scored(*args))
        return looks[-1]

    scored = scoring.similarity
    monkeypatch.setattr(scoring, "similarity", similarity)
    first = match(*prints, cache=tmp_path)
    once = len(looks)
    # With another pool the candidates are searched anew; the scores of most of its pairs are known.
    assert len(match(prints[0].at(range(2, 30)), prints[1], cache=tmp_path)) == 3
    assert len(looks) < 1.3 * once
    monkeypatch.setattr(matching, "candidates", None)
    monkeypatch.setattr(scoring, "similarity", None)
    assert match(*prints, cache=tmp_path) == first


def test_damaged_and_deleted_caches_are_made_anew(prints: tuple[Fingerprints, Fingerprints], tmp_path: Path) -> None:
    plain = match(*prints, cache=tmp_path)
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:50])
    assert match(*prints, cache=tmp_path) == plain
    shutil.rmtree(tmp_path / "guard-v2")
    assert match(*prints, cache=tmp_path) == plain


def test_unreadable_files_match_nothing(tmp_path: Path) -> None:
    files = write(tmp_path, [texture(0), texture(1), texture(0)])
    empty = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in empty:
        path.write_bytes(b"")
    prints = fingerprint([*files, *empty], cache=None)
    assert kinds(match(prints, prints, cache=None)) == {(0, 2): "bytes"}
    nothing = fingerprint(empty, cache=None)
    assert match(nothing, nothing, cache=None) == match(nothing, prints, cache=tmp_path / "cache") == []


def test_pairs_between_the_thresholds_are_for_review(
    prints: tuple[Fingerprints, Fingerprints], monkeypatch: pytest.MonkeyPatch
) -> None:
    for score, kind in ((NEAR, "near"), (NEAR - 0.001, "review"), (REVIEW, "review"), (REVIEW - 0.001, None)):
        monkeypatch.setattr(scoring, "similarity", lambda *_, score=score: score)
        assert kinds(match(*prints, cache=None)).get((2, 12)) == kind


def test_progress_says_its_total_first(prints: tuple[Fingerprints, Fingerprints], tmp_path: Path) -> None:
    for _ in range(2):
        steps: list[tuple[int, int]] = []
        match(*prints, cache=tmp_path, on_progress=lambda *step, steps=steps: steps.append(step))
        assert steps[-1][0] == steps[-1][1] > 0
        # Of the search, then of the candidates: (0, total) before any work, unless all of it is known already.
        starts = [step for before, step in zip([(0, 0), *steps], steps, strict=False) if step[1] != before[1]]
        assert all(done in {0, total} for done, total in starts)


def test_real_faces(mask18: Path, tmp_path: Path) -> None:
    """Altered copies of 15 faces among 300 faces of other persons: each is found, none is accused."""
    originals = sorted((mask18 / "eval" / "images").iterdir())[::56]
    pictures = []
    for path in originals:
        face = cv2.imread(str(path))
        pictures += [face[:, ::-1], face[8:152, 4:148], cv2.resize(face, (80, 80), interpolation=cv2.INTER_AREA)]
    copies = write(tmp_path, pictures, ".jpg")
    clean = sorted((mask18 / "extra").glob("*.jpg"))[:300]
    found = match(
        fingerprint(originals, cache=None), fingerprint([*copies, *clean], cache=None), cache=None, processes=2
    )
    near = {(m.first, m.second) for m in found if m.kind == "near"}
    assert near == {(number // 3, number) for number in range(len(copies))}
