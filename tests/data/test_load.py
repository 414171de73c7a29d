"""What is opened for a run: unreadable labeled images are told together, or left out and listed."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.load import TrainingData, load_training_data, read_manifest
from ssl_mask.errors import DataError, ImageError

BROKEN = {"Cat/666.jpg": b"", "Dog/11702.jpg": b"", "Dog/7.jpg": b"<html>404 Not Found</html>"}


def draw(root: Path, count: int = 10) -> Path:
    """Two classes of `count` images."""
    for c, name in enumerate(("Cat", "Dog")):
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.random.default_rng(c * count + i).integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.jpg")
    return root


def damage(root: Path) -> Path:
    for name, content in BROKEN.items():
        (root / name).write_bytes(content)
    torn = root / "Dog" / "4.jpg"
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    return root


def load(root: Path, **settings: Any) -> TrainingData:
    config = DataConfig(root=root, **settings)
    accelerator: Any = SimpleNamespace(main_process_first=nullcontext)
    manifest = read_manifest(config, Console(quiet=True))
    return load_training_data(manifest, config, 8, accelerator, Console(), unlabeled=False)


@pytest.mark.parametrize("cache", ["off", "auto"])
def test_all_unreadable_labeled_images_are_named_at_once(tmp_path: Path, cache: str) -> None:
    with pytest.raises(ImageError, match="4 of 22 labeled images cannot be read:") as stopped:
        load(damage(draw(tmp_path)), cache=cache)
    assert set(re.findall(r"(?:Cat|Dog)/\d+\.jpg", stopped.value.problem)) == {*BROKEN, "Dog/4.jpg"}
    assert "--on-bad skip" in stopped.value.hint


def test_of_many_the_first_twenty_are_named(tmp_path: Path) -> None:
    draw(tmp_path)
    for i in range(30):
        (tmp_path / "Cat" / f"empty{i}.jpg").touch()
    with pytest.raises(ImageError, match="30 of 50 labeled images") as stopped:
        load(tmp_path)
    lines = stopped.value.problem.split("\n")
    assert len(lines) == 22 and lines[-1] == "  … and 10 more"


@pytest.mark.parametrize("cache", ["off", "auto"])
def test_skipped_images_are_left_out_and_listed(tmp_path: Path, cache: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = load(damage(draw(tmp_path)), cache=cache, on_bad="skip")
    assert set(data.left_out) == {*BROKEN, "Dog/4.jpg"}
    assert "404" not in data.left_out["Dog/7.jpg"] and "not a JPEG" in data.left_out["Dog/7.jpg"]
    assert len(data.train) + len(data.val) == 18
    assert "4 of 22 labeled images cannot be read and are left out" in capsys.readouterr().out
    for images in (data.train, data.val):
        assert images.images.read(len(images) - 1).shape == (8, 8, 3)
        assert all(row.digest for row in images.manifest.rows)


def test_a_class_is_never_skipped_as_a_whole(tmp_path: Path) -> None:
    draw(tmp_path)
    (tmp_path / "Emu").mkdir()
    for i in range(5):
        (tmp_path / "Emu" / f"{i}.jpg").touch()
    with pytest.raises(DataError, match=r"None of the 4 training images of class 'Emu' can be read"):
        load(tmp_path, on_bad="skip")


def test_a_file_that_changes_or_vanishes_during_a_run_is_named(tmp_path: Path) -> None:
    data = load(draw(tmp_path), cache="off")
    changed, gone = data.train.manifest.files[:2]
    changed.write_bytes(data.train.manifest.files[2].read_bytes())
    gone.unlink()
    with pytest.raises(ImageError, match=rf"{changed.parent.name}/{changed.name}: it has changed since") as stopped:
        data.train.images.read(0)
    assert stopped.value.hint
    with pytest.raises(ImageError, match=rf"{gone.parent.name}/{gone.name}: cannot be read"):
        data.train.images.read(1)
    assert data.train.images.read(2).shape == (8, 8, 3)
