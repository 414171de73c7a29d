"""Random changes of one image, each a function of (size, size, 3) uint8 RGB and of the random numbers of that image.

They draw what albumentations 2.0.8 draws, in its order, and give its results bit for bit; a test compares them. Its
own code takes two to three times as long for images of this size (26 ms for 32 of 112 px in place of 10, of which its
bookkeeping per call is only 2), and a second to import.
A number that it draws and does not use is skipped here. No step writes to its argument; a result may be the argument.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Matrix = NDArray[np.float64]

MID_GREY = 128


def mix(seed: Sequence[int]) -> int:
    """One 128-bit number from several; (1, 23) and (12, 3) give different numbers."""
    return int.from_bytes(hashlib.blake2b(" ".join(map(str, seed)).encode(), digest_size=16).digest())


class Dice:
    """The random numbers of one image: two streams, because albumentations has two. In one thread only."""

    def __init__(self) -> None:
        self._random = random.Random(0)
        self.uniform = self._random.uniform
        self.integer = self._random.randint
        self._number = 0
        self._arrays: np.random.Generator | None = None

    def seed(self, number: int) -> None:
        """Start both streams anew."""
        self._random.seed(number)
        self._number, self._arrays = number, None

    @property
    def arrays(self) -> np.random.Generator:
        """The stream of choices and of whole numbers below an array. Made when it is needed: that costs 20 µs."""
        if self._arrays is None:
            self._arrays = np.random.Generator(np.random.PCG64(self._number))
        return self._arrays

    def happens(self, p: float) -> bool:
        """True with probability p."""
        return self._random.random() < p

    def index(self, count: int) -> int:
        """One of 0 … count - 1."""
        return int(self.arrays.random() * count)

    def skip(self, count: int) -> None:
        for _ in range(count):
            self._random.random()


Step = Callable[[Pixels, Dice], Pixels]


# ---- steps made of steps; with functools.partial they stay picklable ----


def one_of(steps: Sequence[Step], p: float, image: Pixels, dice: Dice) -> Pixels:
    """With probability p one of the steps, each equally often."""
    return steps[dice.index(len(steps))](image, dice) if dice.happens(p) else image


def some_of(steps: Sequence[Step], count: int, image: Pixels, dice: Dice) -> Pixels:
    """`count` steps in random order, drawn uniformly with replacement."""
    dice.skip(1)
    for index in dice.arrays.integers(0, len(steps), size=count).tolist():
        image = steps[index](image, dice)
    return image


def unchanged(image: Pixels, dice: Dice) -> Pixels:  # noqa: ARG001
    return image


# ---- where pixels are ----


def flip(image: Pixels, dice: Dice) -> Pixels:
    """The mirror image, with probability 1/2."""
    return _uint8(cv2.flip(image, 1)) if dice.happens(0.5) else image


def shake(image: Pixels, dice: Dice) -> Pixels:
    """A small shift (6 %, whole pixels), zoom (10 %) and rotation (12°); what is missing is mirrored."""
    height, width = image.shape[:2]
    shift = int(dice.uniform(-0.06, 0.06) * width), int(dice.uniform(-0.06, 0.06) * height)
    dice.skip(2)
    zoom = dice.uniform(0.9, 1.1)
    dice.skip(1)
    matrix = affine(image, rotate=dice.uniform(-12, 12), zoom=zoom, shift=shift)
    return warped(image, matrix, cv2.BORDER_REFLECT_101)


def affine(
    image: Pixels, *, rotate: float = 0.0, zoom: float = 1.0, shear: tuple[float, float] = (0.0, 0.0),
    shift: tuple[float, float] = (0.0, 0.0),
) -> Matrix:  # fmt: skip
    """(2, 3) matrix that zooms, rotates, shears and then shifts an image around its centre.

    Args:
        rotate: degrees counter-clockwise.
        shear: degrees in x and in y.
        shift: pixels in x and in y.
    """
    angle, (tan_x, tan_y) = math.radians(rotate), (math.tan(math.radians(s)) for s in shear)
    cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
    a, b, c, d = cos - tan_x * sin, sin + tan_x * cos, tan_y * cos - sin, tan_y * sin + cos
    x, y = image.shape[1] / 2 - 0.5, image.shape[0] / 2 - 0.5
    return np.array([[a, b, x + shift[0] - a * x - b * y], [c, d, y + shift[1] - c * x - d * y]])


def warped(image: Pixels, matrix: Matrix, border: int) -> Pixels:
    """The image under a (2, 3) matrix, interpolated; what is missing is filled by OpenCV's `border`, or mid-grey."""
    size = image.shape[1], image.shape[0]
    return _uint8(cv2.warpAffine(image, matrix, size, borderMode=border, borderValue=(MID_GREY,) * 3))


