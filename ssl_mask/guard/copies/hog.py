"""Histograms of oriented gradients (Dalal & Triggs 2005) of a picture and of windows in it.

One picture gives 6 descriptors of 324 numbers: of the full frame and of five windows of 0.85 of its sides (corners and
centre; a crop of the picture looks like one of them). Weighting pixels into cells is linear and works on rows and
columns alike, so a window is one small matrix and needs no gradients of its own.
"""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

SIDE = 64
_BINS = 9  # of 20 degrees; a direction and its opposite are the same
_BLOCKS, _CELLS, _CELL = 3, 2, 16  # 3 x 3 overlapping blocks of 2 x 2 cells of 16 x 16 pixels
_SHARE = 0.85
_STARTS = (0.0, 0.0, (1 - _SHARE) / 2, 1 - _SHARE)
_SHARES = (1.0, _SHARE, _SHARE, _SHARE)
_WINDOWS = ((0, 0), (1, 1), (1, 3), (3, 1), (3, 3), (2, 2))  # (row, column) places in _STARTS
_CLIP = 0.2
UNIT = 1 / 1020
"""A number takes one byte. What is above 0.25, in pictures that have edges in one place only, is cut off."""


def hogs(thumbs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, 128, 128) grey pictures to (n, 6, 324) in units of 1/1020; of length 1 unless the picture is flat there."""
    lines = thumbs[:, ::2].astype(np.float32) + thumbs[:, 1::2]
    small = lines[:, :, ::2] + lines[:, :, 1::2]
    planes = _orientations(np.sqrt(small))  # the root makes edges in the dark count as much as in the light
    rows = planes.reshape(-1, SIDE) @ _WEIGHTS.T  # (n * 9 * 64, 24)
    turned = np.ascontiguousarray(rows.reshape(-1, SIDE, len(_WEIGHTS)).swapaxes(1, 2)).reshape(-1, SIDE)
    sums = (turned @ _WEIGHTS.T).reshape(len(thumbs), _BINS, len(_STARTS), 6, len(_STARTS), 6)  # x before y
    cells = np.stack([sums[:, :, x, :, y, :] for y, x in _WINDOWS], axis=1)  # (n, 6, 9, 6 x, 6 y)
    blocks = cells.reshape(len(thumbs), 6, _BINS, _BLOCKS, _CELLS, _BLOCKS, _CELLS).transpose(0, 1, 5, 3, 6, 4, 2)
    unit = _normalised(blocks.reshape(len(thumbs), 6, _BLOCKS * _BLOCKS, -1))
    return np.asarray(np.minimum(np.rint(unit / UNIT), 255), np.uint8)


def mirrored(descriptors: NDArray[Number]) -> NDArray[Number]:
    """(..., 324) of a picture to those of its mirror image: blocks, cells and angles in reverse."""
    parts = descriptors.reshape(-1, _BLOCKS, _BLOCKS, _CELLS, _CELLS, _BINS)
    return parts[:, :, ::-1, :, ::-1, ::-1].reshape(descriptors.shape)


def _orientations(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 64, 64) to (n, 9, 64, 64): the gradient's length, shared between the two bins nearest to its direction."""
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    flat = (across.reshape(len(pictures), -1), down.reshape(len(pictures), -1))
    length, angle = (np.asarray(part) for part in cv2.cartToPolar(*flat))
    place = angle * np.float32(_BINS / np.pi) - np.float32(0.5)  # a direction and its opposite are the same bin
    place[place >= _BINS] -= _BINS
    place[place < 0] += _BINS
    planes = np.empty((len(pictures), _BINS, SIDE * SIDE), np.float32)
    for number in range(_BINS):  # one bin after the other: to put each pixel into its two takes twice the time
        away = np.abs(place - np.float32(number))
        if number == 0:
            np.minimum(away, _BINS - away, out=away)
        np.multiply(np.maximum(1 - away, 0), length, out=planes[:, number])
    return planes.reshape(-1, _BINS, SIDE, SIDE)


def _normalised(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 6, 9, 36) to (n, 6, 324): every block to length 1, no value above 0.2, again to length 1; then the whole."""
    clipped = np.minimum(_unit(blocks), _CLIP)
    return _unit(_unit(clipped).reshape(*blocks.shape[:2], -1))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-6), np.float32)


def _weights(start: float, share: float) -> NDArray[np.float64]:
    """(6, 64): how much every pixel of a line counts in the two cells of each of the three blocks of one window.

    A pixel is shared between the cells around it, and counts less towards a block's edge (a normal distribution).
    """
    place = ((np.arange(SIDE) + 0.5) / SIDE - start) / share * SIDE  # in pixels of the window
    rows = []
    for block in range(_BLOCKS):
        inside = place - block * _CELL  # in pixels of the block, which is 32 long
        fade = np.exp(-(((inside - _CELL) / _CELL) ** 2) * 2) * ((inside > 0) & (inside < 2 * _CELL))
        for cell in range(_CELLS):
            near = np.maximum(0, 1 - np.abs(inside - (cell + 0.5) * _CELL) / _CELL)
            rows.append(near * fade)
    return np.stack(rows)


_WEIGHTS = np.concatenate([_weights(*w) for w in zip(_STARTS, _SHARES, strict=True)]).astype(np.float32)
