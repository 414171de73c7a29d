"""The same seed gives the same picture anywhere, different draws differ, every preset does what it says."""

from __future__ import annotations

import pickle
from collections import Counter

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from ssl_mask.data.augment import PRESETS, Augmenter
from ssl_mask.data.augment_steps import Dice, Step, shuffle_tiles, some_of, unchanged
from ssl_mask.data.rand_augment import operations
from ssl_mask.errors import ConfigError

SIZE = 48
RANDOM_PRESETS = [preset for preset in PRESETS if preset != "none"]


def picture(size: int = SIZE) -> np.ndarray:
    """Smooth, mid-range and without any symmetry."""
    noise = np.random.default_rng(0).integers(40, 216, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(noise, (size, size), interpolation=cv2.INTER_LINEAR)


class Draws(Dataset):
    """Draw k of a run: what a training set does with its augmenter."""

    def __init__(self, preset: str) -> None:
        self.augmenter = Augmenter(preset, SIZE, grid_shuffle_classes=["odd"])

    def __len__(self) -> int:
        return 16

    def __getitem__(self, k: int) -> np.ndarray:
        return self.augmenter(picture(), (7, k), ["odd"] if k % 2 else ["even"])


def draws(preset: str, count: int = 64, seed: int = 0) -> list[np.ndarray]:
    augmenter = Augmenter(preset, SIZE)
    return [augmenter(picture(), (seed, k)) for k in range(count)]


# --- seeds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workers", "start"), [(0, None), (1, "fork"), (2, "fork"), pytest.param(2, "spawn", marks=pytest.mark.slow)]
)
def test_workers_change_nothing(workers: int, start: str | None) -> None:
    expected = [Draws("strong")[k] for k in range(16)]
    loader = DataLoader(Draws("strong"), batch_size=None, num_workers=workers, multiprocessing_context=start)
    for _ in range(1 if start == "spawn" else 2):  # a second epoch asks for the same draws, and gets them
        got = [np.asarray(sample) for sample in loader]
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_call_depends_on_no_call_before_it(preset: str) -> None:
    augmenter = Augmenter(preset, SIZE, grid_shuffle_classes=["x"])
    forward = [augmenter(picture(), (1, k), ["x"] if k % 3 else []) for k in range(30)]
    copy = pickle.loads(pickle.dumps(augmenter))
    for k in reversed(range(30)):
        np.testing.assert_array_equal(copy(picture(), (1, k), ["x"] if k % 3 else []), forward[k])


@pytest.mark.parametrize("preset", ["light", "competition", "strong"])
def test_different_draws_differ(preset: str) -> None:
    """In every part of the seed; RandAugment may draw `identity` twice, so a few may be equal."""
    augmenter = Augmenter(preset, SIZE)
    seeds = [(a, b, c) for a in range(4) for b in (0, 1, 2**40) for c in (0, 1, 12, 2)]
    assert len({augmenter(picture(), seed).tobytes() for seed in seeds}) >= len(seeds) - 1


def test_a_seed_is_its_numbers_not_its_digits() -> None:
    augmenter = Augmenter("competition", SIZE)
    assert not np.array_equal(augmenter(picture(), (1, 23)), augmenter(picture(), (12, 3)))


def test_numpy_integers_are_integers() -> None:
    augmenter = Augmenter("competition", SIZE)
    np.testing.assert_array_equal(augmenter(picture(), np.array([3, 4])), augmenter(picture(), (3, 4)))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_flip_and_brightness_of_light_are_independent(seed: int) -> None:
    """From outside: which half is the bright one tells the flip, the halves' sum tells the brightness."""
    image = np.full((SIZE, SIZE, 3), 80, np.uint8)
    image[:, SIZE // 2 :] = 160
    augmenter = Augmenter("light", SIZE)
    results = np.array([augmenter(image, (seed, k))[16:32] for k in range(400)], float)
    left, right = results[:, :, 8:16].mean((1, 2, 3)), results[:, :, -16:-8].mean((1, 2, 3))
    assert 140 < (left > right).sum() < 260
    assert (left + right).std() > 10
    change = left + right - np.median(left + right)
    for brightness in (change, np.abs(change)):  # which way, and whether at all
        assert abs(np.corrcoef(left > right, brightness)[0, 1]) < 0.2  # four standard deviations of chance


# --- presets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [32, 49, 112])
def test_shape_type_and_input_are_kept(preset: str, size: int) -> None:
    augmenter = Augmenter(preset, size, grid_shuffle_classes=["x"])
    image = picture(size)
    image.flags.writeable = False
    for k in range(40):
        result = augmenter(image, (0, k), ["x"])
        assert result.shape == (size, size, 3)
        assert result.dtype == np.uint8
        assert result.flags.c_contiguous
    np.testing.assert_array_equal(image, picture(size))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_view_with_strides_gives_what_its_copy_gives(preset: str) -> None:
    view = picture()[:, ::-1]
    augmenter = Augmenter(preset, SIZE)
    for k in range(4):
        result = augmenter(view, (0, k))
        assert result.flags.c_contiguous
        np.testing.assert_array_equal(result, augmenter(view.copy(), (0, k)))


def test_none_is_the_picture() -> None:
    assert all(np.array_equal(result, picture()) for result in draws("none", 8))


def test_flip_is_the_picture_or_its_mirror_equally_often() -> None:
    results = draws("flip", 400)
    same = sum(np.array_equal(result, picture()) for result in results)
    mirrored = sum(np.array_equal(result, picture()[:, ::-1]) for result in results)
    assert same + mirrored == 400
    assert 150 < same < 250


@pytest.mark.parametrize(("preset", "least", "most"), [("light", 5, 45), ("competition", 5, 50), ("strong", 15, 90)])
def test_changes_are_neither_nothing_nor_everything(preset: str, least: float, most: float) -> None:
    """Mean distance, in grey values, to the nearer of the picture and its mirror."""
    image = picture().astype(int)
    apart = [min(np.abs(image - r).mean(), np.abs(image[:, ::-1] - r).mean()) for r in draws(preset)]
    assert least < np.mean(apart) < most


@pytest.mark.parametrize(("preset", "share"), [("light", 0.0), ("competition", 0.5), ("strong", 1.0)])
def test_cutout(preset: str, share: float) -> None:
    """The rectangle is flat mid-grey, and no more than a sixth of a picture that has no grey of its own."""
    white = np.full((SIZE, SIZE, 3), 255, np.uint8)
    augmenter = Augmenter(preset, SIZE)
    if preset == "strong":
        augmenter._steps[1] = unchanged  # what else it does is another test's
    grey = np.array([(augmenter(white, (0, k)) == 128).all(-1).mean() for k in range(200)])
    assert abs((grey > 0).mean() - share) < 0.12
    assert grey.max() < 0.17


def test_unknown_preset_says_which_are_known() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'strong'"):
        Augmenter("stronk", SIZE)


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="48"):
        Augmenter("flip", SIZE)(picture(SIZE + 1), (0,))


