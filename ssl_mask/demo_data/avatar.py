"""The demo's images: drawn avatars, no photos, no download.

What shows each label is arbitrary, so that nothing about real people is claimed or learnt:

- mask    a plain cloth on the lower head: over nose and mouth (worn), under the nose (incorrect), or none;
- gender  the outline of the badge on the shirt: round or squarish, nothing else;
- age     the stripes of the shirt: few and wide to many and narrow, continuous in the age, so band borders are hard.

Everything else (skin in fantasy hues, hair, hats, eyes, ears, scarf, colours) belongs to the person and is drawn
independently of the three; pose, light, background, blur, noise and JPEG quality belong to the photo. Coordinates are
pixels of the final picture (160 wide), y down, the head's around the middle of the face. Colours are BGR.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

SIZE: Final = 160
FINE: Final = 3  # supersampling
INK: Final[Colour] = (58, 40, 44)
WORN, INCORRECT, NOT_WORN = 0, 1, 2
TOPS: Final = ("spikes", "curls", "cap", "beanie", "bear", "antennae", "fringe", "bun")


def hls(hue: float, light: float, saturation: float) -> Colour:
    """A colour from hue, lightness and saturation, all in [0, 1] (the hue wraps around)."""
    red, green, blue = colorsys.hls_to_rgb(hue % 1.0, min(max(light, 0.0), 1.0), min(max(saturation, 0.0), 1.0))
    return round(255 * blue), round(255 * green), round(255 * red)


def blob(x: float, y: float, width: float, height: float, power: float = 2.0, turn: float = 0.0) -> Points:
    """Superellipse around (x, y) with half axes width and height: power 2 is an ellipse, 8 nearly a rectangle."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    plain = np.sign(unit) * np.abs(unit) ** (2 / power) * [width, height]
    c, s = np.cos(turn), np.sin(turn)
    return np.asarray(plain @ np.array([[c, s], [-s, c]]) + [x, y])


def arc(x0: float, x1: float, y: float, sag: float, steps: int = 17) -> Points:
    """A parabola from (x0, y) to (x1, y) whose middle lies `sag` lower (negative: higher)."""
    t = np.linspace(-1, 1, steps)
    return np.stack([(x0 + x1) / 2 + t * (x1 - x0) / 2, y + sag * (1 - t**2)], axis=1)


def turned(angle: float, scale: float, pivot: tuple[float, float], to: tuple[float, float]) -> Points:
    """3x3 matrix: rotate and scale around `pivot`, then carry `pivot` to `to`."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    (px, py), (tx, ty) = pivot, to
    return np.array([[c, -s, tx - c * px + s * py], [s, c, ty - s * px - c * py], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Pen:
    """Draws on one supersampled canvas through one 3x3 matrix."""

    canvas: Image
    matrix: Points

    def at(self, points: Points) -> NDArray[np.int32]:
        """Canvas positions in 1/16 pixel, OpenCV's `shift=4`."""
        here = points @ self.matrix[:2, :2].T + self.matrix[:2, 2]
        return np.asarray(np.round(here * FINE * 16), np.int32)

    def line(self, points: Points, colour: Colour, width: float = 1.5, closed: bool = False) -> None:
        cv2.polylines(self.canvas, [self.at(points)], closed, colour, max(1, round(width * FINE)), cv2.LINE_AA, 4)

    def fill(self, points: Points, colour: Colour, edge: Colour | None = INK, width: float = 1.5) -> None:
        cv2.fillPoly(self.canvas, [self.at(points)], colour, cv2.LINE_AA, 4)
        if edge is not None:
            self.line(points, edge, width, closed=True)


@dataclass(frozen=True)
class Look:
    """What makes one person recognisable in all photos."""

    hue: float
    skin: tuple[float, float]  # lightness, saturation
    hair: Colour
    shirt: tuple[Colour, Colour]
    badge: Colour
    scarf: Colour | None
    head: tuple[float, float, float]  # half width, half height, power
    top: str
    eyes: tuple[float, float, float]  # distance from the middle, size, brow tilt
    iris: Colour
    nose: float
    smile: float
    ears: float
    badge_at: tuple[float, float, float]  # offset from the middle of the chest, turn
    badge_power: float
    stripe: tuple[float, float]  # period in pixels, slant

    def tone(self, lighter: float) -> Colour:
        return hls(self.hue, self.skin[0] + lighter, self.skin[1])


