"""PDQ against a slow reading of its definition, and a hash that the reference implementation computed."""

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


def planted() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Hashes of all variants of random pictures; some of the second have 0 to 256 other bits than one of the first."""
    rng = np.random.default_rng(0)
    first, second = (hashes(rng.normal(size=(n, 16, 16)).astype(np.float32)) for n in (150, 5000))
    for row, changed in enumerate([0, 60, 61, 195, 196, 256]):
        flips = np.zeros(256, np.uint8)
        flips[rng.permutation(256)[:changed]] = 1
        for number in (0, 1):
            place = row * 800 + number
            second[place, 1 - number] = rng.integers(0, 256, 32)
            second[place, number] = first[row * 20 + number, 0] ^ np.packbits(flips)
    return first, second


def slow_near(first: NDArray[np.uint8], second: NDArray[np.uint8], radius: int) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    for number in range(8):
        for i, a in enumerate(first[:, 0]):
            apart = np.bitwise_count(a ^ second[:, number]).sum(axis=1, dtype=np.int64)
            for j in np.flatnonzero((apart <= radius) | (apart >= 256 - radius)).tolist():
                found[i, j] = found.get((i, j), 0) | 1 << number
    return found


def quick_near(first: NDArray[np.uint8], second: NDArray[np.uint8], radius: int) -> dict[tuple[int, int], int]:
    found = [zip(*(column.tolist() for column in part), strict=True) for part in near(first, second, radius)]
    return {(i, j): bits for part in found for i, j, bits in part}


def test_near_hashes_are_those_of_a_loop() -> None:
    first, second = planted()
    expected = slow_near(first, second, 60)
    assert {(row * 20 + n, row * 800 + n): 1 << n for row in (0, 1, 4, 5) for n in (0, 1)}.items() <= expected.items()
    assert len(expected) == 8
    assert quick_near(first, second, 60) == expected
    assert quick_near(first, second, 61).keys() - expected.keys() == {
        (row * 20 + n, row * 800 + n) for row in (2, 3) for n in (0, 1)
    }


def test_every_variant_of_a_photo_is_near_it_and_so_is_its_negative() -> None:
    pictures = [grey(seed) for seed in range(40)]
    first = hashes(np.stack([coefficients(picture) for picture in pictures]))
    for number in range(8):
        turned = [variant(255 - p if number % 2 else p, number) for p in pictures]
        noisy = [np.clip(p + np.random.default_rng(n).normal(0, 25, p.shape), 0, 255) for n, p in enumerate(turned)]
        second = hashes(np.stack([coefficients(picture.astype(np.uint8)) for picture in noisy]))
        found = quick_near(first, second, 60)
        assert {(n, n) for n in range(40)} <= found.keys()
        assert found == slow_near(first, second, 60)


def test_variants_whose_median_moved_are_near_too() -> None:
    """Coefficients that are mostly positive: where a mirror turns half of them round, bits around 0 change as well."""
    rng = np.random.default_rng(0)
    plain = rng.normal(0.1, 1, (400, 16, 16)).astype(np.float32)
    flipped = (plain + rng.normal(0, 0.75, plain.shape)) * (-1.0) ** np.arange(1, 17)
    first, second = hashes(plain), hashes(flipped.astype(np.float32))
    expected = slow_near(first, second, 60)
    assert {bits for i, j in expected if i == j for bits in [expected[i, j]]} == {1 << 4}
    assert 300 < len(expected) < 400  # many are nearly 60 bits apart
    assert quick_near(first, second, 60) == expected


def test_of_no_hashes_none_are_near() -> None:
    first, _ = planted()
    assert quick_near(first[:0], first, 60) == quick_near(first, first[:0], 60) == {}
