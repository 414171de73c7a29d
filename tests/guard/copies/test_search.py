"""The HOG search: its parts against plain definitions, and its quick way for large pools against the exact one."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from textures import grey

from ssl_mask import cluster
from ssl_mask.guard.copies import search
from ssl_mask.guard.copies.hog import hogs, mirrored
from ssl_mask.guard.copies.nearest import Nearest
from ssl_mask.guard.copies.search import Pool, alike, steps
from ssl_mask.guard.copies.whitening import Whitening, cosines, whitening

Hogs = NDArray[np.generic]


def pool(descriptors: Hogs) -> Pool:
    return Pool(len(descriptors), lambda part: descriptors[part])


def found(first: Pool, second: Pool, white: Whitening) -> set[tuple[int, int]]:
    return {pair for i, j in alike(first, second, white) for pair in zip(i.tolist(), j.tolist(), strict=True)}


@pytest.fixture(scope="module")
def pictures() -> tuple[Hogs, Hogs]:
    """HOGs of 60 pictures, and of a piece of each and 140 others."""
    originals = [grey(seed) for seed in range(60)]
    rng = np.random.default_rng(0)
    pieces = []
    for number, picture in enumerate(originals):
        top, left = rng.integers(0, 20, 2)
        piece = np.asarray(cv2.resize(picture[top : top + 109, left : left + 109], (128, 128)), np.uint8)
        pieces.append(np.ascontiguousarray(piece[:, ::-1]) if number % 2 else piece)
    others = pieces + [grey(seed) for seed in range(1000, 1140)]
    return hogs(np.stack(originals)), hogs(np.stack(others))


@pytest.fixture(scope="module")
def white(pictures: tuple[Hogs, Hogs]) -> Whitening:
    return whitening([descriptors[:, 0] for descriptors in pictures])


def test_whitened_descriptors_of_a_large_pool_are_uncorrelated() -> None:
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(3000, 324)) @ (rng.normal(size=(324, 324)) * np.linspace(0.1, 1, 324)) / 100
    mixed[1::2] = mirrored(mixed[1::2].astype(np.float32))
    white = whitening([mixed[:1000], mixed[1000:]]).project(mixed)
    np.testing.assert_allclose(np.linalg.norm(white, axis=1), 1, atol=1e-5)
    likeness = np.abs(white[:200] @ white[200:400].T)
    raw = mixed[:400] / np.linalg.norm(mixed[:400], axis=1)[:, None]
    assert likeness.mean() < 0.8 * np.abs(raw[:200] @ raw[200:].T).mean()


def test_one_product_compares_with_a_picture_and_with_its_mirror_image(
    pictures: tuple[Hogs, Hogs], white: Whitening
) -> None:
    frames, others = (descriptors[:, 0] for descriptors in pictures)
    projected, plain, turned = (white.project(some) for some in (frames, others, mirrored(others)))
    expected = np.maximum(projected @ plain.T, projected @ turned.T)
    out = np.empty((2, len(frames), len(others)), np.float32)
    np.testing.assert_allclose(cosines(projected, plain, white.even, out), expected, atol=1e-5)
    assert 100 < white.even < 156
    assert (projected @ plain.T < expected - 0.1).any()


def test_the_strongest_axes_are_those_of_the_largest_variances(white: Whitening) -> None:
    places, even = white.strongest(128)
    assert len(places) == 128
    assert even == sum(place < white.even for place in places)
    others = np.delete(white.variances, places)
    assert white.variances[places].min() >= others.max()
    assert len(white.strongest(0)[0]) == 0


@pytest.mark.parametrize("width", [1, 3, 40])
def test_the_nearest_are_those_of_a_sort(width: int) -> None:
    rng = np.random.default_rng(width)
    values = rng.integers(-90, 90, (30, 40)).astype(np.float32) / 100  # with many equal ones
    values[:, 5], values[3] = -2, -2
    nearest = Nearest(30, 2)
    for row in range(0, 30, 7):
        for column in range(0, 40, width):
            nearest.offer(values[row : row + 7, column : column + width], row, column)
    ranked = np.lexsort((np.broadcast_to(np.arange(40), values.shape), -values), axis=1)[:, :2]
    expected = {(i, int(j)) for i in range(30) for j in ranked[i] if values[i, j] >= -1}
    assert {(int(i), int(j)) for i, j in zip(*nearest.pairs(), strict=True)} == expected
    nothing = Nearest(0, 2)
    nothing.offer(values, 0, 0)
    assert len(nothing.pairs()[0]) == 0


def test_the_quick_way_finds_what_the_exact_one_finds(
    pictures: tuple[Hogs, Hogs], white: Whitening, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (pool(descriptors) for descriptors in pictures)
    for name, value in (("_NEAREST_UP_TO", 0), ("HOG_COSINE", 0.2), ("_QUICK_COSINE", 0.25)):
        monkeypatch.setattr(search, name, value)
    exact = found(first, second, white)
    views = [white.project(descriptors) for descriptors in pictures]
    views += [white.project(mirrored(descriptors[:, :1])) for descriptors in pictures]
    best = np.zeros((60, 200))
    for i, j in np.ndindex(60, 200):
        there = max((whole @ views[1][j].T).max() for whole in (views[0][i, :1], views[2][i]))
        here = max((whole @ views[0][i].T).max() for whole in (views[1][j, :1], views[3][j]))
        best[i, j] = max(there, here)
    assert exact == set(zip(*(part.tolist() for part in np.nonzero(best >= 0.2)), strict=True))
    copies = {(n, n) for n in range(60)}
    assert copies < exact
    monkeypatch.setattr(search, "_EXACT_UP_TO", 0)
    near_enough = set(zip(*(part.tolist() for part in np.nonzero(best >= 0.25)), strict=True))
    assert copies <= found(first, second, white) < near_enough < exact
    monkeypatch.setattr(search, "_SKETCH_COSINE", -1)  # a first pass that leaves out nothing
    assert found(first, second, white) == near_enough
    within = pool(np.concatenate(pictures))
    monkeypatch.setattr(search, "_SKETCH_COSINE", 0.4)
    assert {(n, 60 + n) for n in range(60)} <= (pairs := found(within, within, white))
    assert all(i < j for i, j in pairs)


def test_of_small_pools_the_two_nearest_of_each_picture_are_candidates(
    pictures: tuple[Hogs, Hogs], white: Whitening, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (pool(descriptors) for descriptors in pictures)
    monkeypatch.setattr(search, "HOG_COSINE", 2)
    both = found(first, second, white)
    assert {j for _, j in both} == set(range(200))
    monkeypatch.setattr(search, "_NEAREST_UP_TO", 100)
    assert len(of_first := found(first, second, white)) == 120
    assert of_first <= both
    monkeypatch.setattr(search, "_NEAREST_UP_TO", 10)
    assert found(first, second, white) == set()


def test_memory_does_not_grow_with_the_larger_pool(white: Whitening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_NEAREST_UP_TO", 0)
    monkeypatch.setattr(search, "_EXACT_UP_TO", 0)
    base = np.random.default_rng(0).integers(0, 255, (256, 6, 324), np.uint8)
    peaks = []
    for count in (1024, 4096):
        larger = Pool(count, lambda part: np.take(base, np.arange(part.start, part.stop) % 256, axis=0))
        tracemalloc.start()
        for _ in alike(pool(base[:40]), larger, white):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 40 * 2**20
    assert steps(pool(base[:40]), larger) == 8


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("noted", [(0, 0), (60, 0), (60, 200)])
def test_a_cluster_finds_the_same(
    pictures: tuple[Hogs, Hogs], white: Whitening, noted: tuple[int, int], exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of two blocks, sent to and fro; of the nearest of each picture, those of all parts together count."""
    monkeypatch.setattr(search, "_BLOCK", 16)
    monkeypatch.setattr(search, "_TILE", 32)
    monkeypatch.setattr(search, "_HELD", 64 if any(noted) else 25)
    monkeypatch.setattr(search, "_BLOCKS_PER_TASK", 2)
    monkeypatch.setattr(search, "_EXACT_UP_TO", 10**9 if exact else 0)
    monkeypatch.setattr(search, "_NEAREST_UP_TO", max(noted))
    smaller, larger = map(pool, pictures)
    alone = found(smaller, larger, white)
    within = found(smaller, smaller, white)
    sent: list[int] = []

    def spread(work: Callable[[Any], Any], tasks: Iterable[Any], _: int) -> Iterator[Any]:
        for task in tasks:
            sent.append(len(task))
            yield pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(work))(task)))

    monkeypatch.setattr(search, "spread", spread)
    monkeypatch.setattr(cluster, "in_use", lambda: True)
    assert found(smaller, larger, white) == alone and len(alone) >= 60
    assert sent == ([32] * 6 + [8]) * (1 if any(noted) else 3)
    assert found(smaller, smaller, white) == within and len(sent) in {7, 21}  # within one pool: here
