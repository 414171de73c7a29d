"""Taking the demo's photos: a background, the avatar, small occluders, light, blur, noise, JPEG; and altered copies.

`take_photo` is a function of the person's look, the state of the mask and one generator: equal inputs, equal bytes.
`alter` makes the copies that are planted as leaks, so it does what careless people do: re-encode, resize, flip, …
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from ssl_mask.demo_data.avatar import FINE, SIZE, Image, Look, Pen, blob, draw_avatar, hls

ALTERATIONS: Final = ("reencode", "resize", "flip", "crop", "brighten")
CROP: Final = 0.04  # cut from each side by "crop"


def encode(image: Image, quality: int) -> bytes:
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok, "OpenCV cannot encode JPEG"
    return bytes(data)


def paper(rng: np.random.Generator, cells: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Smooth random field of SIZE x SIZE, about unit variance: gives every photo a texture of its own."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    field: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = cv2.resize(
        coarse, (SIZE, SIZE), None, 0, 0, cv2.INTER_CUBIC
    )
    return field


def background(rng: np.random.Generator) -> Image:
    """A soft sky or wall with hills and clutter in shapes that say nothing about the label."""
    u = rng.uniform
    hue, light = u(), u(0.62, 0.86)
    ends = np.array([hls(hue, light, u(0.2, 0.6)), hls(hue + u(-0.12, 0.12), light + u(-0.14, 0.12), u(0.2, 0.6))])
    t = np.linspace(0, 1, SIZE)[:, None, None]
    small = np.broadcast_to(ends[0] * (1 - t) + ends[1] * t, (SIZE, SIZE, 3))
    canvas: Image = cv2.resize(small.astype(np.uint8), (SIZE * FINE, SIZE * FINE))
    pen = Pen(canvas, np.eye(3))
    for depth in range(int(rng.integers(0, 3))):
        hill = blob(u(0, SIZE), u(150, 175), u(60, 130), u(30, 75) - 12 * depth, u(1.8, 2.6))
        pen.fill(hill, hls(hue + u(-0.25, 0.25), light - u(0.06, 0.2), u(0.25, 0.5)), edge=None)
    for _ in range(int(rng.integers(5, 12))):
        x, y, r, turn = u(0, SIZE), u(0, SIZE), u(4, 13), u(0, np.pi)
        colour = hls(hue + u(-0.4, 0.4), light + u(-0.2, 0.12), u(0.25, 0.7))
        kind = int(rng.integers(3))
        if kind == 0:  # a star or a triangle
            corners = int(rng.integers(3, 7))
            angle = turn + np.arange(2 * corners) * np.pi / corners
            reach = np.where(np.arange(2 * corners) % 2, 0.5, 1.0) * r
            pen.fill(np.stack([x + reach * np.cos(angle), y + reach * np.sin(angle)], axis=1), colour, edge=None)
        elif kind == 1:  # a leaf
            pen.fill(blob(x, y, 1.5 * r, 0.6 * r, 1.4, turn), colour, edge=None)
        else:  # a streak
            pen.fill(blob(x, y, 3.0 * r, 1.6, 2, turn), colour, edge=None)
    soft: Image = cv2.GaussianBlur(canvas, (0, 0), u(1.5, 5.0))
    return soft


def occlude(canvas: Image, rng: np.random.Generator) -> None:
    """Sometimes a few leaves or confetti in front, mostly near the borders, in place."""
    u, pen = rng.uniform, Pen(canvas, np.eye(3))
    for _ in range(int(rng.integers(0, 4))):
        angle, far, turn, r = u(0, 2 * np.pi), u(50, 88), u(0, np.pi), u(4, 9)
        x, y = 80 + far * np.cos(angle), 84 + far * np.sin(angle)
        hue, light = u(), u(0.45, 0.75)
        pen.fill(blob(x, y, 1.7 * r, 0.65 * r, 1.5, turn), hls(hue, light, 0.5), hls(hue, light - 0.25, 0.5), 1.2)


def expose(image: Image, rng: np.random.Generator) -> Image:
    """Light from one side, exposure, colour cast, paper texture, focus and sensor noise."""
    u = rng.uniform
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j].astype(np.float32)
    angle = u(0, 2 * np.pi)
    light = u(0.84, 1.16) * (1 + u(0.05, 0.25) * (x * np.cos(angle) + y * np.sin(angle)))
    light = light * (1 + 0.035 * paper(rng, 9) + 0.02 * paper(rng, 28))
    cast = np.asarray(rng.uniform(0.9, 1.08, 3), np.float32)
    lit = 255 * (np.asarray(image, np.float32) / 255 * light[..., None].astype(np.float32) * cast) ** u(0.85, 1.2)
    lit = cv2.GaussianBlur(lit, (0, 0), u(0.3, 1.1))
    lit += u(1, 6) * rng.standard_normal(lit.shape, dtype=np.float32)
    return np.asarray(np.clip(np.round(lit), 0, 255), np.uint8)


def take_photo(look: Look, state: int, rng: np.random.Generator) -> bytes:
    """JPEG of one person. `state`: 0 mask worn, 1 worn incorrectly, 2 not worn."""
    canvas = background(rng)
    draw_avatar(canvas, look, state, rng)
    occlude(canvas, rng)
    small: Image = cv2.resize(canvas, (SIZE, SIZE), None, 0, 0, cv2.INTER_AREA)
    return encode(expose(small, rng), int(rng.integers(72, 95)))


def alter(photo: bytes, alteration: str, rng: np.random.Generator) -> bytes:
    """An altered copy of a JPEG, as it turns up again in scraped pools under another name."""
    image: Image = np.asarray(cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR))
    quality = int(rng.integers(70, 90))
    if alteration == "reencode":
        quality = int(rng.integers(45, 70))
    elif alteration == "resize":
        side = int(rng.choice([112, 128, 200]))
        image = cv2.resize(image, (side, side), None, 0, 0, cv2.INTER_AREA if side < SIZE else cv2.INTER_CUBIC)
    elif alteration == "flip":
        image = cv2.flip(image, 1)
    elif alteration == "crop":
        cut = round(CROP * SIZE)
        image = cv2.resize(image[cut:-cut, cut:-cut], (SIZE, SIZE), None, 0, 0, cv2.INTER_CUBIC)
    elif alteration == "brighten":
        image = cv2.convertScaleAbs(image, None, float(rng.uniform(1.06, 1.15)), float(rng.uniform(6, 14)))
    else:
        raise ValueError(f"unknown alteration {alteration!r}")
    return encode(image, quality)
