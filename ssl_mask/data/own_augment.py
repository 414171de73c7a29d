"""Augmentation that a user writes down: transforms of albumentations. The only module that imports it.

By default, albumentations repeats one random stream in every DataLoader worker and every epoch. Its own answer,
`set_random_seed`, gives all transforms the same seed, so that the flip and the brightness always change together. Here
each call takes its own seed, and all transforms of a call draw from the same two generators, one after the other.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ssl_mask.data.augment_steps import Pixels, mix
from ssl_mask.errors import ConfigError, did_you_mean

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks a package index for updates

import albumentations as A

TRIED = 8
"""Draws of a grey image before training: what does not work stops here."""


class OwnAugmenter:
    """`augment.transforms`, for images of one size; called like `Augmenter`, whose notes on threads hold here too.

    Args:
        transforms: each a name of albumentations with its arguments, such as `{"HorizontalFlip": {"p": 0.5}}`.
            `OneOf`, `SomeOf`, `RandomOrder` and `Sequential` have such transforms in their argument `transforms`.
        size: width and height of the images in pixels.

    Raises:
        ConfigError: an unknown transform, arguments that it does not take, or one that does not turn an image into
            another of the same size.

    Examples:
        >>> augmenter = OwnAugmenter([{"HorizontalFlip": {"p": 1}}], 2)
        >>> image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        >>> bool((augmenter(image, (0,)) == image[:, ::-1]).all())
        True
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any]], size: int) -> None:
        self._shape = (size, size, 3)
        self._compose = A.Compose([_transform(step) for step in transforms])
        self._bits, self._random = np.random.PCG64(0), random.Random(0)
        self._compose.set_random_state(np.random.Generator(self._bits), self._random)
        for draw in range(TRIED):
            self(np.full(self._shape, 128, np.uint8), (draw,))

    def __call__(self, image: Pixels, seed: Sequence[int], classes: Collection[str] = ()) -> Pixels:  # noqa: ARG002
        """(size, size, 3) uint8 RGB to the same shape, contiguous; depends on nothing but image and seed.

        Raises:
            ConfigError: a transform fails, or gives an image of another shape or type.
        """
        number = mix(seed)
        self._bits.state = np.random.PCG64(number).state
        self._random.seed(number)
        try:
            result: Pixels = np.ascontiguousarray(self._compose(image=image)["image"])
        except Exception as error:  # whatever a transform raises for what it cannot do
            raise ConfigError(
                f"A transform of augment.transforms fails: {error}", hint="`sslmask augment` tries them out."
            ) from error
        if result.shape != self._shape or result.dtype != np.uint8:
            raise ConfigError(
                f"augment.transforms turns an image of shape {self._shape} and type uint8 into one of shape "
                f"{result.shape} and type {result.dtype}.",
                hint="Leave out what normalises, or set its size to model.image_size.",
            )
        return result


def _transform(step: Any) -> Any:
    """One transform, with those inside of it."""
    if not isinstance(step, Mapping) or len(step) != 1:
        raise _wrong(f"{step!r} is not one transform with its arguments", "Write it as: - HorizontalFlip: {p: 0.5}")
    ((name, given),) = step.items()
    if name not in (known := _kinds()):
        raise _wrong(f"albumentations has no transform {name!r}", did_you_mean(str(name), list(known)))
    arguments = {} if given is None else given
    if not isinstance(arguments, Mapping):
        raise _wrong(f"the arguments of {name} have no names: {given!r}", f"Write them as: - {name}: {{p: 0.5}}")
    inner = arguments.get("transforms", [])
    if not isinstance(inner, Sequence) or isinstance(inner, str):
        raise _wrong(f"the transforms of {name} are not a list: {inner!r}", "Write one line for each, with a dash.")
    made = {"transforms": [_transform(own) for own in inner]} if "transforms" in arguments else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of an argument that a transform does not know, it only warns
            return known[name](**{**arguments, **made})
    except Exception as error:  # each kind of transform has its own way to refuse
        raise _wrong(f"{name} does not take {dict(arguments)}: {error}", "See albumentations' page of it.") from error


def _kinds() -> dict[str, type]:
    """The transforms that can be written down. A `Lambda` takes functions, which YAML cannot hold."""
    bases = (A.BasicTransform, A.BaseCompose)
    found = {name: kind for name, kind in vars(A).items() if isinstance(kind, type) and issubclass(kind, bases)}
    return {name: kind for name, kind in found.items() if name != "Lambda"}


def _wrong(what: str, hint: str) -> ConfigError:
    return ConfigError(f"augment.transforms: {what}.", hint=hint)
