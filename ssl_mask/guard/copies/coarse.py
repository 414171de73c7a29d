"""Where one picture may lie in another, or its negative: a search at 24 pixels over angles, scales and places.

The correlation of every pose of the one with every place of the other is a matrix product. A pose has mean 0 and length
1, so the means of the places do not count, and their lengths come from sums over windows: nothing is made of a place
but a row of the matrix.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

COARSE = 24
UPRIGHT = (0, 4)
"""The variants (see `pdq.variant`) that are always tried: as it is, and mirrored."""

_PAD, _MARGIN = 2, 1
_PADDED = COARSE + 2 * _PAD
_ANGLES = (-6, -3, 3, 6)
_SCALES = (1.0, 0.94, 0.87, 0.80)
_FLAT = 0.01
"""Sum of squared differences from the mean, in grey levels, below which a place shows nothing."""
_PATCHES = 32
"""So many pictures' places are kept ready, 0.7 MB each: pairs come sorted, so that one picture is looked in often."""

_SIZES = sorted({round((COARSE - 2 * margin) * scale) for margin in (0, _MARGIN) for scale in _SCALES})
_NUMBERS = [(_PADDED - size + 1) ** 2 for size in _SIZES]
_ROWS = {
    size: (end - number, end)
    for size, number, end in zip(_SIZES, _NUMBERS, itertools.accumulate(_NUMBERS), strict=True)
}
"""Where the places of each size are among those of all sizes."""
_AREAS = np.repeat(np.array(_SIZES, np.float64) ** 2, _NUMBERS)


def _corners() -> NDArray[np.int64]:
    """(4, places of all sizes) where their corners lie in an integral image, (29, 29) flattened."""
    across = _PADDED + 1
    found = []
    for size in _SIZES:
        top, left = (place.ravel() for place in np.indices((across - size, across - size)))
        found.append(np.stack([(top + y) * across + left + x for y in (0, size) for x in (0, size)]))
    return np.concatenate(found, axis=1)


_CORNERS = _corners()

Picture = NDArray[np.float32]
_Key = tuple[int, int]
"""Size of a pose, and how many pixels were cut from each of its sides before it was shrunk to that size."""


class Place(NamedTuple):
    """Where `variant(inner, number)`, turned by `angle` degrees and cut by `margin`, lies; lengths in coarse pixels."""

    correlation: float
    number: int
    angle: int
    margin: int
    size: int
    x: int
    y: int


class Coarse(NamedTuple):
    """A picture at 24 pixels, to look in and to look for."""

    padded: bytes
    """(28, 28) float32 of mean 0."""
    poses: dict[_Key, Picture]
    """(2 * angles, size²), each of mean 0 and length 1: upright, then mirrored."""


def coarse(thumb: NDArray[np.uint8]) -> Coarse:
    """Of a grey picture of any size."""
    small = cv2.resize(thumb, (COARSE, COARSE), interpolation=cv2.INTER_AREA).astype(np.float32)
    padded = cv2.copyMakeBorder(small - small.mean(), _PAD, _PAD, _PAD, _PAD, cv2.BORDER_REPLICATE)
    poses: dict[_Key, Picture] = {}
    for margin, angles in ((0, (0,)), (_MARGIN, _ANGLES)):
        inside = slice(margin, COARSE - margin)
        turned = np.dstack([_turn(small, angle)[inside, inside] for angle in angles])  # channels: shrunk in one call
        for scale in _SCALES:
            size = round((COARSE - 2 * margin) * scale)
            scaled = cv2.resize(turned, (size, size), interpolation=cv2.INTER_AREA).reshape(-1, len(angles))
            rows = _unit(np.ascontiguousarray(scaled.T))
            poses[size, margin] = np.concatenate([rows, _seen_as(rows, size, UPRIGHT[1])])
    return Coarse(padded.tobytes(), poses)


def find(outer: Coarse, inner: Coarse, variants: Sequence[int] = UPRIGHT) -> tuple[Place, Place]:
    """The place of one of `variants` of the inner picture in the outer one with the highest correlation, and that of
    its negative; of equal ones the first."""
    patches = _patches(outer.padded)
    found = []
    for key, upright in inner.poses.items():
        poses = upright if tuple(variants) == UPRIGHT else _variants_of(upright, key[0], variants)
        places, lengths = patches[key[0]]
        found.append((poses @ places.T) / lengths)
    values = np.concatenate([part.ravel() for part in found])
    ends = list(itertools.accumulate(part.size for part in found))
    best = []
    for top, sign in ((int(values.argmax()), 1), (int(values.argmin()), -1)):
        part = next(i for i, end in enumerate(ends) if top < end)
        size, margin = list(inner.poses)[part]
        pose, place = divmod(top - ends[part] + found[part].size, found[part].shape[1])
        angles = _ANGLES if margin else (0,)
        number, angle = variants[pose // len(angles)], angles[pose % len(angles)]
        y, x = divmod(place, _PADDED - size + 1)
        turned = -angle if number >= 4 else angle  # a mirror reverses it
        best.append(Place(sign * float(values[top]), number, turned, margin, size, x - _PAD, y - _PAD))
    return best[0], best[1]


@lru_cache(maxsize=_PATCHES)
def _patches(padded: bytes) -> dict[int, tuple[Picture, Picture]]:
    """Size to (places, size²), what lies at each place, and (places,) its length when its mean is taken off."""
    picture = np.frombuffer(padded, np.float32).reshape(_PADDED, _PADDED)
    sums, squares = (np.asarray(part).ravel()[_CORNERS] for part in cv2.integral2(picture, sdepth=cv2.CV_64F))
    means, spread = (part[3] - part[2] - part[1] + part[0] for part in (sums, squares))
    spread -= means**2 / _AREAS
    lengths = np.sqrt(np.where(spread < _FLAT, np.inf, spread)).astype(np.float32)
    patches = {}
    for size, (start, end) in _ROWS.items():
        number, line = _PADDED - size + 1, picture.strides[0]
        shape, strides = (number, number, size, size), (line, 4, line, 4)
        # `sliding_window_view` takes as long for its checks as the copy of what it shows.
        windows = np.ndarray(shape, np.float32, padded, strides=strides)
        patches[size] = windows.reshape(-1, size * size), lengths[start:end]
    return patches


def _variants_of(upright: Picture, size: int, variants: Sequence[int]) -> Picture:
    rows = upright[: len(upright) // 2]
    return np.concatenate([_seen_as(rows, size, number) for number in variants])


def _seen_as(rows: Picture, size: int, number: int) -> Picture:
    """`variant` of each row: cheaper than to turn, cut and shrink a variant of the picture."""
    turned = np.rot90(rows.reshape(-1, size, size), number % 4, axes=(1, 2))
    return (turned[:, :, ::-1] if number >= 4 else turned).reshape(rows.shape)


def _turn(image: Picture, angle: int) -> Picture:
    if angle == 0:
        return image
    centre = (len(image) - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), angle, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, image.shape, borderMode=cv2.BORDER_REPLICATE))


def _unit(rows: NDArray[Any]) -> Picture:
    centred = rows - rows.sum(axis=1, keepdims=True) / rows.shape[1]
    length = np.sqrt(np.einsum("ij,ij->i", centred, centred))[:, None]
    return np.asarray(centred / np.maximum(length, 1e-6))
