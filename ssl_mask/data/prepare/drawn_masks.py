"""Face masks drawn into photos of bare faces, from formulas: no picture of a mask is copied.

A face has its own coordinates. `down` is 0 between the eyes and 1 at the mouth, so that a nose ends near 0.6 and a chin
near 1.7; `across` is 0 on the line that runs down the nose, and -1 and 1 at the ears, from where it narrows towards the
chin. A mask is what lies between two curves in them, so it turns and leans with the head. It is as bright as the skin
that it covers, brighter where the light comes from, and as sharp as the photo.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.prepare.blazeface import Face

Worn = Literal["right", "wrong"]
"""`right`: over nose and mouth; `wrong`: below the nose, or on the chin."""

LEAST = 8.0
"""Pixels from the eyes to the mouth; a smaller face has no room for a mask."""
FINE, MOST = 2.0, 900
"""Pixels a side that each pixel of the photo is drawn with, and how many a side there are at most; then fewer each."""
SEEN = 0.3
"""Of a mask that is worn wrong, this much lies above the lower edge of the photo, down."""

_Field = NDArray[np.float32]


class Kind(NamedTuple):
    """What a mask is like. Lengths are those of the face's coordinates."""

    name: str
    colours: tuple[tuple[int, int, int], ...]
    """RGB in white light."""
    side: float
    """Where it ends, across."""
    peak: float
    """How much higher its upper edge is on the nose than at the sides."""
    low: float
    """Where its lower edge is at the sides, down."""
    folds: tuple[float, ...]
    """Of its height: where folds run across."""
    seam: float
    """How dark the seam is that runs down its middle; 0: none."""


KINDS = (
    Kind("surgical", ((150, 200, 225), (165, 215, 205), (235, 238, 240), (90, 150, 205), (235, 185, 200), (45, 47, 52),
                      (175, 165, 205)), 0.84, 0.16, 1.12, (0.12, 0.34, 0.52, 0.7), 0.0),
    Kind("cloth", ((40, 42, 48), (50, 60, 95), (120, 122, 128), (205, 190, 165), (236, 234, 228), (110, 45, 55),
                   (80, 105, 85)), 0.93, 0.24, 0.92, (), 0.16),
    Kind("respirator", ((240, 241, 242), (228, 229, 228), (45, 46, 50), (215, 205, 190), (170, 200, 180)),
         0.95, 0.2, 0.86, (0.36, 0.68), 0.05),
)  # fmt: skip


class Drawn(NamedTuple):
    picture: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    what: str
    """Kind and place, such as `surgical, below the nose`."""


def draw_mask(picture: NDArray[np.uint8], face: Face, worn: Worn, rng: np.random.Generator) -> Drawn | None:
    """A photo with a mask of a random kind, colour and fit; None where the face's points leave no room for one.

    Args:
        picture: (H, W, 3) uint8 RGB; it is not changed.
        face: with its points, in pixels of the picture.
    """
    if not _plausible(face):
        return None
    kind = KINDS[int(rng.choice(len(KINDS), p=(0.55, 0.2, 0.25)))]
    frame = _Frame(face, picture.shape[1], picture.shape[0])
    place, top, bottom = _fit(worn, frame.nose, rng)
    top = min(top, frame.lowest - SEEN)
    if top < frame.nose + 0.1 and worn == "wrong":
        return None
    part = picture[frame.rows, frame.columns]
    colour = np.array(kind.colours[int(rng.integers(len(kind.colours)))], np.float32) + rng.normal(0, 8, 3)
    shades, cover, straps = _rendered(frame, kind, top, bottom, rng)
    light = _light(part, frame)
    sheet = colour.astype(np.float32) * (shades * light)[..., None]
    small = (part.shape[1], part.shape[0])
    sheet, alpha, thin = (
        np.asarray(cv2.resize(a, small, interpolation=cv2.INTER_AREA), np.float32) for a in (sheet, cover, straps)
    )
    blur = max(0.45, frame.unit / 90)
    sheet, alpha = cv2.GaussianBlur(sheet, (0, 0), blur), cv2.GaussianBlur(alpha, (0, 0), blur)
    sheet += rng.normal(0, 2.5, (*sheet.shape[:2], 1))
    shadow = 1 - 0.3 * cv2.GaussianBlur(alpha, (0, 0), max(1.0, frame.unit / 16))[..., None]
    skin = part * np.where(alpha[..., None] < 1, shadow, 1.0)
    skin = skin * (1 - 0.8 * thin[..., None]) + 0.8 * thin[..., None] * np.minimum(colour * 1.05, 245) * 0.9
    mixed = skin * (1 - alpha[..., None]) + sheet * alpha[..., None]
    made = picture.copy()
    made[frame.rows, frame.columns] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return Drawn(made, f"{kind.name}, {place}")


