"""Which of several faces is meant, and what is cut out around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssl_mask.data.prepare.blazeface import Face

AT_THE_EDGE = 0.5
"""What the area of a face at a corner of the picture counts, of one in its middle 1."""


class Box(NamedTuple):
    """Whole pixels of a picture; right and bottom are not in it."""

    left: int
    top: int
    right: int
    bottom: int


def main_face(faces: Sequence[Face], width: int, height: int) -> Face:
    """The largest face; the nearer its centre is to a corner of the picture, the less its area counts, down to half.

    Args:
        faces: at least one.
        width, height: of the picture, in pixels.
    """

    def counts(face: Face) -> float:
        across = (face.left + face.right) / width - 1, (face.top + face.bottom) / height - 1
        distance = min(1.0, float(np.hypot(*across)) / 2**0.5)
        return face.area * (1 - (1 - AT_THE_EDGE) * distance)

    return max(faces, key=counts)


def crop_around(face: Face, margin: float, width: int, height: int) -> Box:
    """A square around a face, moved so that it lies inside of the picture.

    Args:
        margin: on each side, as a share of the face's longer side.
        width, height: of the picture, in pixels.

    Returns:
        A square; where it would be larger than the picture, one of the picture's shorter side.
    """
    wanted = max(face.right - face.left, face.bottom - face.top) * (1 + 2 * margin)
    side = max(1, min(round(wanted), width, height))
    left = round((face.left + face.right - side) / 2)
    top = round((face.top + face.bottom - side) / 2)
    left, top = min(max(left, 0), width - side), min(max(top, 0), height - side)
    return Box(left, top, left + side, top + side)
