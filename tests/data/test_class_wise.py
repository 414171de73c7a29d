"""Grid shuffle of chosen classes and Cutout by pixels, against slow loops over pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from ssl_mask.config import AugmentConfig, validate
from ssl_mask.data.augment import Augmenter, make_augmenter
from ssl_mask.data.augment_steps import MID_GREY, Dice, cut_square, mix, shuffle_tiles
from ssl_mask.errors import ConfigError

SIZE = 24
PICTURE = np.random.default_rng(0).permutation(SIZE * SIZE * 3).astype(np.uint8).reshape(SIZE, SIZE, 3)


def dice(*seed: int) -> Dice:
    made = Dice()
    made.seed(mix(seed))
    return made


@pytest.mark.parametrize("grid", [2, 3, 4, 6, 8])
def test_each_cell_of_the_grid_is_one_of_the_picture_and_each_is_there_once(grid: int) -> None:
    side = SIZE // grid
    wanted = sorted(PICTURE[y : y + side, x : x + side].tobytes() for y in range(0, SIZE, side)
                    for x in range(0, SIZE, side))  # fmt: skip
    moved = 0
    for k in range(12):
        made = shuffle_tiles(PICTURE, dice(k), grid, 1.0)
        cells = [
            bytes(made[y + i, x + j, c] for i in range(side) for j in range(side) for c in range(3))
            for y in range(0, SIZE, side)
            for x in range(0, SIZE, side)
        ]
        assert sorted(cells) == wanted
        moved += not np.array_equal(made, PICTURE)
    assert moved > 6  # of 2 x 2 cells, one order in 24 is the old one


def test_a_grid_that_does_not_divide_the_picture_loses_no_pixel() -> None:
    made = shuffle_tiles(PICTURE, dice(1), 5, 1.0)
    assert sorted(made.tobytes()) == sorted(PICTURE.tobytes()) and not np.array_equal(made, PICTURE)


@pytest.mark.parametrize(
    ("classes", "share"),
    [((), 0.0), (("rare",), 0.9), (("common",), 0.2), (("common", "rare"), 0.9), (("other",), 0.0), (("never",), 0.0)],
)
def test_how_often_is_that_of_the_class_and_of_several_the_largest(classes: tuple[str, ...], share: float) -> None:
    named: Mapping[str, float] = {"rare": 0.9, "common": 0.2, "never": 0.0}
    shuffling, plain = (
        Augmenter("competition", SIZE, grid_shuffle_classes=named, grid=4),
        Augmenter("competition", SIZE),
    )
    # What comes after draws other numbers then, so it is taken out.
    shuffling._steps = plain._steps = []
    changed = [not np.array_equal(shuffling(PICTURE, (k,), classes), plain(PICTURE, (k,), classes)) for k in range(300)]
    assert abs(np.mean(changed) - share) < 0.08


@pytest.mark.parametrize("side", [1, 2, 7, 16, 23])
def test_the_square_is_that_of_a_loop_over_pixels(side: int) -> None:
    for k in range(30):
        draw = dice(k).arrays
        middle_y, middle_x = int(draw.integers(SIZE)), int(draw.integers(SIZE))
        expected = PICTURE.copy()
        for y in range(SIZE):
            for x in range(SIZE):
                if 0 <= y - (middle_y - side // 2) < side and 0 <= x - (middle_x - side // 2) < side:
                    expected[y, x] = MID_GREY
        np.testing.assert_array_equal(cut_square(side, PICTURE, dice(k)), expected)


def test_every_pixel_can_be_the_middle_and_near_an_edge_less_is_seen() -> None:
    white = np.full((SIZE, SIZE, 3), 255, np.uint8)
    covered = np.array([(cut_square(8, white, dice(k)) == MID_GREY).all(-1) for k in range(3000)])
    areas = covered.sum((1, 2))
    assert areas.max() == 64 and areas.min() == 16  # a corner: 4 x 4
    assert SIZE * SIZE - 20 < len({c.tobytes() for c in covered}) <= SIZE * SIZE  # 3 are missed by chance
    assert abs(covered[:, 12, 12].mean() - 64 / SIZE**2) < 0.02


@pytest.mark.parametrize("preset", ["none", "flip", "light", "competition", "strong"])
def test_cutout_takes_the_place_of_the_rectangle_of_every_preset(preset: str) -> None:
    white = np.full((SIZE, SIZE, 3), 255, np.uint8)
    augmenter = make_augmenter(AugmentConfig(preset=preset, cutout=6), SIZE)
    assert isinstance(augmenter, Augmenter)
    augmenter._steps = augmenter._steps[-1:]
    areas = {int((augmenter(white, (k,)) == MID_GREY).all(-1).sum()) for k in range(200)}
    assert max(areas) == 36 and areas <= {y * x for y in (3, 4, 5, 6) for x in (3, 4, 5, 6)} and len(areas) > 2


def test_off_nothing_is_drawn_otherwise() -> None:
    plain, off = Augmenter("strong", SIZE), make_augmenter(AugmentConfig(preset="strong", grid_shuffle=7), SIZE)
    for k in range(8):
        np.testing.assert_array_equal(plain(PICTURE, (k,), ["x"]), off(PICTURE, (k,), ["x"]))


def test_a_square_as_large_as_the_image_is_refused() -> None:
    make_augmenter(AugmentConfig(cutout=SIZE - 1), SIZE)
    with pytest.raises(ConfigError, match=r"augment\.cutout 24 covers whole images of 24 pixels"):
        make_augmenter(AugmentConfig(cutout=SIZE), SIZE)


def test_the_alpha_of_the_papers_has_a_name() -> None:
    config = validate({"augment": {"mixup": "paper", "cutmix": "paper"}}).augment
    assert (config.mixup, config.cutmix) == (0.2, 1.0)
    assert validate({"augment": {"mixup": 0.4}}).augment.mixup == 0.4
    with pytest.raises(ConfigError, match=r"augment\.mixup"):
        validate({"augment": {"mixup": "papers"}})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"grid_shuffle": 1}, "grid_shuffle"),
        ({"grid_shuffle_classes": {"old": 1.5}}, "grid_shuffle_classes"),
        ({"cutout": -1}, "cutout"),
        ({"cutout": 4, "transforms": [{"HorizontalFlip": {}}]}, "cutout: write CoarseDropout"),
        ({"grid_shuffle_classes": ["x"], "transforms": [{"HorizontalFlip": {}}]}, "write RandomGridShuffle"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        validate({"augment": given})
