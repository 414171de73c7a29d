"""The search at 24 pixels against a loop over every pose and every place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from textures import grey

from ssl_mask.guard.copies.coarse import Place, coarse, find
from ssl_mask.guard.copies.pdq import variant

SIZES = {0: (24, 23, 21, 19), 1: (22, 21, 19, 18)}  # 1.0, 0.94, 0.87 and 0.8 of 24 pixels, and of 22


def slow_find(outer: NDArray[np.uint8], inner: NDArray[np.uint8], variants: tuple[int, ...], sign: int) -> Place:
    small = [cv2.resize(p, (24, 24), interpolation=cv2.INTER_AREA).astype(np.float32) for p in (outer, inner)]
    padded = np.pad(small[0], 2, mode="edge").astype(np.float64)
    best = Place(-2, 0, 0, 0, 0, 0, 0)
    for margin, sizes in SIZES.items():
        for size in sizes:
            for number in variants:
                for angle in (-6, -3, 3, 6) if margin else (0,):
                    matrix = cv2.getRotationMatrix2D((11.5, 11.5), angle, 1.0)
                    turned = cv2.warpAffine(small[1], matrix, (24, 24), borderMode=cv2.BORDER_REPLICATE)
                    cut = turned[margin : 24 - margin, margin : 24 - margin]
                    pose = variant(np.asarray(cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA)), number)
                    for y in range(29 - size):
                        for x in range(29 - size):
                            window = padded[y : y + size, x : x + size].ravel()
                            value = sign * np.corrcoef(window, pose.ravel())[0, 1]
                            if value > best.correlation:
                                seen = -angle if number >= 4 else angle
                                best = Place(value, number, seen, margin, size, x - 2, y - 2)
    return best


@pytest.mark.parametrize("variants", [(0, 4), (1, 6)])
@pytest.mark.parametrize("seed", [0, 3])
def test_it_is_that_of_a_loop_for_the_picture_and_its_negative(variants: tuple[int, ...], seed: int) -> None:
    outer, inner = grey(seed), grey(seed + 1)
    found = find(coarse(outer), coarse(inner), variants)
    for place, sign in zip(found, (1, -1), strict=True):
        expected = slow_find(outer, inner, variants, sign)
        assert place[1:] == expected[1:]
        assert place.correlation == pytest.approx(expected.correlation, abs=1e-4)


def test_where_a_picture_is_flat_it_is_like_nothing() -> None:
    flat, half_flat = np.full((128, 128), 77, np.uint8), grey(0)
    half_flat[:, 40:] = 200
    for outer, inner in ((flat, grey(1)), (grey(1), flat), (flat, flat), (half_flat, grey(1))):
        for place in find(coarse(outer), coarse(inner)):
            assert -1.001 <= place.correlation <= 1.001
    assert find(coarse(flat), coarse(grey(1)))[0].correlation == 0
