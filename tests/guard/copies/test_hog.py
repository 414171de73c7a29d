"""HOG against the slow loop of Dalal & Triggs, mirrored pictures and real crops."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from textures import grey

from ssl_mask.guard.copies.hog import UNIT, hogs, mirrored


def slow_hog(thumb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Blocks of 32 pixels at every sixteenth, 2 x 2 cells, 9 bins; every pixel votes for 2 bins and up to 4 cells."""
    small = thumb.reshape(64, 2, 64, 2).mean(axis=(1, 3))
    root = np.sqrt(np.pad(small, 1, mode="edge"))
    blocks = np.zeros((3, 3, 2, 2, 9))
    for y in range(64):
        for x in range(64):
            down, across = root[y + 2, x + 1] - root[y, x + 1], root[y + 1, x + 2] - root[y + 1, x]
            length, place = math.hypot(down, across), math.atan2(down, across) % math.pi / math.pi * 9 - 0.5
            low = math.floor(place)
            for bin_, share in ((low % 9, 1 - (place - low)), ((low + 1) % 9, place - low)):
                for block in np.ndindex(3, 3):
                    v, u = y + 0.5 - 16 * block[0], x + 0.5 - 16 * block[1]
                    if not (0 < v < 32 and 0 < u < 32):
                        continue
                    fade = math.exp(-((v - 16) ** 2 + (u - 16) ** 2) / (2 * 8**2))
                    for cell in np.ndindex(2, 2):
                        near = max(0, 1 - abs(v - 8 - 16 * cell[0]) / 16) * max(0, 1 - abs(u - 8 - 16 * cell[1]) / 16)
                        blocks[*block, *cell, bin_] += length * share * fade * near
    rows = blocks.reshape(9, 36)
    rows = np.minimum(rows / np.linalg.norm(rows, axis=1, keepdims=True), 0.2)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.ravel() / np.linalg.norm(rows)


def test_the_full_frame_is_that_of_a_loop() -> None:
    thumbs = np.stack([grey(seed) for seed in range(2)])
    ours = hogs(thumbs)
    assert ours.shape == (2, 6, 324) and ours.dtype == np.uint8
    for thumb, descriptor in zip(thumbs, ours, strict=True):
        np.testing.assert_allclose(descriptor[0] * UNIT, slow_hog(thumb), atol=0.8 * UNIT)


def test_what_does_not_fit_into_a_byte_is_cut_off() -> None:
    thumb = np.zeros((128, 128), np.uint8)
    thumb[8:20, 8:20] = 255
    assert hogs(thumb[None])[0, 0].max() == 255


def test_mirrored_descriptors_are_those_of_the_mirrored_picture() -> None:
    thumb = grey(3)
    upright, turned = hogs(np.stack([thumb, thumb[:, ::-1]]))[:, 0].astype(int)
    assert np.abs(mirrored(upright) - turned).max() <= 1
    assert np.abs(upright - turned).max() > 20


@pytest.mark.parametrize(("window", "top", "left"), [(1, 0, 0), (2, 0, 19), (3, 19, 0), (4, 19, 19), (5, 10, 10)])
def test_a_window_is_like_the_crop_it_stands_for(window: int, top: int, left: int) -> None:
    thumb = grey(4)
    crop = cv2.resize(thumb[top : top + 109, left : left + 109], (128, 128), interpolation=cv2.INTER_AREA)
    whole, cut = hogs(np.stack([thumb, np.asarray(crop, np.uint8)])) * UNIT
    likeness = whole @ cut[0]
    assert likeness[window] > 0.97
    assert likeness.argmax() == window


def test_a_flat_picture_has_no_descriptor_and_light_does_not_matter_much() -> None:
    dim = (grey(5) // 2 + 20).astype(np.uint8)
    flat, bright, dark = hogs(np.stack([np.full_like(dim, 9), grey(5), dim])) * UNIT
    assert not flat.any()
    np.testing.assert_allclose(np.linalg.norm(bright, axis=1), 1, atol=1e-3)
    assert bright[0] @ dark[0] > 0.95
