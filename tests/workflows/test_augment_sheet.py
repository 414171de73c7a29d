"""`sslmask augment`: originals and their augmented views, spread over the data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_mask.config import parse_assignments, resolve
from ssl_mask.data.augment import PRESETS, Augmenter
from ssl_mask.errors import ConfigError
from ssl_mask.reports.contact_sheet import Layout
from ssl_mask.workflows.augment import augment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of one colour each, one per class."""
    for name, colour in (("a", "red"), ("b", "lime"), ("c", "blue")):
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40), colour).save(tmp_path / "data" / "train" / name / "1.png")
    return tmp_path


def settings(folder: Path) -> list[dict[str, object]]:
    return [parse_assignments([f"data.root={folder / 'data'}", "data.layout=folder", "seed=7"])]


def test_the_original_then_views_that_the_seed_decides(folder: Path) -> None:
    config = resolve(settings(folder), has_gpu=lambda: False)
    out = augment(config, folder / "sheet.png", preset="strong", photos=3, views=2, size=32)
    sheet, layout = np.asarray(Image.open(out)), Layout(32, pictures=3, lines=1, columns=1)
    assert sheet.shape[1::-1] == layout.size(3)
    for row, colour in enumerate(([255, 0, 0], [0, 255, 0], [0, 0, 255])):
        original = np.full((32, 32, 3), colour, np.uint8)
        views = [Augmenter("strong", 32)(original.copy(), (7, row, view)) for view in range(2)]
        for number, expected in enumerate([original, *views]):
            left, top = layout.picture(row, number)
            assert np.array_equal(sheet[top : top + 32, left : left + 32], expected)


def test_a_square_is_as_large_a_part_of_what_is_shown_as_of_what_is_trained_on(folder: Path) -> None:
    asked = parse_assignments(["augment.cutout=16", "model.image_size=64"])
    config = resolve([*settings(folder), asked], has_gpu=lambda: False)
    out = augment(config, folder / "sheet.png", preset="none", photos=1, views=30, size=32)
    layout, areas = Layout(32, pictures=31, lines=1, columns=1), []
    for view in range(30):
        left, top = layout.picture(0, 1 + view)
        areas.append((np.asarray(Image.open(out))[top : top + 32, left : left + 32] == 128).all(-1).sum())
    assert max(areas) == 8 * 8 and min(areas) >= 4 * 4


def test_all_presets_are_blocks_of_one_sheet(folder: Path) -> None:
    config = resolve(settings(folder), has_gpu=lambda: False)
    sheet = np.asarray(Image.open(augment(config, folder / "sheet.png", photos=1, views=1, size=32)))
    assert sheet.shape[0] == len(PRESETS) * Layout(32, pictures=2, lines=1, columns=1).size(1)[1]


def test_an_unknown_preset_is_named(folder: Path) -> None:
    config = resolve(settings(folder), has_gpu=lambda: False)
    with pytest.raises(ConfigError, match="strnog"):
        augment(config, folder / "sheet.png", preset="strnog")