def make_look(rng: np.random.Generator, *, squarish: bool, age: int) -> Look:
    """One person's look; `squarish` and `age` reach the badge and the stripes only."""
    u = rng.uniform
    cloth, light, saturation = u(), u(0.36, 0.5), u(0.35, 0.65)
    badge_hue, scarf_hue = cloth + u(0.35, 0.65), u()
    years = float(np.interp(age + rng.normal(0, 1.0), (18, 30, 60, 80), (0, 1, 2, 3)))  # bands equally wide
    return Look(
        hue=u(0.12, 0.92),  # not the hues of human skin
        skin=(u(0.64, 0.8), u(0.35, 0.65)),
        hair=hls(u(), u(0.22, 0.5), u(0.25, 0.7)),
        shirt=(hls(cloth, light, saturation), hls(cloth + u(-0.06, 0.06), light + u(0.28, 0.38), saturation)),
        badge=hls(badge_hue, u(0.68, 0.84), 0.9),
        scarf=hls(scarf_hue, u(0.45, 0.7), u(0.3, 0.7)) if u() < 0.25 else None,
        head=(u(33, 40), u(38, 44), u(2.0, 3.2)),
        top=TOPS[int(rng.integers(len(TOPS)))],
        eyes=(u(12, 16), u(5.0, 7.0), u(-0.06, 0.3)),
        iris=hls(u(), u(0.2, 0.45), u(0.4, 0.9)),
        nose=u(3.2, 5.0),
        smile=u(2.5, 6.5),
        ears=u(5.5, 9.0),
        badge_at=(u(-16, 16), u(-1.5, 2), u(-0.25, 0.25)),
        badge_power=u(4.8, 10.0) if squarish else u(1.8, 2.3),
        stripe=(34.0 * float(np.exp(-0.56 * years)), u(-0.35, 0.35)),
    )


def draw_body(pen: Pen, look: Look) -> None:
    """Shoulders, the striped shirt (age), the scarf and the badge (gender)."""
    pen.fill(blob(80, 108, 12, 16, 3), look.tone(-0.1))
    shape = np.concatenate([arc(62, 98, 113, 7)[::-1], [[40, 118], [24, 130], [15, 152], [10, 200], [150, 200]],
                            [[145, 152], [136, 130], [120, 118]]])  # fmt: skip
    pen.fill(shape, look.shirt[0])
    stripes = Pen(pen.canvas.copy(), pen.matrix)
    period, slant = look.stripe
    for x in np.arange(80 - period * np.ceil(100 / period), 190, period):
        low, high, half = x - 50 * slant, x + 50 * slant, period / 2
        quad = np.array([[high, 100.0], [high + half, 100.0], [low + half, 200.0], [low, 200.0]])
        stripes.fill(quad, look.shirt[1], edge=None)
    inside = np.zeros(pen.canvas.shape[:2], np.uint8)
    cv2.fillPoly(inside, [pen.at(shape)], 255, cv2.LINE_8, 4)
    cv2.copyTo(stripes.canvas, inside, pen.canvas)
    pen.line(shape, INK, 1.5, closed=True)
    if look.scarf is not None:
        pen.fill(blob(80, 113, 27, 7, 2.6), look.scarf)
    dx, dy, turn = look.badge_at
    pen.fill(blob(80 + dx, 139 + dy, 16, 16, look.badge_power, turn), look.badge, width=2.4)
    pen.line(blob(80 + dx, 139 + dy, 10, 10, look.badge_power, turn), INK, 1.4, closed=True)


def draw_top(pen: Pen, look: Look) -> None:
    """Hair, ears or a hat on the upper head; which one is the person's, never the label's."""
    width, height, power = look.head
    dome = blob(0, 0, width + 2, height + 3, power)
    dome = dome[dome[:, 1] < -height * 0.42]
    colour, fan = look.hair, np.linspace(-1, 1, 7)
    if look.top == "spikes":
        tips = [(f * (width + 5), -height * (1.28 - 0.42 * f * f)) for f in np.linspace(-1, 1, 6)]
        roots = [(f * width * 0.9, -height * (0.95 - 0.4 * f * f)) for f in np.linspace(-0.83, 0.83, 5)]
        crown = [p for pair in zip(tips, [*roots, tips[-1]], strict=True) for p in pair][:-1]
        pen.fill(np.array([*crown, *arc(-width * 0.9, width * 0.9, -height * 0.42, -8)[::-1]]), colour)
    elif look.top == "curls":
        for f in [*fan[::2], *fan[1::2]]:
            pen.fill(blob(f * width * 0.95, -height * (0.92 - 0.42 * f * f), 10.5, 10), colour)
    elif look.top in ("cap", "beanie", "bun"):
        pen.fill(dome, colour)
        if look.top == "cap":
            pen.fill(blob(6, -height * 0.44, width * 1.05, 4.5, 2.6, -0.06), colour)
        elif look.top == "beanie":
            pen.fill(blob(0, -height * 0.5, width * 1.02, 6, 5), look.badge)
            pen.fill(blob(0, -height - 6, 7, 7), look.badge)
    elif look.top == "antennae":
        for side in (-1, 1):
            stalk = np.array([[side * 9, -height + 2], [side * 12, -height - 8], [side * 20, -height - 13]])
            pen.line(stalk, INK, 3.6)
            pen.line(stalk, colour, 1.6)
            pen.fill(blob(side * 21, -height - 14, 5.5, 5.5, 2), colour)
    elif look.top == "fringe":
        hem = [(f * width * 0.98, -height * (0.36 if i % 2 else 0.5)) for i, f in enumerate(fan)]
        pen.fill(np.concatenate([dome, np.array(hem)[::-1] if dome[-1, 0] > 0 else np.array(hem)]), colour)


