"""Every preset gives what albumentations 2.0.8 gives, bit for bit, from the same seeds."""

from __future__ import annotations

import math
import os
import random

import cv2
import numpy as np
import pytest

from ssl_mask.data.augment import PRESETS, Augmenter
from ssl_mask.data.augment_steps import mix
from ssl_mask.data.rand_augment import operations

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks a package index for updates

import albumentations as A

GREY = 128


def reference(preset: str, *, flip: bool = True) -> list[A.BasicTransform]:
    mirror = [A.HorizontalFlip(p=0.5)] if flip else []
    shake = A.Affine(
        rotate=(-12, 12), translate_percent=(-0.06, 0.06), scale=(0.9, 1.1), keep_ratio=True,
        border_mode=cv2.BORDER_REFLECT_101, p=1.0,
    )  # fmt: skip
    relight = A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.15, p=0.8)
    worse = A.OneOf(
        [
            A.GaussNoise(std_range=(0.02, 0.06), noise_scale_factor=0.5),
            A.GaussianBlur(blur_limit=(3, 5), sigma_limit=(0.4, 1.2)),
            A.ImageCompression(quality_range=(40, 90)),
        ],
        p=0.5,
    )
    rand_augment = A.RandomOrder(reference_operations(9.0), n=2, replace=True, p=1.0)
    return {
        "none": [],
        "flip": mirror,
        "light": [*mirror, shake, relight],
        "competition": [*mirror, shake, relight, worse, cut_out(0.15, 0.3, p=0.5)],
        "strong": [*mirror, rand_augment, cut_out(0.2, 0.4, p=1.0)],
    }[preset]


def cut_out(least: float, most: float, p: float) -> A.BasicTransform:
    return A.CoarseDropout((1, 1), hole_height_range=(least, most), hole_width_range=(least, most), fill=GREY, p=p)


def reference_operations(magnitude: float) -> list[A.BasicTransform]:
    m = magnitude / 10
    slant, bits = math.degrees(math.atan(0.3 * m)), 8 - round(4 * m)
    nothing = {"brightness": (1, 1), "contrast": (1, 1), "saturation": (1, 1), "hue": (0, 0)}

    def both(build) -> A.BasicTransform:
        return A.OneOf([build(-1), build(1)], p=1.0)

    def exactly(value: float) -> tuple[float, float]:
        return value, value

    def affine(**change) -> A.BasicTransform:
        return A.Affine(border_mode=cv2.BORDER_CONSTANT, fill=GREY, p=1.0, **change)

    def enhance(name: str, factor: float) -> A.BasicTransform:
        return A.ColorJitter(p=1.0, **(nothing | {name: exactly(factor)}))

    return [
        A.NoOp(p=1.0),
        A.AutoContrast(p=1.0),
        A.Equalize(p=1.0),
        A.Posterize(num_bits=bits, p=1.0) if bits < 8 else A.NoOp(p=1.0),
        A.Solarize(threshold_range=exactly(1 - m), p=1.0),
        both(lambda sign: affine(rotate=exactly(30 * m * sign))),
        both(lambda sign: affine(shear={"x": exactly(slant * sign), "y": (0, 0)})),
        both(lambda sign: affine(shear={"x": (0, 0), "y": exactly(slant * sign)})),
        both(lambda sign: affine(translate_percent={"x": exactly(0.3 * m * sign), "y": (0, 0)})),
        both(lambda sign: affine(translate_percent={"x": (0, 0), "y": exactly(0.3 * m * sign)})),
        both(lambda sign: enhance("brightness", 1 + 0.9 * m * sign)),
        both(lambda sign: enhance("contrast", 1 + 0.9 * m * sign)),
        both(lambda sign: enhance("saturation", 1 + 0.9 * m * sign)),
        A.OneOf([A.GaussianBlur((3, 3), exactly(0.1 + m)), A.Sharpen(exactly(0.9 * m), exactly(1.0))], p=1.0),
    ]


def expected(steps: list[A.BasicTransform], image: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
    compose = A.Compose(steps)
    compose.set_random_state(np.random.Generator(np.random.PCG64(mix(seed))), random.Random(mix(seed)))
    return compose(image=image)["image"]


def pictures(size: int) -> list[np.ndarray]:
    """Smooth ones of full, middle and hardly any range, blocks, noise, grey noise, and one that is white."""
    rng = np.random.default_rng(size)
    coarse = [rng.integers(low, high, (6, 6, 3), dtype=np.uint8) for low, high in ((0, 256), (40, 216), (100, 102))]
    smooth = [cv2.resize(c, (size, size)) for c in coarse]
    blocks, noise = cv2.resize(coarse[0], (size, size), interpolation=0), rng.integers(0, 256, (size, size, 3))
    grey = np.repeat(noise[..., :1], 3, axis=2)
    return [*smooth, blocks, noise.astype(np.uint8), grey.astype(np.uint8), np.full((size, size, 3), 255, np.uint8)]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("size", "flip"), [(32, True), (49, False), (112, True)])
def test_presets(preset: str, size: int, flip: bool) -> None:
    augmenter = Augmenter(preset, size, grid_shuffle_classes=["x"], flip=flip)
    plain, images = reference(preset, flip=flip), pictures(size)
    shuffled = [A.RandomGridShuffle((3, 3), p=0.5), *plain] if preset in ("competition", "strong") else plain
    for k in range(84):
        image, shuffles = images[k % len(images)], k % 2 == 1
        got = augmenter(image, (3, k), ["x"] if shuffles else [])
        np.testing.assert_array_equal(got, expected(shuffled if shuffles else plain, image, (3, k)))


@pytest.mark.parametrize("magnitude", [0.0, 2.5, 9.0, 10.0])
def test_operations_of_randaugment(magnitude: float) -> None:
    """At magnitudes that no preset has."""
    augmenter = Augmenter("none", 49)
    pairs = zip(operations(magnitude), reference_operations(magnitude), strict=True)
    for number, (operation, other) in enumerate(pairs):
        augmenter._steps = [operation]
        for k, image in enumerate(pictures(49)):
            np.testing.assert_array_equal(augmenter(image, (k,)), expected([other], image, (k,)), err_msg=str(number))
