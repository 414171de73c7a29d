"""PDQ, a 256-bit perceptual hash that survives re-encoding and rescaling (Facebook 2019, "The TMK+PDQF …").

Its box filters, its choice of 64 x 64 points and its DCT are linear and work on rows and columns alike, so all of them
together are one matrix for each side of the picture. A mirrored or turned picture has the same DCT coefficients in
another place and with another sign: the eight variants of a picture cost one transform.
"""

from __future__ import annotations

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
_MOVED = 24
"""A mirror moves the median as well, and with it some more bits: 13 in one of a hundred photos, each counted twice."""
_HASHES_AT_ONCE = 4096
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
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]]:
    """Rows of (n, 8, 32) and of (m, 8, 32) hashes that are near, and a bit for each variant of the second that is.

    Near the upright first are at most `radius` different bits, or at most so many equal ones, as a picture and its
    negative have. Some at a time, in no special order.

    A mirror turns round every second row or column of the coefficients. So in each of four kinds of bits (even or odd
    row, even or odd column) nearly all change or nearly none: a variant is near only if each kind has few different
    bits, or few equal ones. This is looked at first, for four variants at once, on the 64 bits of each kind.
    """
    kinds, others = _kinds(first[:, :1]), _kinds(second[:, :2])  # variant 1 has rows for columns
    for i, j in itertools.product(range(0, len(first), _BLOCK[0]), range(0, len(second), _BLOCK[1])):
        rows, columns = kinds[0, :, i : i + _BLOCK[0]], others[:, :, j : j + _BLOCK[1]]
        decided = np.maximum(_decided(rows, columns[0]), _decided(rows, columns[1]))
        row, column = np.divmod(np.flatnonzero(decided >= 128 - radius - _MOVED), decided.shape[1])
        apart = np.bitwise_count(_words(first[row + i, :1]) ^ _words(second[column + j])).sum(axis=2, dtype=np.int64)
        is_near = (apart <= radius) | (apart >= 256 - radius)
        some = is_near.any(axis=1)
        yield row[some] + i, column[some] + j, np.packbits(is_near[some], axis=1, bitorder="little").ravel()


def _decided(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """(4, n) and (4, m) words to (n, m): how far the different bits of each kind are from 32 of 64, summed."""
    bits = np.empty((first.shape[1], second.shape[1]), np.uint64)
    count = np.empty(bits.shape, np.uint8)
    decided = np.zeros(bits.shape, np.uint8)
    for word, other in zip(first, second, strict=True):
        np.bitwise_xor(word[:, None], other, out=bits)
        np.bitwise_count(bits, out=count)
        count -= np.uint8(32)  # below 0 it wraps, which is what an int8 reads as negative
        np.abs(count.view(np.int8), out=count.view(np.int8))
        decided += count
    return decided


def _kinds(hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n, variants, 32) hashes to (variants, 4, n): the bits of each kind."""
    kinds = np.empty((hashes.shape[1], 4, len(hashes)), np.uint64)
    for start in range(0, len(hashes), _HASHES_AT_ONCE):
        part = np.unpackbits(hashes[start : start + _HASHES_AT_ONCE], axis=2)
        # (n, variants, row / 2, row % 2, column / 2, column % 2) to (variants, kinds, n, 64)
        sorted_bits = part.reshape(*part.shape[:2], 8, 2, 8, 2).transpose(1, 3, 5, 0, 2, 4)
        packed = np.packbits(sorted_bits.reshape(part.shape[1], 4, len(part), 64), axis=3)
        kinds[:, :, start : start + len(part)] = packed.view(np.uint64)[..., 0]
    return kinds


def _words(hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(hashes).view(np.uint64)
