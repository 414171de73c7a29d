"""RandAugment (Cubuk et al. 2020, arXiv 1909.13719): a few of 14 operations, one magnitude for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from ssl_mask.data.augment_steps import (
    Dice,
    Pixels,
    Step,
    affine,
    blurred,
    looked_up,
    one_of,
    scaled,
    some_of,
    unchanged,
    warped,
)


def rand_augment(count: int = 2, magnitude: float = 9.0) -> Step:
    """`count` random operations, drawn uniformly with replacement, in random order.

    Args:
        magnitude: in [0, 10].
    """
    return partial(some_of, operations(magnitude), count)


def operations(magnitude: float) -> list[Step]:
    """The paper's 14 operations.

    Operations with a direction get a random one. A greater magnitude is always a stronger change; in the paper it is a
    weaker one for posterize and solarize.
    """
    m = magnitude / 10
    slant = math.degrees(math.atan(0.3 * m))
    return [
        unchanged,
        spread_histogram,
        equalize,
        partial(posterize, 8 - round(4 * m)),
        partial(solarize, 1 - m),
        _either_way(lambda sign: partial(rotate, 30 * m * sign)),
        _either_way(lambda sign: partial(shear, (slant * sign, 0.0))),
        _either_way(lambda sign: partial(shear, (0.0, slant * sign))),
        _either_way(lambda sign: partial(shift, (0.3 * m * sign, 0.0))),
        _either_way(lambda sign: partial(shift, (0.0, 0.3 * m * sign))),
        _either_way(lambda sign: partial(brightness, 1 + 0.9 * m * sign)),
        _either_way(lambda sign: partial(contrast, 1 + 0.9 * m * sign)),
        _either_way(lambda sign: partial(saturation, 1 + 0.9 * m * sign)),
        partial(one_of, [partial(soften, 0.1 + m), partial(sharpen, 0.9 * m)], 1.0),
    ]


def _either_way(build: Callable[[int], Step]) -> Step:
    return partial(one_of, [build(-1), build(1)], 1.0)


def spread_histogram(image: Pixels, dice: Dice) -> Pixels:  # noqa: ARG001
    """Auto-contrast as albumentations has it: along the histogram. 255 does not count in it."""
    return _uint8_stack([looked_up(channel, _spread(channel)) for channel in cv2.split(image)])


def _spread(channel: Pixels) -> Pixels:
    """(256,) table."""
    counts = cv2.calcHist([channel], [0], None, [256], [0, 255]).ravel()
    present = np.flatnonzero(counts)
    if len(present) < 2:
        return np.arange(256, dtype=np.uint8)
    least, most = present[0], present[-1]
    below = counts[least : most + 1].cumsum()
    table = np.zeros(256, np.uint8)
    table[least : most + 1] = np.clip(np.round((below - below[0]) * 255 / (below[-1] - below[0])), 0, 255)
    table[most + 1 :] = 255
    return table


def equalize(image: Pixels, dice: Dice) -> Pixels:  # noqa: ARG001
    """Every value equally often, per channel."""
    return _uint8_stack([cv2.equalizeHist(channel) for channel in cv2.split(image)])


def _uint8_stack(channels: list[Pixels]) -> Pixels:
    merged: Pixels = cv2.merge(channels)
    return merged


def posterize(bits: int, image: Pixels, dice: Dice) -> Pixels:
    """Only the highest bits of every value."""
    if bits == 8:
        return image
    dice.integer(bits, bits)
    return looked_up(image, np.arange(256, dtype=np.uint8) & np.uint8(256 - 2 ** (8 - bits)))


def solarize(threshold: float, image: Pixels, dice: Dice) -> Pixels:
    """Values from the threshold (a share of 255) on are inverted."""
    dice.skip(1)
    values = np.arange(256)
    return looked_up(image, np.where(values >= threshold * 255, 255 - values, values).astype(np.uint8))


def rotate(degrees: float, image: Pixels, dice: Dice) -> Pixels:
    dice.integer(0, 0), dice.integer(0, 0)
    dice.skip(5)
    return warped(image, affine(image, rotate=degrees), cv2.BORDER_CONSTANT)


def shear(degrees: tuple[float, float], image: Pixels, dice: Dice) -> Pixels:
    """Degrees in x and in y."""
    dice.integer(0, 0), dice.integer(0, 0)
    dice.skip(5)
    return warped(image, affine(image, shear=(-degrees[0], -degrees[1])), cv2.BORDER_CONSTANT)


def shift(shares: tuple[float, float], image: Pixels, dice: Dice) -> Pixels:
    """Shares of the width and of the height; whole pixels."""
    dice.skip(7)
    pixels = int(shares[0] * image.shape[1]), int(shares[1] * image.shape[0])
    return warped(image, affine(image, shift=pixels), cv2.BORDER_CONSTANT)


def brightness(factor: float, image: Pixels, dice: Dice) -> Pixels:
    _skip_order(dice)
    return scaled(image, factor)


def contrast(factor: float, image: Pixels, dice: Dice) -> Pixels:
    """Distances from the mean grey value are multiplied."""
    _skip_order(dice)
    mean = float(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean())
    return scaled(image, factor, mean * (1 - factor))


def saturation(factor: float, image: Pixels, dice: Dice) -> Pixels:
    """Distances from the grey image are multiplied."""
    _skip_order(dice)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    result: Pixels = cv2.addWeighted(image, factor, grey, 1 - factor, 0)
    return result


def _skip_order(dice: Dice) -> None:
    """albumentations draws the order of four changes of colour, also when there is one."""
    dice.skip(4)
    dice.arrays.shuffle([0, 1, 2, 3])


def soften(sigma: float, image: Pixels, dice: Dice) -> Pixels:
    """Gaussian blur, cut after one pixel."""
    dice.skip(1)
    dice.integer(3, 3)
    return blurred(image, sigma, 1)


_AS_IT_IS = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32)
_SHARPENED = np.array([[-1, -1, -1], [-1, 9, -1], [-1, -1, -1]], np.float32)


def sharpen(share: float, image: Pixels, dice: Dice) -> Pixels:
    """Mixed with its sharpened self, of which the share is given."""
    dice.skip(2)
    result: Pixels = cv2.filter2D(image, -1, (1 - share) * _AS_IT_IS + share * _SHARPENED)
    return result
