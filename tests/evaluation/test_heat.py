"""Heat in numbers and words, against counting on a fine raster."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_mask.data.images import Resize, fit, unfit
from ssl_mask.evaluation.heat import central_share, heat_words, hottest

FINE = 1260
"""Parts of a side, of which 7 and 4 and 2 are divisors."""


def counted(cells: np.ndarray, area: float) -> float:
    """The share of a fine raster that is inside of the centred square."""
    rows, columns = (FINE // size for size in cells.shape)
    fine = np.kron(cells, np.ones((rows, columns)))
    middle = np.abs((np.arange(FINE) + 0.5) / FINE - 0.5) <= area**0.5 / 2
    return float(fine[np.ix_(middle, middle)].sum() / fine.sum())


@pytest.mark.parametrize("shape", [(7, 7), (4, 4), (2, 2), (3, 5), (1, 1)])
@pytest.mark.parametrize("area", [0.5, 0.2, 1.0])
def test_the_central_share_is_what_is_counted(shape: tuple[int, int], area: float) -> None:
    cells = np.random.default_rng(0).random(shape).astype(np.float32)
    assert central_share(cells, area) == pytest.approx(counted(cells, area), abs=0.003)
    assert central_share(np.ones(shape), area) == pytest.approx(area)


def test_the_words_say_where_it_is() -> None:
    places = {(0, 0): "top left", (0, 3): "top", (3, 3): "centre", (3, 6): "right", (6, 0): "bottom left"}
    for (row, column), words in places.items():
        cells = np.zeros((7, 7), np.float32)
        cells[row, column] = 2.0
        assert hottest(cells) == words
    assert hottest(np.eye(2)[::-1]) == "top right"
    middle = np.zeros((3, 3))
    middle[1, 1] = 1.0
    assert heat_words(middle) == "100% of the heat in the central half, hottest in the centre"
    corner = np.zeros((4, 4))
    corner[0, 3] = 1.0
    assert heat_words(corner) == "17% of the heat in the central half, hottest at the top right"
    assert heat_words(np.zeros((2, 2))) == "no heat: no place speaks for it"


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
@pytest.mark.parametrize("shape", [(60, 100), (100, 60), (81, 80), (80, 80)])
def test_a_map_lies_where_the_network_saw_it(resize: Resize, shape: tuple[int, int]) -> None:
    """The image of two ramps is fitted, looked at and put back: each place has its own brightness again."""
    height, width = shape
    ramp = np.add.outer(np.arange(height), np.arange(width)).astype(np.float32)
    fitted = fit(np.repeat(ramp.astype(np.uint8)[:, :, None], 3, axis=2), 80, resize)[:, :, 0]
    back = unfit(fitted.astype(np.float32), height, width, resize)
    seen = ~np.isnan(back)
    side = min(shape)
    assert back.shape == shape and seen.sum() == (side * side if resize == "crop" else height * width)
    inner = seen & ~np.isnan(np.roll(back, (3, 3), (0, 1))) & ~np.isnan(np.roll(back, (-3, -3), (0, 1)))
    inner[:3], inner[-3:], inner[:, :3], inner[:, -3:] = False, False, False, False  # edges are interpolated
    assert inner.sum() > 0.7 * seen.sum() and np.abs(back - ramp)[inner].max() <= 2.0
