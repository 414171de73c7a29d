"""Transforms that a user writes down: what albumentations itself gives, from the seed of the draw alone."""

from __future__ import annotations

import random
from typing import Any

import albumentations as A
import numpy as np
import pytest

from ssl_mask.config import AugmentConfig, parse_assignments
from ssl_mask.data.augment import Augmenter, make_augmenter
from ssl_mask.data.augment_steps import mix
from ssl_mask.data.own_augment import OwnAugmenter
from ssl_mask.errors import ConfigError

SIZE = 24
WRITTEN = [
    {"HorizontalFlip": {"p": 0.5}},
    {"OneOf": {"p": 0.9, "transforms": [{"GaussianBlur": {"blur_limit": [3, 5]}}, {"ToGray": {"p": 1}}]}},
    {"RandomBrightnessContrast": None},
]


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def test_it_gives_what_albumentations_gives_from_the_same_generators() -> None:
    augmenter = OwnAugmenter(WRITTEN, SIZE)
    reference = A.Compose([
        A.HorizontalFlip(p=0.5), A.OneOf([A.GaussianBlur(blur_limit=(3, 5)), A.ToGray(p=1)], p=0.9),
        A.RandomBrightnessContrast(),
    ])  # fmt: skip
    draws = [augmenter(picture(), (3, k)) for k in range(20)]
    assert len({draw.tobytes() for draw in draws}) > 10
    for k in reversed(range(20)):  # no draw depends on one before it
        number = mix((3, k))
        reference.set_random_state(np.random.Generator(np.random.PCG64(number)), random.Random(number))
        np.testing.assert_array_equal(draws[k], reference(image=picture())["image"])
        np.testing.assert_array_equal(draws[k], augmenter(picture(), (3, k)))


def test_transforms_take_the_place_of_the_preset_unless_another_is_asked_for() -> None:
    config = AugmentConfig(preset="strong", transforms=({"VerticalFlip": {"p": 1}},))
    np.testing.assert_array_equal(make_augmenter(config, SIZE)(picture(), (0,)), picture()[::-1])
    plain = make_augmenter(config, SIZE, "light")
    np.testing.assert_array_equal(plain(picture(), (0,)), Augmenter("light", SIZE)(picture(), (0,)))


def test_they_can_be_given_on_the_command_line() -> None:
    tree = parse_assignments(["augment.transforms=[{HorizontalFlip: {p: 1}}]"])
    augmenter = make_augmenter(AugmentConfig(**tree["augment"]), SIZE)
    np.testing.assert_array_equal(augmenter(picture(), (0,)), picture()[:, ::-1])


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ([{"HorizontalFilp": {}}], ("no transform 'HorizontalFilp'", "HorizontalFlip")),
        ([{"Lambda": {"image": "os.system"}}], ("no transform 'Lambda'",)),
        ([{"check_version": {}}], ("no transform 'check_version'",)),
        ([{"HorizontalFlip": {"probability": 1}}], ("HorizontalFlip", "probability")),
        ([{"HorizontalFlip": {"p": 3}}], ("HorizontalFlip", "'p': 3")),
        ([{"HorizontalFlip": {}, "ToGray": {}}], ("not one transform", "ToGray")),
        ([{"OneOf": {"transforms": [{"Nothing": {}}]}}], ("no transform 'Nothing'",)),
        ([{"OneOf": {"transforms": "Blur"}}], ("OneOf", "not a list")),
        ([{"OneOf": {"transforms": ["Blur"]}}], ("'Blur' is not one transform",)),
        ([{"HorizontalFlip": 0.5}], ("HorizontalFlip have no names: 0.5",)),
        ([{"Resize": {"height": 10, "width": 10}}], ("(24, 24, 3)", "(10, 10, 3)")),
        ([{"Normalize": {"p": 0.5}}], ("float32",)),
        ([{"MixUp": {}}], ("MixUp",)),
    ],
)
def test_what_cannot_be_made_is_one_error_before_a_run(written: list[dict[str, Any]], words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as stopped:
        OwnAugmenter(written, SIZE)
    said = f"{stopped.value} {stopped.value.hint}"
    assert "augment.transforms" in said and all(word in said for word in words), said
