"""Random augmentation of training images: presets, and one seed per call.

A worker process should call `cv2.setNumThreads(0)` once: it is process-wide, so the code that starts workers does it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ssl_mask.config import AugmentConfig
from ssl_mask.data.augment_steps import (
    Dice,
    Pixels,
    Step,
    add_noise,
    compress,
    cut_out,
    cut_square,
    flip,
    mix,
    one_of,
    relight,
    shake,
    shuffle_tiles,
    soften,
)
from ssl_mask.data.rand_augment import rand_augment
from ssl_mask.errors import ConfigError, did_you_mean

PRESETS = ("none", "flip", "light", "competition", "strong")


class Augment(Protocol):
    """A random change of what a source reads. It depends on nothing but the arguments."""

    def __call__(self, image: NDArray[Any], seed: Sequence[int], classes: Collection[str] = ()) -> NDArray[Any]:
        """
        Args:
            seed: any integers ≥ 0.
            classes: class names of the image.
        """
        ...


class Augmenter:
    """One preset for images of one size. Use it in one thread only; another process gets a pickled copy.

    - none: no change
    - flip: left-right, with probability 1/2; the weak view of consistency training
    - light: flip, a small shift, zoom and rotation, brightness and contrast
    - competition: light; with probability 1/2 one of noise, blur and JPEG artefacts; with probability 1/2 Cutout
    - strong: flip, RandAugment, Cutout; the strong view of consistency training

    With competition and strong, images of `grid_shuffle_classes` get their tiles shuffled; the other presets do not do
    that. With `flip=False` nothing is mirrored.

    Args:
        grid_shuffle_classes: names of classes, for probability 1/2, or a probability for each. An image of several has
            the largest.
        grid: tiles a side.
        cutout: side of the square that every image loses, in pixels, in place of the preset's rectangle; 0: off.

    Raises:
        ConfigError: an unknown preset, or a square that would cover whole images.
    """

    def __init__(
        self, preset: str, size: int, *, grid_shuffle_classes: Collection[str] | Mapping[str, float] = (),
        grid: int = 3, cutout: int = 0, flip: bool = True,
    ) -> None:  # fmt: skip
        if preset not in PRESETS:
            raise ConfigError(f"There is no augmentation preset {preset!r}.", hint=did_you_mean(preset, list(PRESETS)))
        self._shape = (size, size, 3)
        if cutout >= size:
            hint = f"Choose fewer than {size} pixels (model.image_size); half of it is usual."
            raise ConfigError(f"augment.cutout {cutout} covers whole images of {size} pixels.", hint=hint)
        named = grid_shuffle_classes if preset in ("competition", "strong") else ()
        self._shuffled = dict(named) if isinstance(named, Mapping) else dict.fromkeys(named, 0.5)
        self._grid = grid
        self._steps = steps(preset, mirrors=flip, cutout=cutout)
        self._dice = Dice()

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
        image, dice = np.ascontiguousarray(image), self._dice
        dice.seed(mix(seed))
        dice.skip(1)
        if shuffles := [self._shuffled[name] for name in classes if name in self._shuffled]:
            image = shuffle_tiles(image, dice, self._grid, max(shuffles))
        for step in self._steps:
            image = step(image, dice)
        return image


def make_augmenter(config: AugmentConfig, size: int, preset: str | None = None) -> Augment:
    """Augmentation of labeled images of `size` x `size` pixels: the user's own transforms, or the preset.

    Args:
        preset: takes the place of what the configuration says.

    Raises:
        ConfigError: an unknown preset, or transforms that cannot be made.
    """
    if config.transforms and preset is None:
        from ssl_mask.data.own_augment import OwnAugmenter  # it takes a second to import

        return OwnAugmenter(config.transforms, size)
    return Augmenter(
        preset or config.preset, size, grid_shuffle_classes=config.grid_shuffle_classes, grid=config.grid_shuffle,
        cutout=config.cutout, flip=config.flip,
    )  # fmt: skip


def steps(preset: str, *, mirrors: bool, cutout: int = 0) -> list[Step]:
    """What a preset does, in order.

    Args:
        cutout: side of a square in place of the preset's rectangle; 0: the preset's own.
    """
    mirror: list[Step] = [flip] if mirrors else []
    worse: Step = partial(one_of, [add_noise, soften, compress], 0.5)
    presets: dict[str, list[Step]] = {
        "none": [],
        "flip": mirror,
        "light": [*mirror, shake, relight],
        "competition": [*mirror, shake, relight, worse],
        "strong": [*mirror, rand_augment()],
    }
    rectangles: dict[str, list[Step]] = {
        "competition": [partial(cut_out, 0.15, 0.3, 0.5)],
        "strong": [partial(cut_out, 0.2, 0.4, 1.0)],
    }
    last: list[Step] = [partial(cut_square, cutout)] if cutout else rectangles.get(preset, [])
    return [*presets[preset], *last]
