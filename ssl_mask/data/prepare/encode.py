"""A changed picture as the bytes of an image file, of the kind that the original has."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUALITY = 95
"""Of a JPEG, with full colour resolution."""

_KINDS = ((b"\xff\xd8\xff", "JPEG"), (b"BM", "BMP"), (b"RIFF", "WEBP"), (b"II", "TIFF"), (b"MM", "TIFF"))
_HOW: dict[str, dict[str, int | bool]] = {"JPEG": {"quality": QUALITY, "subsampling": 0}, "WEBP": {"lossless": True}}


def encode(picture: NDArray[np.uint8], original: bytes) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG, BMP, WebP or TIFF where the original is one, else as PNG.

    All but JPEG keep every value. Nothing of the original's metadata is taken over: the picture is upright already.
    The content of an image file says what it is, so a PNG that is named .gif can be read.
    """
    kind = next((name for start, name in _KINDS if original.startswith(start)), "PNG")
    file = BytesIO()
    Image.fromarray(picture).save(file, kind, **_HOW.get(kind, {}))
    return file.getvalue()
