"""Histograms of oriented gradients (Dalal & Triggs 2005) of a picture and of windows in it.

One picture gives 7 descriptors of 324 numbers: the full frame, five windows of 0.85 of its sides (corners and centre;
a crop of the picture looks like one of them), and the full frame mirrored. Weighting pixels into cells is linear and
works on rows and columns alike, so a window is one small matrix and needs no gradients of its own.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 64
_BINS = 9  # of 20 degrees; a direction and its opposite are the same
_BLOCKS, _CELLS, _CELL = 3, 2, 16  # 3 x 3 overlapping blocks of 2 x 2 cells of 16 x 16 pixels
_SHARE = 0.85
_STARTS = (0.0, 0.0, (1 - _SHARE) / 2, 1 - _SHARE)
_SHARES = (1.0, _SHARE, _SHARE, _SHARE)
_WINDOWS = ((0, 0), (1, 1), (1, 3), (3, 1), (3, 3), (2, 2))  # (row, column) places in _STARTS
_CLIP = 0.2


def hogs(thumbs: NDArray[np.uint8]) -> NDArray[np.float16]:
    """(n, 128, 128) grey pictures to (n, 7, 324), each of unit length unless the picture is flat there."""
    lines = thumbs[:, ::2].astype(np.float32) + thumbs[:, 1::2]
    small = lines[:, :, ::2] + lines[:, :, 1::2]
    planes = _orientations(np.sqrt(small))  # the root makes edges in the dark count as much as in the light
    rows = planes.reshape(-1, SIDE) @ _WEIGHTS.T  # (n * 9 * 64, 24)
    turned = np.ascontiguousarray(rows.reshape(-1, SIDE, len(_WEIGHTS)).swapaxes(1, 2)).reshape(-1, SIDE)
    sums = (turned @ _WEIGHTS.T).reshape(len(thumbs), _BINS, len(_STARTS), 6, len(_STARTS), 6)  # x before y
    cells = np.stack([sums[:, :, x, :, y, :] for y, x in _WINDOWS], axis=1)  # (n, 6, 9, 6 x, 6 y)
    blocks = cells.reshape(len(thumbs), 6, _BINS, _BLOCKS, _CELLS, _BLOCKS, _CELLS).transpose(0, 1, 5, 3, 6, 4, 2)
    unit = _normalised(blocks.reshape(len(thumbs), 6, _BLOCKS * _BLOCKS, -1))
    return np.concatenate([unit, mirrored(unit[:, :1])], axis=1).astype(np.float16)


def mirrored(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., 324) of a picture to those of its mirror image: blocks, cells and angles in reverse."""
    parts = descriptors.reshape(-1, _BLOCKS, _BLOCKS, _CELLS, _CELLS, _BINS)
    return parts[:, :, ::-1, :, ::-1, ::-1].reshape(descriptors.shape)


def _orientations(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 64, 64) to (n, 9, 64, 64): the gradient's length, shared between the two bins nearest to its direction."""
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    flat = (across.reshape(len(pictures), -1), down.reshape(len(pictures), -1))
    length, angle = cv2.cartToPolar(*flat)
    place = np.asarray(angle) * (_BINS / np.pi) - 0.5
    low = np.floor(place)
    upper = length * (place - low)
    low_bin = low.astype(np.int64) % _BINS
    planes = np.zeros((len(pictures), _BINS, SIDE * SIDE), np.float32)
    np.put_along_axis(planes, low_bin[:, None], (length - upper)[:, None], axis=1)
    np.put_along_axis(planes, (low_bin[:, None] + 1) % _BINS, upper[:, None], axis=1)
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
