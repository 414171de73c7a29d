"""Pictures that are like no others, for tests that need pixels but no faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def texture(seed: int, height: int = 160, width: int = 160) -> Picture:
    """(height, width, 3): smooth noise of three sizes."""
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=(n, n, 3)).astype(np.float32) for n in (5, 12, 30)]
    total = sum(cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC) for layer in layers)
    return np.clip(128 + 35 * np.asarray(total), 0, 255).astype(np.uint8)


def grey(seed: int, height: int = 128, width: int = 128) -> Picture:
    return texture(seed, height, width)[:, :, 1].copy()


def write(folder: Path, pictures: Sequence[Picture], suffix: str = ".png") -> list[Path]:
    """One file a picture: 000.png, 001.png, …"""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03d}{suffix}" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        assert cv2.imwrite(str(path), picture)
    return paths
