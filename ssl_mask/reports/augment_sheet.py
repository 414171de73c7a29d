"""`sslmask augment`: a picture of what an augmentation preset does to real photos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.config import RunConfig
from ssl_mask.data.augment import PRESETS, Augmenter
from ssl_mask.data.images import decode, fit
from ssl_mask.data.layouts import read_dataset
from ssl_mask.errors import StorageError
from ssl_mask.files import atomic_path

GAP, LABEL = 4, 22


def contact_sheet(
    config: RunConfig, out: Path, *, preset: str | None = None, photos: int = 6, views: int = 7, size: int = 160
) -> Path:
    """Write a PNG: a row a photo, the original first, then augmented views. Without `preset`, a block for every preset.

    The photos are spread over the data set, so that different classes are seen.

    Raises:
        SslMaskError: no data, an unreadable photo, an unknown preset, no room to write.
    """
    manifest = read_dataset(config.data.root, layout=config.data.layout, options=config.data.options).where("train")
    picks = np.linspace(0, len(manifest) - 1, photos).round().astype(int)
    pixels = [
        fit(decode(manifest.files[i], max_pixels=config.data.max_pixels), size, config.data.resize) for i in picks
    ]
    names = [_class_names(manifest.schema.head_classes("factors"), manifest.rows[i].labels) for i in picks]
    blocks = [_block(p, pixels, names, config, views, size) for p in ([preset] if preset else PRESETS)]
    encoded, data = cv2.imencode(".png", cv2.cvtColor(np.concatenate(blocks), cv2.COLOR_RGB2BGR))
    if not encoded:
        raise StorageError(f"Cannot encode the contact sheet {out}.")
    with atomic_path(out) as partial:
        partial.write_bytes(data.tobytes())
    return out


def _class_names(classes: dict[str, tuple[str, ...]], labels: tuple[int, ...] | None) -> tuple[str, ...]:
    return tuple(names[i] for names, i in zip(classes.values(), labels or (), strict=False))


def _block(
    preset: str, pixels: list[NDArray[np.uint8]], names: list[tuple[str, ...]], config: RunConfig, views: int, size: int
) -> NDArray[np.uint8]:
    augment = Augmenter(preset, size, grid_shuffle_classes=config.augment.grid_shuffle_classes)
    rows = [
        np.concatenate(
            [_framed(image), *(_framed(augment(image.copy(), (config.seed, n, v), names[n])) for v in range(views))],
            axis=1,
        )
        for n, image in enumerate(pixels)
    ]
    title = np.full((LABEL, rows[0].shape[1], 3), 255, np.uint8)
    text = f"{preset}: the original, then {views} views"
    cv2.putText(title, text, (GAP, LABEL - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([title, *rows])


def _framed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(image, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
