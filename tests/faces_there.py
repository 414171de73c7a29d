"""A drawn face that the detector takes for one, and whether the detector is installed."""

from __future__ import annotations

import importlib.util

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_mask.data.prepare import weights
from ssl_mask.errors import SslMaskError


def is_installed(places: tuple[weights.Packaged, ...]) -> bool:
    try:
        weights.packaged(places, "", "")
    except SslMaskError:
        return False
    return importlib.util.find_spec("ai_edge_litert") is not None


needs_faces = pytest.mark.skipif(
    not is_installed(weights.FACES), reason=f'needs pip install "sslmask[faces]", and {weights.GET_FACES}'
)

needs_selfies = pytest.mark.skipif(
    not is_installed(weights.SELFIES), reason=f'needs pip install "sslmask[faces]", and {weights.GET_SELFIES}'
)


def portrait(*, tight: bool = False) -> NDArray[np.uint8]:
    """(160, 160, 3) a head with eyes, brows, nose and mouth; `tight`: cut so that it fills the picture."""
    picture = np.full((320, 320, 3), (120, 140, 160), np.uint8)
    cv2.ellipse(picture, (160, 330), (130, 70), 0, 0, 360, (60, 70, 110), -1)  # shoulders
    cv2.rectangle(picture, (130, 220), (190, 290), (205, 160, 130), -1)  # neck
    cv2.ellipse(picture, (160, 130), (88, 105), 0, 0, 360, (60, 40, 30), -1)  # hair
    cv2.ellipse(picture, (160, 155), (72, 95), 0, 0, 360, (224, 180, 150), -1)
    for x in (130, 190):
        cv2.ellipse(picture, (x, 140), (16, 9), 0, 0, 360, (250, 250, 250), -1)
        cv2.circle(picture, (x, 140), 8, (50, 30, 20), -1)
        cv2.ellipse(picture, (x, 122), (22, 8), 0, 190, 350, (60, 40, 30), 5)
    cv2.line(picture, (160, 140), (152, 180), (190, 140, 115), 4)
    cv2.ellipse(picture, (160, 184), (14, 6), 0, 0, 180, (180, 130, 105), 4)
    cv2.ellipse(picture, (160, 212), (26, 9), 0, 0, 360, (170, 70, 70), -1)
    picture = cv2.GaussianBlur(picture, (0, 0), 2)
    part = picture[75:250, 75:245] if tight else picture
    return np.asarray(cv2.resize(part, (160, 160), interpolation=cv2.INTER_AREA), np.uint8)
