"""PDQ, a 256-bit perceptual hash that survives re-encoding and rescaling (Facebook 2019, "The TMK+PDQF …").

Its box filters, its choice of 64 x 64 points and its DCT are linear and work on rows and columns alike, so all of them
together are one matrix for each side of the picture. A mirrored or turned picture has the same DCT coefficients in
another place and with another sign: the eight variants of a picture cost one transform.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Pixel = TypeVar("Pixel", bound=np.generic)

_GRID = 64
_FREQUENCIES = np.arange(1, 17)  # the mean and everything finer than a sixteenth are left out
_MIRRORED = (-1.0) ** _FREQUENCIES  # what reversing the points does to cos(pi f (2x + 1) / 2n)
_QUERIES = 4096
_BLOCK = (16, 4096)  # as much as fits into a processor's cache
_LONGEST_SIDE = 512  # as the reference tools do: beyond it, only memory and time change


def coefficients(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W) grey picture to its (16, 16) DCT coefficients, rows are vertical frequencies 1 to 16."""
    factor = _LONGEST_SIDE / max(grey.shape)
    if factor < 1:
        size = [max(1, round(side * factor)) for side in grey.shape]
        grey = np.asarray(cv2.resize(grey, (size[1], size[0]), interpolation=cv2.INTER_AREA))
    height, width = grey.shape
    return np.asarray(_transform(height) @ grey.astype(np.float32) @ _transform(width).T)


def hashes(coefficients: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(n, 16, 16) coefficients to (n, 8, 32) packed bits; variant v is that of `variant(picture, v)`."""
    turned = [coefficients]
    for _ in range(3):
        turned.append(turned[-1].swapaxes(1, 2) * _MIRRORED[:, None].astype(np.float32))
    variants = np.stack(turned + [c * _MIRRORED.astype(np.float32) for c in turned], axis=1)
    flat = variants.reshape(len(coefficients), 8, 256)
    # The lower of the two middle values, so that always 128 bits are set.
    median = np.partition(flat, 127, axis=2)[:, :, 127:128]
    return np.packbits(flat > median, axis=2)


def variant(picture: NDArray[Pixel], number: int) -> NDArray[Pixel]:
    """One of the eight ways to look at a (H, W) picture: `number % 4` quarter turns to the left, from 4 on mirrored."""
    turned = np.rot90(picture, number % 4)
    return np.ascontiguousarray(turned[:, ::-1] if number >= 4 else turned)


def undo(number: int) -> int:
    """The variant that takes `variant(picture, number)` back: left turns become right turns, mirrors stay."""
    return number if number >= 4 else -number % 4


@lru_cache(maxsize=1024)
def _transform(length: int) -> NDArray[np.float32]:
    """(16, length): two box filters, 64 points, DCT-II."""
    window = (length + 2 * _GRID - 1) // (2 * _GRID)
    box = _box_filter(length, window)
    points = ((np.arange(_GRID) + 0.5) * length / _GRID).astype(int)
    angles = np.pi / (2 * _GRID) * _FREQUENCIES[:, None] * (2 * np.arange(_GRID) + 1)
    dct = np.sqrt(2 / _GRID) * np.cos(angles)
    return np.asarray(dct @ (box[points] @ box), np.float32)


def _box_filter(length: int, window: int) -> NDArray[np.float64]:
    """(length, length): every point becomes the mean of those points of its window that exist."""
    ahead = np.arange(length) - np.arange(length)[:, None]
    half = (window + 2) // 2
    inside = (ahead < half) & (ahead >= half - window)
    result: NDArray[np.float64] = inside / inside.sum(axis=1, keepdims=True)
    return result


def near(
    first: NDArray[np.uint8], second: NDArray[np.uint8], radius: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows of (n, 32) and of (m, 32) packed hashes at most `radius` bits apart; some at a time, in no special order.

    With faiss (the `faiss` extra) it takes two thirds of the time.
    """
    try:
        faiss = importlib.import_module("faiss")
    except ImportError:
        yield from _near_in_blocks(first, second, radius)
        return
    index = faiss.IndexBinaryFlat(256)
    index.add(first)
    for start in range(0, len(second), _QUERIES):
        limits, _, found = index.range_search(second[start : start + _QUERIES], radius + 1)
        rows = np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64)))
        yield found.astype(np.int64), rows + start


def _near_in_blocks(
    first: NDArray[np.uint8], second: NDArray[np.uint8], radius: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    a, b = first.view(np.uint64), second.view(np.uint64)
    words = [(a[:, word].copy()[:, None], b[:, word].copy()) for word in range(4)]
    for i, j in itertools.product(range(0, len(a), _BLOCK[0]), range(0, len(b), _BLOCK[1])):
        rows, columns = slice(i, i + _BLOCK[0]), slice(j, j + _BLOCK[1])
        apart = np.bitwise_count(words[0][0][rows] ^ words[0][1][columns])
        for word_a, word_b in words[1:]:
            apart += np.bitwise_count(word_a[rows] ^ word_b[columns])
        row, column = np.divmod(np.flatnonzero(apart <= radius), apart.shape[1])
        # Counted again: in uint8 opposite hashes are 256 = 0 bits apart.
        near_enough = np.bitwise_count(a[row + i] ^ b[column + j]).sum(axis=1, dtype=np.int64) <= radius
        yield row[near_enough] + i, column[near_enough] + j
