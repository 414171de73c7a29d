"""PDQ against a slow reading of its definition, a hash that the reference implementation computed, and faiss."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from textures import grey

from ssl_mask.guard.copies.pdq import coefficients, hashes, near, undo, variant


def slow_box(line: list[float], window: int) -> list[float]:
    half = (window + 2) // 2
    means = []
    for place in range(len(line)):
        inside = line[max(0, place + half - window) : place + half]
        means.append(sum(inside) / len(inside))
    return means


def slow_coefficients(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    lines = [[float(value) for value in row] for row in picture]
    for axis in range(4):  # rows, columns, rows, columns
        window = (len(lines[0]) + 127) // 128
        lines = [list(column) for column in zip(*(slow_box(line, window) for line in lines), strict=True)]
        assert len(lines) == picture.shape[1 - axis % 2]
    height, width = picture.shape
    grid = [[lines[int((y + 0.5) * height / 64)][int((x + 0.5) * width / 64)] for x in range(64)] for y in range(64)]

    def wave(frequency: int, place: int) -> float:
        return math.sqrt(2 / 64) * math.cos(math.pi / 128 * frequency * (2 * place + 1))

    across = [[sum(wave(f, x) * row[x] for x in range(64)) for f in range(1, 17)] for row in grid]
    return np.array([[sum(wave(f, y) * across[y][g] for y in range(64)) for g in range(16)] for f in range(1, 17)])


def bits_apart(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> int:
    return int(np.bitwise_count(first ^ second).sum())


@pytest.mark.parametrize(("height", "width"), [(64, 64), (150, 90), (40, 300)])
def test_coefficients_are_those_of_the_definition(height: int, width: int) -> None:
    picture = grey(0, height, width)
    np.testing.assert_allclose(coefficients(picture), slow_coefficients(picture), atol=0.05)


def test_the_hash_is_that_of_the_reference_implementation() -> None:
    y, x = np.mgrid[0:150, 0:180]
    waves = (np.sin(x / 9 + y / 23) + np.cos(x * y / 900) + np.sin((x - 60) ** 2 / 700 - (y / 15)) + 3) * 42
    picture = np.clip(waves, 0, 255).astype(np.uint8)
    ours = hashes(coefficients(picture)[None])[0, 0]
    # pdqhash 0.2.8, whose bits begin at the other end.
    theirs = "f62dfc4a892588b5331a26f52d3a4a5554aa5555aaae0555a8be8575a89f8d75"
    assert bits_apart(ours, np.frombuffer(bytes.fromhex(theirs), np.uint8)) == 0


@pytest.mark.parametrize("number", range(8))
def test_a_variant_is_the_hash_of_the_turned_picture(number: int) -> None:
    picture = grey(1, 64, 64)  # no box filter, whose windows would lean to one side
    direct = hashes(coefficients(variant(picture, number))[None])[0, 0]
    derived = hashes(coefficients(picture)[None])[0, number]
    assert bits_apart(direct, derived) <= 2  # values at the median
    assert bits_apart(derived, hashes(coefficients(picture)[None])[0, (number + 1) % 8]) > 60


@pytest.mark.parametrize("number", range(8))
def test_undo_takes_a_variant_back(number: int) -> None:
    picture = grey(2, 20, 30)
    assert np.array_equal(variant(variant(picture, number), undo(number)), picture)


def test_half_of_the_bits_are_set_and_large_pictures_are_shrunk_first() -> None:
    small = grey(3, 500, 400)
    large = np.repeat(np.repeat(small, 4, axis=0), 4, axis=1)
    ours = hashes(np.stack([coefficients(small), coefficients(large)]))
    assert np.bitwise_count(ours).sum(axis=2).tolist() == [[128] * 8] * 2
    assert bits_apart(ours[0, 0], ours[1, 0]) <= 6


def planted() -> tuple[NDArray[np.uint8], NDArray[np.uint8], set[tuple[int, int]]]:
    """Random hashes, some of them copied with 0, 60, 61 or all 256 bits changed, and the pairs 60 bits apart."""
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (n, 32), dtype=np.uint8) for n in (150, 2100))
    for row, changed in enumerate([0, 60, 61, 256]):
        flips = np.zeros(256, np.uint8)
        flips[rng.permutation(256)[:changed]] = 1
        second[row * 600] = first[row * 40] ^ np.packbits(flips)
    slow = {(i, j) for i, a in enumerate(first) for j, b in enumerate(second) if bits_apart(a, b) <= 60}
    assert {(0, 0), (40, 600)} == slow
    return first, second, slow


def found(first: NDArray[np.uint8], second: NDArray[np.uint8], radius: int) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for rows in near(first, second, radius) for i, j in zip(*rows, strict=True)}


def test_near_hashes_are_those_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)  # not importable
    first, second, slow = planted()
    assert found(first, second, 60) == slow
    assert found(first, second, 61) == slow | {(80, 1200)}


def test_faiss_finds_the_same() -> None:
    pytest.importorskip("faiss")
    first, second, slow = planted()
    assert found(first, second, 60) == slow
