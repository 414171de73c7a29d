"""What is cut out, and which face is meant."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ssl_mask.data.prepare.blazeface import Face
from ssl_mask.data.prepare.crop import Box, crop_around, main_face
from ssl_mask.data.prepare.encode import encode
from ssl_mask.data.prepare.selfie import with_background


def test_the_crop_is_a_square_with_the_margin() -> None:
    assert crop_around(Face(100, 50, 140, 80, 0.9), 0.5, 400, 300) == Box(80, 25, 160, 105)


@pytest.mark.parametrize(
    ("face", "box"),
    [
        (Face(-10, -10, 30, 30, 0.9), Box(0, 0, 80, 80)),  # moved into the picture, not made smaller
        (Face(380, 280, 420, 320, 0.9), Box(320, 220, 400, 300)),
        (Face(0, 0, 400, 390, 0.9), Box(50, 0, 350, 300)),  # the largest square there is
    ],
)
def test_the_crop_lies_inside_of_the_picture(face: Face, box: Box) -> None:
    assert crop_around(face, 0.5, 400, 300) == box


def test_no_face_of_any_size_or_place_leads_out_of_the_picture() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        width, height = rng.integers(1, 60, 2).tolist()
        left, top = rng.uniform(-30, 60, 2)
        face = Face(left, top, left + rng.uniform(0, 80), top + rng.uniform(0, 80), 0.9)
        box = crop_around(face, float(rng.uniform(0, 2)), width, height)
        assert 0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height
        assert box.right - box.left == box.bottom - box.top


def test_the_largest_face_is_meant_and_near_a_corner_it_counts_less() -> None:
    middle = Face(40, 40, 60, 60, 0.6)
    assert main_face([Face(0, 0, 15, 15, 0.99), middle], 100, 100) == middle
    assert main_face([Face(0, 0, 24, 24, 0.99), middle], 100, 100) == middle  # 1.44 of the area, in a corner
    larger = Face(0, 0, 40, 40, 0.5)
    assert main_face([middle, larger], 100, 100) == larger


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF"])
def test_a_file_keeps_its_kind_and_all_but_jpeg_every_value(kind: str) -> None:
    rng = np.random.default_rng(0)
    picture = np.asarray(Image.fromarray(rng.integers(0, 255, (4, 4, 3)).astype(np.uint8)).resize((40, 30)))
    original = BytesIO()
    Image.fromarray(picture).save(original, kind)
    again = Image.open(BytesIO(encode(picture, original.getvalue())))
    assert again.format == ("PNG" if kind == "GIF" else kind)
    difference = np.abs(np.asarray(again.convert("RGB"), int) - picture).max()
    assert difference <= 12 if kind == "JPEG" else difference == 0


def test_the_person_stays_and_the_background_goes() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    picture[:, :32] = (250, 10, 10)
    person = np.zeros((64, 64), np.float32)
    person[:, :32] = 1
    filled, blurred = (with_background(picture, person, how) for how in ("fill", "blur"))
    assert (filled[:, :32] == picture[:, :32]).all() and (filled[:, 32:] == 128).all()
    assert (blurred[:, :32] == picture[:, :32]).all()
    assert blurred[:, 40:].std() < picture[:, 40:].std() / 4
    # No halo: the red of the person does not run into the background.
    assert abs(float(blurred[:, 33, 0].mean()) - float(picture[:, 32:, 0].mean())) < 15
    assert (with_background(picture, person, "keep") == picture).all()