def _plausible(face: Face) -> bool:
    """Whether the points are those of a face that looks at the camera: eyes beside each other, a mouth below them."""
    if len(face.points) != 6:
        return False
    (left, right, nose, mouth, ear, other) = (np.array(p) for p in face.points)
    down, apart = mouth - (left + right) / 2, right - left
    length, width = float(np.hypot(*down)), float(np.hypot(*apart))
    if length < LEAST or not 0.4 < width / length < 2.5:
        return False
    u = apart / width
    between = float(np.dot(ear - nose, u)) < 0 < float(np.dot(other - nose, u))
    return between and abs(float(np.dot(u, down))) / length < 0.5


class _Frame:
    """A face's own coordinates at each fine pixel of the part of the photo that is near it."""

    def __init__(self, face: Face, width: int, height: int) -> None:
        left, right, nose, mouth, ear, other = (np.array(p, np.float64) for p in face.points)
        eyes = (left + right) / 2
        down = mouth - eyes
        self.unit = float(np.hypot(*down))
        """Pixels from the eyes to the mouth."""
        u = (right - left) / np.hypot(*(right - left))
        reach = 1.3 * max(self.unit * 2, float(np.hypot(*(other - ear))))
        self.columns, self.rows = (
            slice(max(0, int(c - reach)), max(1, min(limit, int(c + reach))))
            for c, limit in zip(mouth, (width, height), strict=True)
        )
        high, wide = self.rows.stop - self.rows.start, self.columns.stop - self.columns.start
        self.fine = min(FINE, MOST / max(high, wide))
        self.shape = max(1, round(high * self.fine)), max(1, round(wide * self.fine))
        y, x = np.mgrid[: self.shape[0], : self.shape[1]].astype(np.float32)
        x, y = (x + 0.5) / self.fine + self.columns.start - eyes[0], (y + 0.5) / self.fine + self.rows.start - eyes[1]
        # A point is eyes + down · (how far down) + u · (how far across, in pixels): two equations.
        area = down[0] * u[1] - down[1] * u[0]
        self.down: _Field = ((x * u[1] - y * u[0]) / area).astype(np.float32)
        beside = (y * down[0] - x * down[1]) / area
        self.nose, tip = self._solve(nose - eyes, down, u, area)
        # The nose sticks out: where the head is turned, the middle of the mask follows it.
        middle = tip * np.clip(1 - np.abs(self.down - self.nose) / 1.2, 0, 1)
        _, first = self._solve(ear - eyes, down, u, area)
        _, second = self._solve(other - eyes, down, u, area)
        narrow = 1 - 0.34 * _smooth((self.down - 0.5) / 1.35)
        beside = beside - middle
        halves = np.maximum(0.35 * self.unit, np.where(beside < 0, middle - first, second - middle)) * narrow
        self.across: _Field = (beside / halves).astype(np.float32)
        near = np.abs(self.across) < 0.2
        self.lowest = float(self.down[near].max()) if near.any() else 0.0
        """How far down the photo goes in the middle of the face."""
        self._ears = ear, other

    @staticmethod
    def _solve(
        p: NDArray[np.float64], down: NDArray[np.float64], u: NDArray[np.float64], area: float
    ) -> tuple[float, float]:
        """How far down, and how far across in pixels, a point is from the middle of the eyes."""
        return float((p[0] * u[1] - p[1] * u[0]) / area), float((p[1] * down[0] - p[0] * down[1]) / area)

    def ears(self) -> list[tuple[float, float]]:
        """In fine pixels."""
        return [((x - self.columns.start) * self.fine, (y - self.rows.start) * self.fine) for x, y in self._ears]

    def place(self, across: float, down: float) -> tuple[float, float]:
        """The fine pixel (x, y) that is nearest to a point of the face."""
        apart = (self.across - across) ** 2 + (self.down - down) ** 2
        y, x = np.unravel_index(int(apart.argmin()), self.shape)
        return float(x), float(y)


def _fit(worn: Worn, nose: float, rng: np.random.Generator) -> tuple[str, float, float]:
    """Where it is in words, and where its edges are in the middle of the face, down."""
    chin = float(rng.uniform(1.62, 1.85))
    if worn == "right":
        return "worn right", min(float(rng.uniform(0.2, 0.38)), nose - 0.18), chin
    if rng.random() < 0.6:
        return "below the nose", max(nose + 0.12, float(rng.uniform(0.72, 0.86))), chin + 0.15
    return "on the chin", float(rng.uniform(1.15, 1.35)), chin + 0.3


