"""Photos become squares in an ONNX graph as they do with OpenCV: to the last bit where they shrink."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_mask.data.images import Resize, fit
from ssl_mask.inference.onnx_network import SquareShape
from ssl_mask.inference.onnx_resize import resize_graph
from ssl_mask.runs.exported import PHOTOS

SHAPES = (SquareShape(24, "crop"), SquareShape(24, "squash"), SquareShape(32, "pad"))
SHRUNK = [(48, 48), (72, 96), (24, 24), (64, 33), (100, 100), (33, 57), (240, 40), (131, 24), (42, 28), (255, 257)]
"""By two, by whole numbers, not at all, by fractions with many ties (42 of 24) and without."""
ENLARGED = [(12, 12), (23, 17), (10, 90), (200, 7), (24, 16), (8, 8)]
"""Some in one direction only; squares of strips are shrunk in one and enlarged in the other."""


@pytest.fixture(scope="module")
def session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    graph = resize_graph(SHAPES, PHOTOS).SerializeToString()
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def photos(height: int, width: int) -> list[NDArray[np.uint8]]:
    """Noise, in which every wrong weight shows, and a smooth photo, in which neighbours are alike."""
    rng = np.random.default_rng(height * 1000 + width)
    smooth = cv2.resize(rng.integers(0, 256, (5, 4, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    return [rng.integers(0, 256, (height, width, 3), np.uint8), np.asarray(smooth, np.uint8)]


def differences(session: Any, photo: NDArray[np.uint8]) -> dict[Resize, NDArray[np.int64]]:
    found = session.run(None, {PHOTOS: photo[None]})
    return {
        shape.resize: np.abs(square[0].astype(np.int64) - fit(photo, shape.size, shape.resize))
        for shape, square in zip(SHAPES, found, strict=True)
    }


@pytest.mark.parametrize(("height", "width"), SHRUNK)
def test_shrinking_gives_the_same_bytes(session: Any, height: int, width: int) -> None:
    for photo in photos(height, width):
        found = differences(session, photo)
        assert found["crop"].max() == found["squash"].max() == 0
        if max(height, width) >= 32:
            assert found["pad"].max() == 0


@pytest.mark.parametrize(("height", "width"), ENLARGED)
def test_enlarging_is_off_by_one_grey_value_at_most_and_rarely(session: Any, height: int, width: int) -> None:
    for photo in photos(height, width):
        for resize, found in differences(session, photo).items():
            assert found.max() <= 1 and found.mean() < 0.005, resize


def test_a_square_of_the_right_size_stays_and_a_batch_is_its_photos(session: Any) -> None:
    rng = np.random.default_rng(0)
    squares = rng.integers(0, 256, (3, 24, 24, 3), np.uint8)
    crop, squash, _ = session.run(None, {PHOTOS: squares})
    assert (crop == squares).all() and (squash == squares).all()
    several = rng.integers(0, 256, (3, 50, 41, 3), np.uint8)
    for square, photo in zip(session.run(None, {PHOTOS: several})[2], several, strict=True):
        assert (square == fit(photo, 32, "pad")).all()
