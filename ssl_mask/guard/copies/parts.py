"""Pictures within a picture: what a uniform border surrounds, and the four pictures of a collage.

The whole of such a copy is like nothing in the other pool: its original takes a third of its area, or a quarter. Its
part is, and is compared as a picture of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.guard.copies.describe import describe_thumbs
from ssl_mask.guard.copies.fingerprints import Fingerprints
from ssl_mask.guard.copies.verification import SIDE

_NARROWEST = 24  # pixels of both borders together: the search of the verifier finds what takes more than 0.8 of a side
_SMALLEST = 32  # pixels of a side: what is smaller has too little to tell it from others
_NOISE = 8  # grey levels that JPEG moves a border by
_FLAT = 0.97  # of a line's pixels; what JPEG does where a border meets the picture is not flat
_SEAM = 1.8
"""How many times steeper the middle line of a collage is than lines near it, across and down. Of 2,000 faces 0.6 % are
above it; of 100 collages of four, 99."""
_BLOCK = 512

Thumbs = NDArray[np.uint8]


class Parts(NamedTuple):
    """Pictures within the pictures of a pool."""

    prints: Fingerprints
    owners: NDArray[np.int64]
    """(parts,) position in the pool of the picture that each is a part of."""


def parts_of(prints: Fingerprints, rows: NDArray[np.int64]) -> Parts:
    """The parts of some images of a pool."""
    owners, names = list[int](), list[str]()
    pdq, hog = [np.empty((0, 8, 32), np.uint8)], [np.empty((0, 6, 324), np.uint8)]
    thumbs = [np.empty((0, SIDE, SIDE), np.uint8)]
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        for place, pictures in _within(prints.thumbs[block]):
            row = int(block[place])
            owners += [row] * len(pictures)
            names += [hashlib.sha256(f"{prints.pixels[row]} {n}".encode()).hexdigest() for n in range(len(pictures))]
            thumbs.append(pictures)
            for column, found in zip((pdq, hog), describe_thumbs(pictures), strict=True):
                column.append(found)
    digests = tuple(names)
    part = Fingerprints(digests, digests, np.concatenate(pdq), np.concatenate(hog), np.concatenate(thumbs), {})
    return Parts(part, np.array(owners, np.int64))


def _within(thumbs: Thumbs) -> Iterator[tuple[int, Thumbs]]:
    """Which of (n, 128, 128) pictures have parts, and these as (k, 128, 128)."""
    corners = np.stack([thumbs[:, y, x] for y in (2, -3) for x in (2, -3)], axis=1)
    framed = np.ptp(corners.astype(np.int16), axis=1) <= 2 * _NOISE
    seams = np.minimum(_seam(thumbs), _seam(thumbs.swapaxes(1, 2))) >= _SEAM
    for place in np.flatnonzero(framed | seams).tolist():
        inner = _inside_border(thumbs[place]) if framed[place] else None
        found = [inner] if inner is not None else _quarters(thumbs[place]) if seams[place] else []
        if found:
            yield place, np.stack([_enlarged(part) for part in found])


def _inside_border(thumb: Thumbs) -> Thumbs | None:
    """What lies inside of a border of one colour, or of bars at two sides; None where there is no wide one."""
    level = np.median(np.concatenate([thumb[0], thumb[-1], thumb[:, 0], thumb[:, -1]]))
    same = np.abs(thumb.astype(np.float32) - level) <= _NOISE
    ends = []
    for axis in (1, 0):
        lines = np.flatnonzero(same.mean(axis=axis) < _FLAT)
        if len(lines) == 0:
            return None
        # The first line inside is a mixture of border and picture.
        ends += [int(lines[0]) + (lines[0] > 0), int(lines[-1]) + 1 - (lines[-1] < SIDE - 1)]
    top, bottom, left, right = ends
    sides = bottom - top, right - left
    if min(sides) < _SMALLEST or min(sides) > SIDE - _NARROWEST:
        return None
    return thumb[top:bottom, left:right]


def _seam(thumbs: Thumbs) -> NDArray[np.float32]:
    """(n,) how much steeper the middle line of (n, 128, 128) is than lines near it."""
    middle = SIDE // 2
    near = thumbs[:, middle - 14 : middle + 15].astype(np.int16)
    steps = np.abs(np.diff(near, axis=1)).mean(axis=2, dtype=np.float32)  # 28 of them; 13 is the middle
    usual = np.median(np.concatenate([steps[:, :11], steps[:, 16:]], axis=1), axis=1)
    result: NDArray[np.float32] = steps[:, 12:15].max(axis=1) / (usual + 1)
    return result


def _quarters(thumb: Thumbs) -> list[Thumbs]:
    half = SIDE // 2
    return [thumb[y : y + half, x : x + half] for y in (0, half) for x in (0, half)]


def _enlarged(part: Thumbs) -> Thumbs:
    return np.asarray(cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)