def _rendered(
    frame: _Frame, kind: Kind, top: float, bottom: float, rng: np.random.Generator
) -> tuple[_Field, _Field, _Field]:
    """Brightness of the cloth, what it covers and what its straps cover, at each fine pixel: 1 is white, or all."""
    a, d = np.abs(frame.across), frame.down
    relative = np.clip(a / kind.side, 0, 1)
    flat = (bottom - top) / 1.4  # a mask that is pushed down is folded
    upper = top + kind.peak * flat * relative**1.4
    lower = bottom - max(0.15, bottom - max(kind.low, top + 0.45 * flat)) * relative ** (3.2 if kind.folds else 2.4)
    cover = ((a <= kind.side) & (d >= upper) & (d <= lower)).astype(np.float32)
    height = np.clip((d - upper) / np.maximum(lower - upper, 0.05), 0, 1)
    shades = 1.02 - 0.22 * relative**2 - 0.1 * _smooth((height - 0.55) / 0.45) * (1 - 0.5 * relative)
    for fold in kind.folds:
        bent = height - (fold + 0.05 * (1 - relative**2) * (fold - 0.3))
        strength = (0.05 if fold < 0.2 else 0.13) * np.clip(1.15 - relative, 0, 1)
        shades -= strength * np.exp(-((bent / 0.018) ** 2)) - 0.5 * strength * np.exp(-(((bent + 0.035) / 0.03) ** 2))
    if kind.seam:
        shades -= kind.seam * np.exp(-((a / 0.018) ** 2)) * cover
        shades += 0.05 * np.sign(frame.across) * np.clip(1 - relative, 0, 1)  # two halves that meet at an angle
    hem = np.minimum(height, np.minimum(1 - height, (1 - relative) * 1.2))
    shades -= 0.12 * np.exp(-((hem / 0.025) ** 2))
    crease = cv2.resize(rng.normal(0, 1, (9, 7)).astype(np.float32), frame.shape[::-1], interpolation=cv2.INTER_CUBIC)
    shades += 0.025 * crease
    straps = np.zeros(frame.shape, np.uint8)
    thick = max(1, round(frame.unit * frame.fine * 0.03))
    for side, ear in zip((-1, 1), frame.ears(), strict=True):
        for down in (top + kind.peak * flat, max(kind.low, top + 0.45 * flat)):
            start = frame.place(side * kind.side * 0.97, down)
            bow = [_between(start, ear, k / 8, side * 0.06 * frame.unit * frame.fine) for k in range(9)]
            cv2.polylines(straps, [np.rint(bow).astype(np.int32)], False, 255, thick, cv2.LINE_AA)
    visible = np.clip((1.08 - a) / 0.08, 0, 1) * (straps / 255)
    return shades.astype(np.float32), cover, visible.astype(np.float32)


def _light(part: NDArray[np.uint8], frame: _Frame) -> _Field:
    """How bright the face is where the mask comes, smooth, at each fine pixel; 1 is a well-lit face."""
    grey = cv2.resize(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), frame.shape[::-1]).astype(np.float32)
    d, a = frame.down, frame.across
    face = (np.abs(a) < 0.8) & (d > 0.2) & (d < 1.5)
    if face.sum() < 16:
        return np.ones(frame.shape, np.float32)
    middle = float(np.median(grey[face]))
    sides = [float(np.median(grey[own])) if own.sum() > 8 else middle for own in (face & (a < -0.2), face & (a > 0.2))]
    slope = np.clip((sides[1] - sides[0]) / (2 * max(middle, 1.0)), -0.25, 0.25)
    level = float(np.clip((middle / 165) ** 0.7, 0.35, 1.15))
    return np.asarray(level * (1 + slope * np.clip(frame.across, -1, 1)), np.float32)


def _between(first: tuple[float, float], last: tuple[float, float], share: float, bow: float) -> tuple[float, float]:
    """A point of a bent line."""
    x, y = ((1 - share) * a + share * b for a, b in zip(first, last, strict=True))
    return x + bow * 4 * share * (1 - share) * 0.3, y + abs(bow) * 4 * share * (1 - share)


def _smooth(x: NDArray[Any]) -> _Field:
    """From 0 to 1 as x goes from 0 to 1, without corners."""
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)
