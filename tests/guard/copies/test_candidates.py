"""Candidates against two plain loops over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from textures import grey

from ssl_mask.guard.copies import search
from ssl_mask.guard.copies.candidates import PDQ_RADIUS, Descriptors, Hits, candidates
from ssl_mask.guard.copies.hog import hogs, mirrored
from ssl_mask.guard.copies.pdq import coefficients, hashes, variant
from ssl_mask.guard.copies.search import HOG_COSINE
from ssl_mask.guard.copies.whitening import Whitening, whitening

Picture = NDArray[np.uint8]


def described(pictures: list[Picture], rows: NDArray[np.int64] | None = None) -> Descriptors:
    pdq = hashes(np.stack([coefficients(picture) for picture in pictures]))
    return Descriptors(pdq, hogs(np.stack(pictures)), np.arange(len(pictures)) if rows is None else rows)


def noisy(picture: Picture, seed: int) -> Picture:
    noise = np.random.default_rng(seed).normal(0, 12, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def pools() -> tuple[Descriptors, Descriptors]:
    first = [grey(seed) for seed in range(60)]
    first += [noisy(variant(first[row], row % 8), row) for row in range(24)]
    second = [grey(seed) for seed in range(100, 150)]
    second += [noisy(variant(first[row], row % 8), row + 50) for row in range(60)]
    return described(first), described(second)


def slow_alike(a: NDArray[np.float64], b: NDArray[np.float64], *, within: bool) -> set[tuple[int, int]]:
    """Pairs of (n, 7, 256) whitened descriptors above the threshold, and of each picture the two most alike.

    Within one pool, one other.
    """
    cosine = {}
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            there = max((one[whole] @ other[:6].T).max() for whole in (0, 6))
            here = max((other[whole] @ one[:6].T).max() for whole in (0, 6))
            cosine[i, j] = max(there, here) if i != j or not within else -2
    found = {pair for pair, value in cosine.items() if value >= HOG_COSINE}
    for i in range(len(a)):
        found |= {(i, j) for j in sorted(range(len(b)), key=lambda j: -cosine[i, j])[: 1 if within else 2]}
    for j in range(len(b)):
        found |= {(i, j) for i in sorted(range(len(a)), key=lambda i: -cosine[i, j])[: 1 if within else 2]}
    return found


def seven(white: Whitening, descriptors: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 6, 324) to whitened (n, 7, 256): the last is of the mirrored full frame."""
    both = np.concatenate([descriptors, mirrored(descriptors[:, :1])], axis=1)
    return white.project(both).astype(np.float64)


def slow(first: Descriptors, second: Descriptors) -> dict[tuple[int, int], int]:
    """Pairs and the bits of their variants."""
    within = first is second
    white = whitening([pool.hog[pool.rows, 0] for pool in ([first] if within else [first, second])])
    a, b = (seven(white, pool.hog[pool.rows]) for pool in (first, second))
    alike = slow_alike(a, b, within=within)
    found: dict[tuple[int, int], int] = {}
    for i in range(len(first.rows)):
        for j in range(i + 1 if within else 0, len(second.rows)):
            bits = 0
            for number in range(8):
                ways = [first.pdq[i, 0] ^ second.pdq[j, number]]
                if within:  # the search meets the pair from both sides
                    ways.append(first.pdq[i, number if number >= 4 else -number % 4] ^ second.pdq[j, 0])
                apart = [int(np.bitwise_count(way).sum()) for way in ways]
                if min(min(n, 256 - n) for n in apart) <= PDQ_RADIUS:
                    bits |= 1 << number
            if bits or (i, j) in alike or (within and (j, i) in alike):
                found[i, j] = bits | 0b00010001
    return found


def as_dict(hits: Hits) -> dict[tuple[int, int], int]:
    return {(int(i), int(j)): int(bits) for i, j, bits in zip(*hits, strict=True)}


def test_two_pools(pools: tuple[Descriptors, Descriptors]) -> None:
    first, second = pools
    hits = candidates(first, second)
    expected = slow(first, second)
    assert as_dict(hits) == expected
    assert list(as_dict(hits)) == sorted(expected)
    copies = {(row, 50 + row) for row in range(60)}
    assert copies <= set(expected)  # every planted copy, also those turned by quarters
    assert len(expected) < len(copies) + 2 * (84 + 110)
    assert all(expected[row, 50 + row] >> row % 8 & 1 == 1 for row in range(60) if row % 8 not in (1, 3))


def test_within_one_pool(pools: tuple[Descriptors, Descriptors]) -> None:
    first, _ = pools
    expected = slow(first, first)
    assert as_dict(candidates(first, first)) == expected
    assert {(row, 60 + row) for row in range(24)} <= set(expected)


def test_small_blocks_give_the_same(pools: tuple[Descriptors, Descriptors], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = pools
    before = as_dict(candidates(first, second)), as_dict(candidates(first, first))
    steps: list[tuple[int, int]] = []
    for name, value in (("_BLOCK", 7), ("_TILE", 10), ("_HELD", 30)):
        monkeypatch.setattr(search, name, value)
    assert as_dict(candidates(first, second, lambda *step: steps.append(step))) == before[0]
    assert as_dict(candidates(first, first)) == before[1]
    # 84 of the smaller pool at 30 a time, 110 of the larger one at 7 a time; the last step adds the nearest.
    assert list(dict.fromkeys(steps)) == [(done, 3 * 16) for done in range(3 * 16 + 1)]


def test_rows_choose_and_order_the_pictures(pools: tuple[Descriptors, Descriptors]) -> None:
    first, second = pools
    rows = np.random.default_rng(0).permutation(84)
    shuffled = as_dict(candidates(Descriptors(first.pdq, first.hog, rows), second))
    assert {(int(rows[i]), j): bits for (i, j), bits in shuffled.items()} == as_dict(candidates(first, second))


def test_swapping_the_pools_swaps_the_pairs_and_undoes_their_turns(pools: tuple[Descriptors, Descriptors]) -> None:
    hits = Hits(np.array([1, 2, 3]), np.array([4, 5, 6]), np.array([0b10, 0b1001, 0b11110100], np.uint8))
    assert as_dict(hits.swapped()) == {(4, 1): 0b1000, (5, 2): 0b11, (6, 3): 0b11110100}
    assert as_dict(hits.swapped().swapped()) == as_dict(hits)
    first, second = pools
    turned = Hits(*(np.array(column) for column in candidates(second, first))).swapped()
    assert as_dict(turned).keys() == as_dict(candidates(first, second)).keys()


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 5), (5, 0), (1, 1)])
def test_pools_of_nothing(n: int, m: int) -> None:
    pool = described([grey(seed) for seed in range(5)])
    a, b = (Descriptors(pool.pdq, pool.hog, np.arange(5)[:count]) for count in (n, m))
    assert set(as_dict(candidates(a, b))) <= {(0, 0)}
