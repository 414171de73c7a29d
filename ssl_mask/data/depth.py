"""16-bit images: which of their bits are kept. A scanner or sensor of 10, 12 or 14 bits fills only the low ones."""

from __future__ import annotations

from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

FULL = 16


def has_16_bits(image: ImageFile.ImageFile) -> bool:
    """Whether an opened image, not loaded yet, stores 16 bits per channel. PIL says it only in its decoder's words."""
    return image.mode.startswith("I;16") or any(";16" in str(tile.args) for tile in image.tile)


def values_16(image: ImageFile.ImageFile, file: BinaryIO) -> NDArray[np.uint16]:
    """(H, W) grey or (H, W, 3 or 4) RGB or RGBA values of an image that `has_16_bits`.

    Raises:
        ValueError: colours that are neither RGB nor grey, or damaged. OSError: damaged.
    """
    if image.mode.startswith("I;16"):
        image.load()
        return np.asarray(image).astype(np.uint16)
    file.seek(0)
    values = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)  # PIL drops the low byte
    if values is None or values.dtype != np.uint16 or image.mode not in {"RGB", "RGBA", "LA"}:
        raise ValueError(f"its 16-bit values cannot be read (mode {image.mode}); without data.depth they can")
    order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}[values.shape[2]]
    return np.asarray(cv2.cvtColor(values, order), np.uint16)


def to_8_bits(values: NDArray[np.uint16], depth: int) -> Image.Image:
    """The upper 8 of the lower `depth` bits as a grey, RGB or RGBA image; larger values become white.

    Args:
        depth: bits in use, 8 to 16. Transparency uses all 16.
    """
    small = np.minimum(values >> (depth - 8), 255).astype(np.uint8)
    if values.ndim == 3 and values.shape[2] == 4:
        small[..., 3] = values[..., 3] >> 8
    return Image.fromarray(small)
