"""`sslmask augment`: a picture of what augmentation presets do to real images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssl_mask.config import RunConfig
from ssl_mask.data.augment import PRESETS, make_augmenter
from ssl_mask.data.images import decode, fit
from ssl_mask.data.layouts import read_dataset
from ssl_mask.reports.contact_sheet import Cell, Layout, grid, save


class _Photo(NamedTuple):
    pixels: NDArray[np.uint8]
    path: str
    classes: tuple[str, ...]


def augment(
    config: RunConfig, out: Path, *, preset: str | None = None, photos: int = 6, views: int = 7, size: int = 160
) -> Path:
    """Write a PNG with a row per image: the original, then augmented views.

    Without `preset`, a block for the transforms of the configuration, if there are some, and for every preset.

    The images are spread over the data set, so that different classes are seen.

    Raises:
        SslMaskError: no data, an unreadable image, an unknown preset, a file that cannot be written.
    """
    shown = _photos(config, photos, size)
    own = [None] if config.augment.transforms else []
    blocks = [preset] if preset else [*own, *PRESETS]
    return save([_block(name, shown, config, views, size) for name in blocks], out)


def _photos(config: RunConfig, count: int, size: int) -> list[_Photo]:
    reading = config.data
    manifest = read_dataset(reading.root, layout=reading.layout, options=reading.options).where("train")
    classes = manifest.schema.head_classes("factors").values()
    return [
        _Photo(
            fit(decode(manifest.files[i], max_pixels=reading.max_pixels, depth=reading.depth), size, reading.resize),
            manifest.rows[i].path,
            tuple(names[label] for names, label in zip(classes, manifest.rows[i].labels or (), strict=False)),
        )
        for i in np.linspace(0, len(manifest) - 1, count).round().astype(int)
    ]


def _block(preset: str | None, photos: Sequence[_Photo], config: RunConfig, views: int, size: int) -> Image.Image:
    # The square is one of the image that is trained on, which is smaller or larger than the one that is shown.
    cutout = round(config.augment.cutout * size / (config.model.image_size or size))
    augmenter = make_augmenter(config.augment.model_copy(update={"cutout": cutout}), size, preset)
    cells = [
        Cell(
            [p.pixels, *(augmenter(p.pixels.copy(), (config.seed, n, v), p.classes) for v in range(views))],
            [f"{', '.join(p.classes)}   {p.path}"],
        )
        for n, p in enumerate(photos)
    ]
    title = f"{preset or 'augment.transforms'}: the original, then {views} augmented views"
    return grid(title, cells, Layout(size, pictures=1 + views, lines=1, columns=1))
