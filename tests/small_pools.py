"""A small data set with planted faults, as files: copies, labels that contradict each other, odd and damaged images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssl_mask.config import RunConfig, load_config
from ssl_mask.text import csv_text

GROUPS, TEST, EXTRA = 21, 21, 3
"""Groups of two labeled images, test images, unlabeled images."""
KINDS, COVERS = ("cat", "dog"), ("no", "yes")


def picture(seed: int, *, red: int = 0) -> NDArray[np.uint8]:
    """(48, 64, 3) of large soft spots: no two seeds look alike."""
    spots = np.random.default_rng(seed).integers(40, 200, (6, 8, 3)).astype(np.float32)
    soft = cv2.resize(spots, (64, 48), interpolation=cv2.INTER_CUBIC)
    soft[:, :, 0] += red
    return np.clip(soft, 0, 255).astype(np.uint8)


def draw_pools(
    root: Path, *, mark: str = "", kinds: Sequence[str] = KINDS, factor: str = "kind", group: str = "person "
) -> RunConfig:
    """Planted: `twin.png` is the file of `0-0.png` with another kind, in a group of its own; an altered copy of the
    first test image is among the unlabeled ones; group 5 has two kinds; `dark.png` is nearly black; one is damaged.

    Args:
        mark: stands in each file's name.
        kinds: names of the two classes of the first factor.
    """
    for folder in ("", "extra"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rows = [["image", factor, "cover", "group", "split"]]

    def add(name: str, pixels: NDArray[np.uint8], *cells: str) -> None:
        Image.fromarray(pixels).save(root / name, "PNG")
        rows.append([name, *cells])

    for g in range(GROUPS):
        for i in range(2):
            kind = kinds[(g + (g == 5) * i) % 2]
            add(f"{g}-{i}{mark}.png", picture(2 * g + i), kind, COVERS[i], f"{group}{g}", "train")
    add(f"twin{mark}.png", picture(0), kinds[1], "no", f"{group}twin", "train")
    add(f"dark{mark}.png", picture(999) // 50, kinds[0], "no", f"{group}dark", "train")
    for t in range(TEST):
        add(f"test-{t}{mark}.png", picture(1000 + t, red=55), "", "", f"{group}test {t}", "test")
    (root / f"damaged{mark}.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    rows.append([f"damaged{mark}.png", "", "", f"{group}damaged", "test"])
    for e in range(EXTRA):
        Image.fromarray(picture(2000 + e)).save(root / "extra" / f"{e}{mark}.png", "PNG")
    Image.fromarray(picture(1000, red=55)).save(root / "extra" / f"altered{mark}.jpg", "JPEG", quality=70)
    (root / "labels.csv").write_text(csv_text(rows), encoding="utf-8")
    options = {"labels": [factor, "cover"]}
    data = {"root": str(root), "layout": "table", "options": options, "unlabeled": [str(root / "extra")]}
    return load_config({"data": data}, preset="laptop")
