"""A look at the values of 16-bit images: nobody can see from a file how many of its bits are meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.depth import FULL, has_16_bits, values_16
from ssl_mask.data.images import open_image, open_regular

LOOKED_AT = 64
"""Images; evenly spread over those that are given."""
FEW_LEVELS = 64
"""With no more than this many of the 256 levels that 8 bits have, a picture has lost detail."""


def warn_of_depth(files: Sequence[Path], config: DataConfig, console: Console) -> None:
    """Warn, once for all, where the 16-bit images among these use few of the bits that `data.depth` keeps, or more."""
    chosen = files[:: max(1, len(files) // LOOKED_AT)][:LOOKED_AT]
    largest = [value for value in (_largest(path, config.max_pixels) for path in chosen) if value is not None]
    if not largest:
        return
    top, depth = max(largest), config.depth
    bits = min(FULL, max(8, top.bit_length() + top.bit_length() % 2))  # sensors have 8, 10, 12 or 14
    found = f"the values of the 16-bit images go up to {top} of 65535 ({len(largest)} images looked at)"
    levels = (top >> (depth - 8)) + 1
    if levels > 256:
        console.warn(f"{found}; with data.depth={depth} those above {2**depth - 1} become white. Set {_set(bits)}")
    elif levels <= FEW_LEVELS and bits < depth:
        console.warn(f"{found}: of the 256 levels of grey that a network sees, {levels} are left. Set {_set(bits)}")


def _set(bits: int) -> str:
    return f"the number of bits in use: --set data.depth={bits}"


def _largest(path: Path, max_pixels: int) -> int | None:
    """The largest value of a 16-bit image; None for any other file. What is wrong with one is told when it is read."""
    try:
        with open_regular(path) as file:
            image = open_image(file)
            if not has_16_bits(image) or image.width * image.height > max_pixels:
                return None
            values = values_16(image, file)
    except Exception:  # damaged files make PIL raise almost anything
        return None
    return int(values[..., :3].max() if values.ndim == 3 else values.max())
