"""Grids of pictures: each picture, unchanged, at its place; text never outside of its cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_mask.errors import StorageError
from ssl_mask.reports.contact_sheet import FONT, LINE, Cell, Layout, cut, cut_front, grid, save

LAYOUT = Layout(side=20, pictures=3, lines=2, columns=2)


def test_every_picture_is_whole_and_at_its_place() -> None:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (5, 3, 20, 20, 3), dtype=np.uint8)
    sheet = np.asarray(grid("title", [Cell(list(three), ["a caption", "below"]) for three in pictures], LAYOUT))
    for cell in range(5):
        for number in range(3):
            left, top = LAYOUT.picture(cell, number)
            assert np.array_equal(sheet[top : top + 20, left : left + 20], pictures[cell, number])
    # the reading order: cell 1 is to the right of cell 0, cell 2 below it
    assert LAYOUT.corner(1)[0] > LAYOUT.corner(0)[0] and LAYOUT.corner(1)[1] == LAYOUT.corner(0)[1]
    assert LAYOUT.corner(2)[0] == LAYOUT.corner(0)[0] and LAYOUT.corner(2)[1] > LAYOUT.corner(0)[1]


def test_long_text_stays_in_its_cell() -> None:
    black = np.zeros((20, 20, 3), np.uint8)
    sheet = np.asarray(grid("T" * 500, [Cell([black] * 3, ["W" * 500, "i" * 500])] * 2, LAYOUT))
    (left, top), (next_left, _) = LAYOUT.corner(0), LAYOUT.corner(1)
    assert (sheet[top : top + 2 * LINE - 1, left + LAYOUT.cell_width + 1 : next_left - 1] == 255).all()
    assert (sheet[:, -8:] == 255).all()


@pytest.mark.parametrize("letter", ["W", "i"])
def test_cut_text_is_as_long_as_fits(letter: str) -> None:
    for text in (cut(letter * 300, 100), cut_front("pool: ", letter * 300, 100)):
        assert "…" in text and 100 - FONT.getlength(letter) < FONT.getlength(text) <= 100
    assert cut(letter, 100) == letter and cut_front("pool: ", letter, 100) == f"pool: {letter}"


def test_sheets_are_saved_below_each_other(tmp_path: Path) -> None:
    sheets = [Image.new("RGB", (10, 20), "red"), Image.new("RGB", (30, 5), "blue")]
    saved = np.asarray(Image.open(save(sheets, tmp_path / "sheet.png")))
    assert saved.shape == (25, 30, 3)
    assert saved[19, 9].tolist() == [255, 0, 0] and saved[20, 29].tolist() == [0, 0, 255]
    assert saved[0, 29].tolist() == [255, 255, 255]


def test_a_sheet_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        save([Image.new("RGB", (10, 20))], tmp_path / "file" / "sheet.png")
