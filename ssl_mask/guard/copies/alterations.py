"""The alterations that a copy may have been through, each alone, as the bytes of a file that looks like other files.

An altered copy depends on the seed, the alteration, the bytes of the original and nothing else, so that it can be made
again anywhere. What is random (where a crop lies, which way a photo is turned) is seeded; strengths are relative to the
size of the photo. An alteration that is no encoding is saved as JPEG of quality 90.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Photo = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Change = Callable[[Photo, Generator], Photo]


class Alteration(NamedTuple):
    change: Change
    suffix: str = ".jpg"
    quality: int = 90


def alter(photo: Photo, content: bytes, name: str, alteration: Alteration, *, seed: int) -> bytes:
    """The bytes of an altered copy.

    Args:
        photo: what `content` shows, as `decode` gives it.
        content: the bytes of the original, which decide with the name and the seed what is random.
    """
    digest = hashlib.sha256(content + f"{seed} {name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return encode(alteration.change(photo, rng), alteration.suffix, alteration.quality)


def encode(photo: Photo, suffix: str, quality: int) -> bytes:
    file, kind = BytesIO(), {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[suffix]
    Image.fromarray(photo).save(file, kind, **({} if suffix == ".png" else {"quality": quality}))
    return file.getvalue()


# ---- the changes ----


def same(photo: Photo, _: Generator) -> Photo:
    return photo


def resize(photo: Photo, _: Generator, *, factor: float) -> Photo:
    size = tuple(max(1, round(factor * side)) for side in photo.shape[1::-1])
    return uint8(cv2.resize(photo, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC))


def crop(photo: Photo, rng: Generator, *, share: float) -> Photo:
    """Cuts `share` of the width and of the height, somewhere."""
    height, width = (round((1 - share) * side) for side in photo.shape[:2])
    top, left = (int(rng.integers(0, a - b + 1)) for a, b in zip(photo.shape[:2], (height, width), strict=True))
    return photo[top : top + height, left : left + width]


def flip(photo: Photo, _: Generator) -> Photo:
    return photo[:, ::-1]


def tone(photo: Photo, _: Generator, *, gain: float = 1.0, contrast: float = 1.0, gamma: float = 1.0) -> Photo:
    """Contrast is about mid-grey; what leaves the range is cut off."""
    values = (np.arange(256) / 255) ** gamma * gain
    table = uint8(255 * ((values - 0.5) * contrast + 0.5))
    return table[photo]


def blur(photo: Photo, _: Generator, *, share: float = 0.01) -> Photo:
    """Gaussian, sigma is this share of the width: 1.6 px of 160."""
    return uint8(cv2.GaussianBlur(photo, (0, 0), share * photo.shape[1]))


def grey(photo: Photo, _: Generator) -> Photo:
    return np.repeat(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)


def turn(photo: Photo, rng: Generator, *, degrees: float) -> Photo:
    """Either way about the middle; the corners become black."""
    height, width = photo.shape[:2]
    about = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees * rng.choice((-1, 1)), 1.0)
    return uint8(cv2.warpAffine(photo, about, (width, height), flags=cv2.INTER_LINEAR))


def logo(photo: Photo, rng: Generator) -> Photo:
    """An opaque sign in one colour with letters of another, in a corner, on 10 % of the area."""
    height, width = photo.shape[:2]
    high, wide = max(1, round(0.2 * height)), max(1, round(0.5 * width))
    paper, ink = (tuple(map(int, colour)) for colour in rng.integers(0, 256, (2, 3)))
    sign = np.full((high, wide, 3), paper, np.uint8)
    scale, at = high / 30, (round(0.05 * wide), round(0.72 * high))
    cv2.putText(sign, "PHOTO", at, cv2.FONT_HERSHEY_SIMPLEX, scale * 0.62, ink, max(1, round(scale * 2)))
    top, left = int(rng.integers(2)) * (height - high), int(rng.integers(2)) * (width - wide)
    signed = photo.copy()
    signed[top : top + high, left : left + wide] = sign
    return signed


def negative(photo: Photo, _: Generator) -> Photo:
    return 255 - photo


def border(photo: Photo, rng: Generator, *, share: float = 0.06) -> Photo:
    """A frame of one colour around the photo, `share` of the longer side wide."""
    wide = round(share * max(photo.shape[:2]))
    colour = tuple(map(int, rng.integers(0, 256, 3)))
    return uint8(cv2.copyMakeBorder(photo, wide, wide, wide, wide, cv2.BORDER_CONSTANT, value=colour))


def cast(photo: Photo, rng: Generator) -> Photo:
    """One colour channel 20 % up, another 20 % down."""
    return uint8(photo * rng.permutation((1.2, 1.0, 0.8)))


def collage(photo: Photo, rng: Generator, *, others: Sequence[Photo]) -> Photo:
    """Four photos of the size of this one, two by two: this one anywhere, and three of the others."""
    size = photo.shape[1::-1]
    chosen = [others[number] for number in rng.choice(len(others), 3, replace=False)]
    tiles = [uint8(cv2.resize(other, size, interpolation=cv2.INTER_AREA)) for other in chosen]
    tiles.insert(int(rng.integers(4)), photo)
    return np.concatenate([np.concatenate(tiles[:2], axis=1), np.concatenate(tiles[2:], axis=1)])


def chain(photo: Photo, rng: Generator, *, changes: Sequence[Change]) -> Photo:
    for change in changes:
        photo = change(photo, rng)
    return photo


def uint8(values: NDArray[Any]) -> Photo:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


BATTERY: Final[dict[str, Alteration]] = {
    "JPEG 95": Alteration(same, quality=95),
    "JPEG 75": Alteration(same, quality=75),
    "JPEG 50": Alteration(same, quality=50),
    "JPEG 30": Alteration(same, quality=30),
    "PNG": Alteration(same, ".png"),
    "WebP": Alteration(same, ".webp", 80),
    "half size": Alteration(partial(resize, factor=0.5)),
    "double size": Alteration(partial(resize, factor=2.0)),
    "crop 5 %": Alteration(partial(crop, share=0.05)),
    "crop 10 %": Alteration(partial(crop, share=0.10)),
    "crop 20 %": Alteration(partial(crop, share=0.20)),
    "flip": Alteration(flip),
    "brighter": Alteration(partial(tone, gain=1.3)),
    "darker": Alteration(partial(tone, gain=0.7)),
    "more contrast": Alteration(partial(tone, contrast=1.4)),
    "less contrast": Alteration(partial(tone, contrast=0.6)),
    "gamma 0.6": Alteration(partial(tone, gamma=0.6)),
    "gamma 1.6": Alteration(partial(tone, gamma=1.6)),
    "blur": Alteration(blur),
    "grey": Alteration(grey),
    "rotate 5°": Alteration(partial(turn, degrees=5.0)),
    "logo": Alteration(logo),
    "border": Alteration(border),
    "colour cast": Alteration(cast),
    "negative": Alteration(negative),
}
"""The guard is to find these, each alone."""

COMBINED: Final[dict[str, Alteration]] = {
    "flip + crop 10 % + JPEG 30": Alteration(partial(chain, changes=(flip, partial(crop, share=0.10))), quality=30),
}
"""Several at once: measured, but not in the goal."""

HARD: Final[dict[str, Alteration]] = {
    "border of a third": Alteration(partial(border, share=1 / 3)),
    "crop 30 %": Alteration(partial(crop, share=0.30)),
    "blur of radius 6": Alteration(partial(blur, share=6 / 160)),
}
"""Beyond what the guard promises: measured, and named among its limits where they are missed."""

ALL: Final = BATTERY | COMBINED | HARD