# --- grid shuffle -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_grid_shuffle_only_for_named_classes_of_the_two_presets(preset: str) -> None:
    with_shuffle = Augmenter(preset, SIZE, grid_shuffle_classes=["old", "odd"])
    without = Augmenter(preset, SIZE)

    def differing(classes: list[str]) -> int:
        pairs = [(with_shuffle(picture(), (0, k), classes), without(picture(), (0, k), classes)) for k in range(40)]
        return sum(not np.array_equal(*pair) for pair in pairs)

    assert differing([]) == differing(["new", "oldest"]) == 0
    assert (differing(["new", "old"]) > 20) == (preset in ("competition", "strong"))


def test_grid_shuffle_moves_whole_tiles() -> None:
    dice = Dice()
    tiles = {picture()[y : y + 16, x : x + 16].tobytes() for y in (0, 16, 32) for x in (0, 16, 32)}
    kept = 0
    for _ in range(40):
        result = shuffle_tiles(picture(), dice)
        assert {result[y : y + 16, x : x + 16].tobytes() for y in (0, 16, 32) for x in (0, 16, 32)} == tiles
        kept += np.array_equal(result, picture())
    assert 8 < kept < 32


# --- RandAugment ------------------------------------------------------------------------------------------------------


def counted(number: int, seen: list[int]) -> Step:
    """Stands for an operation, and notes that it was applied."""

    def apply(image: np.ndarray, _: Dice) -> np.ndarray:
        seen.append(number)
        return image

    return apply


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_n_operations_uniformly_with_replacement_in_any_order(count: int) -> None:
    seen: list[int] = []
    assert len(operations(9)) == 14
    counting, dice = [counted(i, seen) for i in range(14)], Dice()
    calls, runs = 1400 // count, []
    for _ in range(calls):
        seen.clear()
        some_of(counting, count, picture(), dice)
        assert len(seen) == count
        runs.append(tuple(seen))
    shares = Counter(i for run in runs for i in run)
    assert set(shares) == set(range(14))
    assert all(50 < n < 150 for n in shares.values())  # 100 each, within five standard deviations
    if count > 1:
        assert any(len(set(run)) < count for run in runs)
        assert any(run != tuple(sorted(run)) for run in runs)


def test_magnitude_zero_changes_almost_nothing_and_more_is_more() -> None:
    """All but auto-contrast and equalize, which have no magnitude in the paper either."""
    image = picture()

    def change(magnitude: float) -> list[float]:
        steps = operations(magnitude)
        means = []
        for step in [steps[0], *steps[3:]]:
            dice = Dice()
            results = [step(image, dice).astype(int) for _ in range(12)]
            means.append(float(np.mean([np.abs(result - image).mean() for result in results])))
        return means

    nothing, little, much = change(0), change(3), change(9)
    assert max(nothing) < 1.5
    assert all(a <= b for a, b in zip(little, much, strict=True))
    assert all(b > 1 for b in much[1:])


def test_signed_operations_go_both_ways() -> None:
    """Rotation by 27 degrees, by hand: a dot right of the centre goes up or down by sin(27°) of its distance."""
    rotate, dice = operations(9)[5], Dice()
    image = np.zeros((101, 101, 3), np.uint8)
    image[49:52, 89:92] = 255
    heights = set()
    for _ in range(20):
        ys, _ = np.nonzero(rotate(image, dice)[..., 0] > 200)
        heights.add(round(float(ys.mean())))
    assert heights == {round(50 - 40 * np.sin(np.deg2rad(27))), round(50 + 40 * np.sin(np.deg2rad(27)))}


@pytest.mark.parametrize("preset", RANDOM_PRESETS)
def test_without_flip_nothing_is_mirrored(preset: str) -> None:
    """The left half is dark, the right one bright: only a mirror image can have it the other way round."""
    half = np.full((SIZE, SIZE, 3), 60, np.uint8)
    half[:, SIZE // 2 :] = 190
    mirrored = {}
    for flip in (True, False):
        augmenter = Augmenter(preset, SIZE, flip=flip)
        made = [augmenter(half, (0, k)).astype(float) for k in range(64)]
        # The outer quarters, which shifts and rotations do not reach.
        darker = [m[:, : SIZE // 4].mean() > m[:, -SIZE // 4 :].mean() + 20 for m in made]
        mirrored[flip] = sum(darker)
    assert mirrored[True] > 20
    assert mirrored[False] < (12 if preset == "strong" else 1)  # solarize inverts
