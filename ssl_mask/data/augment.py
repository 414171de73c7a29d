"""Random augmentation of training images. The only module that knows albumentations.

By default, albumentations repeats one random stream in every DataLoader worker and every epoch. Its own answer,
`set_random_seed`, gives all transforms the same seed, so that the flip and the brightness always change together. Here
each call takes its own seed, and all transforms of a call draw from the same two generators, one after the other.

A worker process should call `cv2.setNumThreads(0)` once: it is process-wide, so the code that starts workers does it.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
from collections.abc import Callable, Collection, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.errors import ConfigError, did_you_mean

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks a package index for updates

import albumentations as A

Pixels = NDArray[np.uint8]

PRESETS = ("none", "flip", "light", "competition", "strong")

_MID_GREY = 128


class Augmenter:
    """One preset for images of one size. Use it in one thread only; another process gets a pickled copy.

    - none: no change
    - flip: left-right, with probability 1/2; the weak view of consistency training
    - light: flip, a small shift, zoom and rotation, brightness and contrast
    - competition: light; with probability 1/2 one of noise, blur and JPEG artefacts; with probability 1/2 Cutout
    - strong: flip, RandAugment, Cutout; the strong view of consistency training

    With competition and strong, images of `grid_shuffle_classes` get their 3 x 3 tiles shuffled with probability 1/2;
    the other presets do not do that. With `flip=False` nothing is mirrored.

    Raises:
        ConfigError: an unknown preset.
    """

    def __init__(
        self, preset: str, size: int, *, grid_shuffle_classes: Collection[str] = (), flip: bool = True
    ) -> None:
        if preset not in PRESETS:
            raise ConfigError(f"There is no augmentation preset {preset!r}.", hint=did_you_mean(preset, list(PRESETS)))
        self._shape = (size, size, 3)
        self._shuffled_classes = frozenset(grid_shuffle_classes if preset in ("competition", "strong") else ())
        self._bits = np.random.PCG64(0)
        self._random = random.Random(0)
        steps = _steps(preset, flip=flip)
        self._plain = A.Compose(steps)
        self._shuffled = A.Compose([A.RandomGridShuffle((3, 3), p=0.5), *steps])
        generator = np.random.Generator(self._bits)
        for compose in (self._plain, self._shuffled):
            compose.set_random_state(generator, self._random)

    def __call__(self, image: Pixels, seed: Sequence[int], classes: Collection[str] = ()) -> Pixels:
        """(size, size, 3) uint8 RGB to the same shape, contiguous.

        The result may be `image` itself, which is never written to. It depends on nothing but the arguments.

        Args:
            seed: any integers, such as the run's seed and the number of the draw.
            classes: class names of the image; only whether one is a grid-shuffle class has an effect.

        Raises:
            ValueError: an image of another shape.
        """
        if image.shape != self._shape:
            raise ValueError(f"this augmenter takes images of shape {self._shape}, not {image.shape}")
        number = _mix(seed)
        # Both generators are reseeded in place: giving new ones to every transform costs 30 µs more.
        self._bits.state = np.random.PCG64(number).state
        self._random.seed(number)
        compose = self._plain if self._shuffled_classes.isdisjoint(classes) else self._shuffled
        result: Pixels = np.ascontiguousarray(compose(image=image)["image"])
        return result


def _mix(seed: Sequence[int]) -> int:
    """One 128-bit number from several; (1, 23) and (12, 3) give different numbers."""
    return int.from_bytes(hashlib.blake2b(" ".join(map(str, seed)).encode(), digest_size=16).digest())


def _steps(preset: str, *, flip: bool) -> list[Any]:
    mirror = [A.HorizontalFlip(p=0.5)] if flip else []
    move = A.Affine(
        rotate=(-12, 12),
        translate_percent=(-0.06, 0.06),
        scale=(0.9, 1.1),
        keep_ratio=True,
        border_mode=cv2.BORDER_REFLECT_101,
        p=1.0,
    )
    light = A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.15, p=0.8)
    worse = A.OneOf(
        [
            # Noise at half size, then enlarged: sampling it is most of the cost, and real sensor noise is coarse too.
            A.GaussNoise(std_range=(0.02, 0.06), noise_scale_factor=0.5),
            A.GaussianBlur(blur_limit=(3, 5), sigma_limit=(0.4, 1.2)),
            A.ImageCompression(quality_range=(40, 90)),
        ],
        p=0.5,
    )
    return {
        "none": [],
        "flip": mirror,
        "light": [*mirror, move, light],
        "competition": [*mirror, move, light, worse, _cutout(0.15, 0.3, p=0.5)],
        "strong": [*mirror, rand_augment(), _cutout(0.2, 0.4, p=1.0)],
    }[preset]


def _cutout(least: float, most: float, p: float) -> Any:
    return A.CoarseDropout((1, 1), hole_height_range=(least, most), hole_width_range=(least, most), fill=_MID_GREY, p=p)


def rand_augment(count: int = 2, magnitude: float = 9.0) -> Any:
    """RandAugment (Cubuk et al. 2020, arXiv 1909.13719): `count` random operations, `magnitude` in [0, 10].

    The paper's 14 operations, drawn uniformly with replacement, in random order. Operations with a direction get a
    random one. A greater magnitude is always a stronger change; in the paper it is a weaker one for posterize and
    solarize.
    """
    m = magnitude / 10
    slant = math.degrees(math.atan(0.3 * m))
    return A.RandomOrder(
        [
            A.NoOp(p=1.0),
            A.AutoContrast(p=1.0),
            A.Equalize(p=1.0),
            _posterize(8 - round(4 * m)),
            A.Solarize(threshold_range=(1 - m, 1 - m), p=1.0),
            _either_way(lambda sign: _affine(rotate=_exactly(30 * m * sign))),
            _either_way(lambda sign: _affine(shear={"x": _exactly(slant * sign), "y": (0, 0)})),
            _either_way(lambda sign: _affine(shear={"x": (0, 0), "y": _exactly(slant * sign)})),
            _either_way(lambda sign: _affine(translate_percent={"x": _exactly(0.3 * m * sign), "y": (0, 0)})),
            _either_way(lambda sign: _affine(translate_percent={"x": (0, 0), "y": _exactly(0.3 * m * sign)})),
            _either_way(lambda sign: _enhance(brightness=_exactly(1 + 0.9 * m * sign))),
            _either_way(lambda sign: _enhance(contrast=_exactly(1 + 0.9 * m * sign))),
            _either_way(lambda sign: _enhance(saturation=_exactly(1 + 0.9 * m * sign))),
            A.OneOf([A.GaussianBlur((3, 3), _exactly(0.1 + m)), A.Sharpen(_exactly(0.9 * m), _exactly(1.0))], p=1.0),
        ],
        n=count,
        replace=True,
        p=1.0,
    )


def _posterize(bits: int) -> Any:
    return A.Posterize(num_bits=bits, p=1.0) if bits < 8 else A.NoOp(p=1.0)  # albumentations refuses all 8


def _either_way(build: Callable[[int], Any]) -> Any:
    return A.OneOf([build(-1), build(1)], p=1.0)


def _exactly(value: float) -> tuple[float, float]:
    """A range of one value: albumentations takes ranges, RandAugment's magnitude is fixed."""
    return value, value


def _affine(**change: Any) -> Any:
    return A.Affine(border_mode=cv2.BORDER_CONSTANT, fill=_MID_GREY, p=1.0, **change)


def _enhance(**change: tuple[float, float]) -> Any:
    nothing = {"brightness": (1, 1), "contrast": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
    return A.ColorJitter(p=1.0, **(nothing | change))