def draw_head(pen: Pen, look: Look, yaw: float) -> None:
    """Head, ears, hair and face; `yaw` moves the face sideways in pixels as if the head turned."""
    width, height, power = look.head
    if look.top == "bear":
        for side in (-1, 1):
            pen.fill(blob(side * width * 0.72, -height * 0.84, 12, 12), look.tone(-0.06))
            pen.fill(blob(side * width * 0.72, -height * 0.84, 6.5, 6.5), look.hair, edge=None)
    if look.top == "bun":
        pen.fill(blob(0, -height - 6, 12, 10), look.hair)
    for side in (-1, 1):
        pen.fill(blob(side * (width + 1), 3, look.ears * 0.8, look.ears), look.tone(-0.06))
    pen.fill(blob(0, 0, width, height, power), look.tone(-0.07), width=1.8)
    pen.fill(blob(-1.5, -1.5, width - 3.5, height - 3.5, power), look.tone(0.0), edge=None)
    draw_top(pen, look)
    apart, size, tilt = look.eyes
    for side in (-1, 1):
        x = yaw + side * apart
        pen.fill(blob(x + side * 7, 13, 5.5, 3.6), hls(0.95, look.skin[0] - 0.02, 0.6), edge=None)
        pen.fill(blob(x, -4, size, size * 1.15), (252, 252, 252), width=1.2)
        pen.fill(blob(x + yaw * 0.18, -3.5, size * 0.62, size * 0.7), look.iris, edge=None)
        pen.fill(blob(x + yaw * 0.18, -3.5, size * 0.34, size * 0.4), INK, edge=None)
        pen.fill(blob(x + yaw * 0.18 - 1.4, -5.4, 1.3, 1.3), (255, 255, 255), edge=None)
        brow = arc(-6, 6, 0, -2) @ np.array([[1, side * tilt], [0, 1]]) + [x, -6 - size * 1.4]
        pen.line(brow, INK, 2.0)
    pen.fill(blob(yaw * 1.35, 10, look.nose, look.nose * 0.85), look.tone(-0.17), width=1.2)
    pen.line(arc(yaw * 1.2 - 10, yaw * 1.2 + 10, 22, look.smile), INK, 2.2)


def draw_mask(pen: Pen, look: Look, yaw: float, state: int, rng: np.random.Generator) -> None:
    """The cloth (mask): worn covers the nose, incorrect ends between nose and mouth, not worn draws nothing."""
    width, height, power = look.head
    top = rng.uniform(0.0, 4.5) if state == WORN else rng.uniform(16.0, 19.5)
    hue = look.hue + rng.uniform(0.2, 0.8)
    light, saturation = rng.uniform(0.5, 0.93), rng.uniform(0.15, 0.6)
    if state == NOT_WORN:  # only here: the rest of the photo must not depend on the state
        return
    cloth, fold, side_y = hls(hue, light, saturation), hls(hue, light - 0.16, saturation), top + 3.5
    jaw = blob(0, 0, width - 0.5, height + 1.5, power)
    jaw = jaw[jaw[:, 1] > side_y]  # from the right cheek round the chin to the left one
    right, left = jaw[0], jaw[-1]
    for end, side in ((right, 1), (left, -1)):
        for y in (-1.0, 7.0):
            pen.line(np.array([[end[0], end[1] + (2.5 if y > 0 else 0.5)], [side * (width + 1.5), y]]), fold, 1.5)
    upper = arc(left[0], right[0], side_y, -5.0) + np.outer(1 - np.linspace(-1, 1, 17) ** 2, [yaw * 0.8, 0])
    pen.fill(np.concatenate([upper, jaw]), cloth, hls(hue, light - 0.34, saturation), 1.7)
    for part in (0.38, 0.68):
        y = side_y + part * (height - side_y)
        reach = width * (0.66 if part < 0.5 else 0.5)
        pen.line(arc(yaw * 0.6 - reach, yaw * 0.6 + reach, y, 3.0), fold, 1.3)


def draw_avatar(canvas: Image, look: Look, state: int, rng: np.random.Generator) -> None:
    """One pose of one person on a supersampled canvas, in place. `state`: 0 worn, 1 incorrect, 2 not worn."""
    u = rng.uniform
    body = turned(u(-0.1, 0.1), u(0.94, 1.1), (80, 110), (80 + u(-7, 7), 105 + u(-5, 4)))
    yaw = u(-6.5, 6.5)
    head = body @ turned(u(-0.2, 0.2), 1.0, (0, 42), (80 + yaw * 0.4, 110 + u(-2, 2)))
    draw_body(Pen(canvas, body), look)
    draw_head(Pen(canvas, head), look, yaw)
    draw_mask(Pen(canvas, head), look, yaw, state, rng)