def shuffle_tiles(image: Pixels, dice: Dice, grid: int = 3, p: float = 0.5) -> Pixels:
    """With probability p the tiles in another order; tiles of different shapes do not change places.

    Args:
        grid: tiles a side, at most the image's pixels a side.
    """
    if not dice.happens(p):
        return image
    (tops, bottoms), (lefts, rights) = (_parts(length, grid, dice.arrays) for length in image.shape[:2])
    places = [(slice(*y), slice(*x)) for y in zip(tops, bottoms, strict=True) for x in zip(lefts, rights, strict=True)]
    same_shape: dict[tuple[int, ...], list[int]] = {}
    for number, place in enumerate(places):
        same_shape.setdefault(image[place].shape, []).append(number)
    result = np.empty_like(image)
    for numbers in same_shape.values():
        new = list(numbers)
        dice.arrays.shuffle(new)
        for old_number, new_number in zip(numbers, new, strict=True):
            result[places[new_number]] = image[places[old_number]]
    return result


def _parts(length: int, count: int, arrays: np.random.Generator) -> tuple[list[int], list[int]]:
    """Begin and end of almost equal parts; which of them are a pixel longer is random."""
    parts = np.full(count, length // count)
    parts[: length % count] += 1
    arrays.shuffle(parts)
    ends = np.cumsum(parts)
    return (ends - parts).tolist(), ends.tolist()


# ---- what colours pixels have ----


def relight(image: Pixels, dice: Dice) -> Pixels:
    """With probability 0.8 other brightness and contrast, by up to 15 %."""
    if not dice.happens(0.8):
        return image
    contrast = 1.0 + dice.uniform(-0.15, 0.15)
    return scaled(image, contrast, 255 * dice.uniform(-0.15, 0.15))


_VALUES = np.arange(256, dtype=np.float32)


def scaled(image: Pixels, factor: float, shift: float = 0.0) -> Pixels:
    """factor · value + shift, cut to 0 … 255 and rounded down."""
    return looked_up(image, np.clip(_VALUES * factor + shift, 0, 255).astype(np.uint8))


def looked_up(image: Pixels, table: Pixels) -> Pixels:
    """Every value replaced by that of a (256,) table."""
    return _uint8(cv2.LUT(image, table))


def add_noise(image: Pixels, dice: Dice) -> Pixels:
    """Gaussian noise of 2 to 6 % of the range.

    It is drawn at half size and enlarged: drawing it is most of the cost, and real sensor noise is coarse too.
    """
    height, width = image.shape[:2]
    deviation = np.full(3, dice.uniform(0.02, 0.06), np.float32)
    dice.skip(1)
    cv2.setRNGSeed(int(dice.arrays.integers(0, 2**16)))
    noise = np.empty((max(1, height // 2), max(1, width // 2), 3))
    cv2.randn(noise, np.zeros(3, np.float32), deviation)
    enlarged = cv2.resize(noise.astype(np.float32) * 255, (width, height))
    return _uint8(cv2.add(image, np.trunc(enlarged), dtype=cv2.CV_8U))


def soften(image: Pixels, dice: Dice) -> Pixels:
    """Gaussian blur, σ of 0.4 to 1.2 pixels, cut after one pixel (a third of the images) or two."""
    sigma = dice.uniform(0.4, 1.2)
    return blurred(image, sigma, 1 if dice.integer(3, 5) == 3 else 2)


def blurred(image: Pixels, sigma: float, radius: int) -> Pixels:
    """Gaussian blur of σ pixels with a kernel of 2 · radius + 1."""
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    return _uint8(cv2.sepFilter2D(image, -1, kernel, kernel))


def compress(image: Pixels, dice: Dice) -> Pixels:
    """JPEG artefacts of quality 40 to 90."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, dice.integer(40, 90)]
    return _uint8(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_UNCHANGED))


def cut_out(least: float, most: float, p: float, image: Pixels, dice: Dice) -> Pixels:
    """With probability p a mid-grey rectangle at a random place (Cutout, arXiv 1708.04552).

    Args:
        least, most: of its height and of its width, as a share of the image's.
    """
    if p < 1 and not dice.happens(p):
        return image
    dice.integer(1, 1)
    (height, width), draw = image.shape[:2], dice.arrays
    tall, wide = int(height * draw.uniform(least, most)), int(width * draw.uniform(least, most))
    top, left = int(draw.integers(height - tall + 1)), int(draw.integers(width - wide + 1))
    result = image.copy()
    result[top : top + tall, left : left + wide] = MID_GREY
    return result


def cut_square(side: int, image: Pixels, dice: Dice) -> Pixels:
    """A mid-grey square of so many pixels, centred on any pixel: near an edge less of it is seen (Cutout, arXiv
    1708.04552, whose authors found that to matter)."""
    top, left = (int(dice.arrays.integers(length)) - side // 2 for length in image.shape[:2])
    result = image.copy()
    result[max(top, 0) : top + side, max(left, 0) : left + side] = MID_GREY
    return result


def _uint8(image: Any) -> Pixels:
    """For the type checker: what OpenCV made of uint8 is uint8."""
    result: Pixels = image
    return result
