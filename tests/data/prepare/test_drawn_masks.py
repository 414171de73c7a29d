"""Masks that are drawn on: where they are on a face, whatever its place, size and turn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_mask.data.prepare.blazeface import Face
from ssl_mask.data.prepare.drawn_masks import KINDS, _Frame, draw_mask

EYE, OTHER, NOSE, MOUTH, EAR, FAR = range(6)
POINTS = np.array([(-20, 0), (20, 0), (2, 27), (1, 45), (-44, 10), (46, 10)], np.float64)
"""Of an upright face, from the middle of its eyes."""


def face(*, turn: float = 0.0, scale: float = 1.0, at: tuple[float, float] = (80, 60), yaw: float = 0.0) -> Face:
    """Turned by so many degrees; `yaw` moves nose and mouth to a side, in pixels."""
    angle = np.radians(turn)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = POINTS + np.array([(0, 0), (0, 0), (yaw, 0), (yaw / 2, 0), (0, 0), (0, 0)])
    placed = (moved @ matrix.T) * scale + at
    return Face(0, 0, 1, 1, 0.9, tuple((float(x), float(y)) for x, y in placed))


def photo(size: tuple[int, int] = (180, 170), level: int = 150) -> NDArray[np.uint8]:
    """Skin with a little noise, which no mask has the colour of."""
    skin = np.array([1.15, 0.85, 0.7]) * level
    noise = np.random.default_rng(1).normal(0, 3, (*size, 3))
    return np.clip(skin + noise, 0, 255).astype(np.uint8)


def changed(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where another colour is; a shadow on the skin is none."""
    old, new = (p.astype(float) / np.maximum(p.sum(-1, keepdims=True), 1) for p in (before, after))
    return (np.abs(old - new).max(-1) > 0.04) | (np.abs(before.astype(float) - after).max(-1) > 60)


def at(found: NDArray[np.bool_], where: Face, point: int) -> bool:
    x, y = where.points[point]
    return bool(found[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].all())


TURNS = [{}, {"turn": 20}, {"turn": -25}, {"yaw": 9}, {"yaw": -9, "turn": 10}, {"scale": 0.6}]


@pytest.mark.parametrize("how", TURNS, ids=str)
def test_the_coordinates_are_those_of_two_equations_solved_for_each_pixel(how: dict[str, float]) -> None:
    where = face(**how)
    frame = _Frame(where, 170, 180)
    eye, other, nose, mouth = (np.array(where.points[i]) for i in (EYE, OTHER, NOSE, MOUTH))
    middle, apart = (eye + other) / 2, (other - eye) / np.hypot(*(other - eye))
    for row in range(0, frame.shape[0], 41):
        for column in range(0, frame.shape[1], 37):
            x = (column + 0.5) / frame.fine + frame.columns.start
            y = (row + 0.5) / frame.fine + frame.rows.start
            down, _ = np.linalg.solve(np.stack([mouth - middle, apart], axis=1), np.array([x, y]) - middle)
            assert frame.down[row, column] == pytest.approx(down, abs=1e-3)
    assert frame.nose == pytest.approx(np.linalg.solve(np.stack([mouth - middle, apart], axis=1), nose - middle)[0])
    for sign, ear in ((-1, EAR), (1, FAR)):
        x, y = (np.array(where.points[ear]) - (frame.columns.start, frame.rows.start)) * frame.fine
        row, column = min(int(y), frame.shape[0] - 1), min(int(x), frame.shape[1] - 1)
        if 0 <= x < frame.shape[1]:
            assert frame.across[row, column] == pytest.approx(sign, abs=0.12)


@pytest.mark.parametrize("how", TURNS, ids=str)
def test_worn_right_covers_nose_and_mouth_and_never_an_eye(how: dict[str, float]) -> None:
    where, picture = face(**how), photo()
    for seed in range(4):
        made = draw_mask(picture, where, "right", np.random.default_rng(seed))
        assert made is not None and made.what.endswith(", worn right")
        found = changed(picture, made.picture)
        assert at(found, where, NOSE) and at(found, where, MOUTH), seed
        assert not at(found, where, EYE) and not at(found, where, OTHER), seed


@pytest.mark.parametrize("how", TURNS, ids=str)
def test_worn_wrong_leaves_the_nose_free_and_is_below_it_or_on_the_chin(how: dict[str, float]) -> None:
    where, picture = face(**how), photo()
    places = set()
    for seed in range(9):
        made = draw_mask(picture, where, "wrong", np.random.default_rng(seed))
        assert made is not None
        place = made.what.split(", ")[1]
        places.add(place)
        found = changed(picture, made.picture)
        assert not at(found, where, NOSE) and not at(found, where, EYE), seed
        assert at(found, where, MOUTH) == (place == "below the nose"), seed
        assert found.mean() > 0.02
    assert places == {"below the nose", "on the chin"}


def test_all_kinds_are_drawn_in_several_colours_and_each_the_same_again() -> None:
    picture, before = photo(), photo()
    made = [draw_mask(picture, face(), "right", np.random.default_rng(seed)) for seed in range(24)]
    again = [draw_mask(picture, face(), "right", np.random.default_rng(seed)) for seed in range(24)]
    assert np.array_equal(picture, before)
    assert {m.what.split(",")[0] for m in made if m} == {kind.name for kind in KINDS}
    assert len({tuple(m.picture[105, 81] // 16) for m in made if m}) > 10
    assert all(m and a and np.array_equal(m.picture, a.picture) for m, a in zip(made, again, strict=True))


def test_in_the_dark_a_mask_is_darker() -> None:
    bright, dark = (draw_mask(photo(level=level), face(), "right", np.random.default_rng(3)) for level in (150, 45))
    assert bright and dark
    light = [float(m.picture[80:110, 70:90].mean()) for m in (bright, dark)]
    assert light[1] < 0.7 * light[0]


def test_what_is_far_from_the_face_stays() -> None:
    picture = photo((400, 400))
    made = draw_mask(picture, face(at=(150, 120)), "right", np.random.default_rng(0))
    assert made is not None
    differs = (made.picture != picture).any(-1)
    assert not differs[:90].any() and not differs[260:].any() and not differs[:, 290:].any()


@pytest.mark.parametrize(
    "points",
    [
        (),
        face(scale=0.1).points,
        tuple(face().points[i] for i in (0, 1, 2, 3, 5, 4)),  # ears on the wrong sides
        tuple(face().points[i] for i in (0, 0, 2, 3, 4, 5)),  # a profile: one eye
        tuple(face().points[i] for i in (0, 2, 1, 3, 4, 5)),
    ],
)
def test_a_face_that_has_no_room_gets_none(points: tuple[tuple[float, float], ...]) -> None:
    assert draw_mask(photo(), face()._replace(points=points), "right", np.random.default_rng(0)) is None


def test_a_photo_that_ends_at_the_mouth_has_no_mask_that_is_worn_wrong() -> None:
    picture = photo((105, 170))
    assert draw_mask(picture, face(), "wrong", np.random.default_rng(0)) is None
    assert draw_mask(picture, face(), "right", np.random.default_rng(0)) is not None


def test_a_large_photo_is_drawn_with_fewer_pixels() -> None:
    frame = _Frame(face(scale=20, at=(1600, 1200)), 3400, 3600)
    assert max(frame.shape) <= 900
