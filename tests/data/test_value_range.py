"""16-bit images that use few of their bits: found once, with the range, the levels kept, and the way out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.value_range import warn_of_depth


def warned(folder: Path, capsys: pytest.CaptureFixture[str], *tops: int, depth: int = 16, colours: int = 1) -> str:
    """What is said of 16-bit images whose largest values are `tops`, beside a JPEG and a file that is no image."""
    files = [folder / f"{i}.png" for i in range(len(tops))]
    for path, top in zip(files, tops, strict=True):
        values = np.linspace(0, top, 30).astype(np.uint16).reshape(5, 6)
        cv2.imwrite(str(path), values if colours == 1 else np.dstack([values] * colours))
    cv2.imwrite(str(folder / "a.jpg"), np.full((5, 6), 255, np.uint8))
    (folder / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    everything = [folder / "a.jpg", folder / "b.png", folder / "gone.png", *files]
    warn_of_depth(everything, DataConfig(depth=depth), Console())
    return capsys.readouterr().out


@pytest.mark.parametrize("colours", [1, 3])
def test_few_levels_are_told_with_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str], colours: int) -> None:
    out = warned(tmp_path, capsys, 300, 450, 17, colours=colours)
    assert out.count("Note:") == 1
    assert "go up to 450 of 65535 (3 images" in out and "2 are left" in out and "data.depth=10" in out


@pytest.mark.parametrize(("top", "bits"), [(255, 8), (1023, 10), (4095, 12), (4000, 12), (16383, 14)])
def test_the_bits_of_sensors(tmp_path: Path, capsys: pytest.CaptureFixture[str], top: int, bits: int) -> None:
    assert f"data.depth={bits}" in warned(tmp_path, capsys, top)
    assert warned(tmp_path, capsys, top, depth=bits) == ""


def test_values_beyond_the_bits_in_use_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = warned(tmp_path, capsys, 900, 5000, depth=10)
    assert "up to 5000" in out and "above 1023 become white" in out and "data.depth=14" in out


def test_nothing_is_said_of_full_values_and_of_other_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert warned(tmp_path, capsys, 100, 65535) == warned(tmp_path, capsys) == ""
