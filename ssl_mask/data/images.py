"""Image files in, uint8 arrays out: decode them, fit them into a square.

No file is trusted: its name proves nothing, its header is checked before its pixels are read, and whatever is wrong
with it becomes one `ImageError` that names it. All functions here are safe to call from several threads at once.
"""

from __future__ import annotations

import re
import stat
import warnings
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ssl_mask.data.depth import FULL, has_16_bits, to_8_bits, values_16
from ssl_mask.errors import ImageError, InputError

MAX_PIXELS = 50_000_000
"""Of an image, unless `data.max_pixels` says otherwise."""

Resize = Literal["crop", "squash", "pad"]

# A file's first bytes say what it is. We do not use Image.open: its pixel limit is a global, and only warns.
_FORMATS: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"GIF8", GifImageFile),
    (b"BM", BmpImageFile),
    (b"RIFF", WebPImageFile),
    (b"II", TiffImageFile),
    (b"MM", TiffImageFile),
)

# EXIF orientation -> what makes the picture upright; 1 already is.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_MID_GREY = 128
_PIL_IS_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading.

    Raises:
        ImageError: it is missing, unreadable or not a regular file.
    """
    try:
        # Checked before opening: opening a pipe waits for a writer, and opening a device may do anything.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ImageError(f"{path}: not a regular file")
        return path.open("rb")
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def decode(
    path: Path, content: bytes | None = None, *, max_pixels: int = MAX_PIXELS, depth: int = FULL
) -> NDArray[np.uint8]:
    """Decode an image to (H, W, 3) uint8 RGB in [0, 255], as an image viewer shows it.

    It is turned upright (EXIF), transparent parts become white, only the first frame counts, and of 16-bit values
    the upper 8 of the `depth` bits in use are kept.

    Args:
        content: the file's bytes, if they have been read already; None reads the file.
        depth: bits in use of 16-bit images, 8 to 16; larger values become white.

    Raises:
        InputError: too little memory for it; nobody can say then whether the image is good.
        ImageError: the file is missing, not a regular file, empty, not an image of a known format, damaged, or has more
            than `max_pixels` pixels (checked before the pixels are decoded).
    """
    with open_regular(path) if content is None else BytesIO(content) as file:
        _quieten_pil()
        try:
            image = open_image(file)
            refuse_large(path, image.size, max_pixels)
            if depth < FULL and has_16_bits(image):
                picture = to_8_bits(values_16(image, file), depth)
            else:
                image.load()
                picture = image
            turn = _TURNS.get(_orientation(image))
            return _to_rgb(picture if turn is None else picture.transpose(turn))
        except ImageError:
            raise
        except MemoryError as error:
            raise InputError(
                f"{path}: too little memory to decode its {image.width}x{image.height} pixels.",
                hint="Shrink the image, or run with more memory.",
            ) from error
        except Exception as error:  # damaged files make PIL raise almost anything, struct.error and KeyError included
            raise ImageError(f"{path}: cannot be decoded ({error or type(error).__name__})") from error


def refuse_large(path: Path, size: tuple[int, int], max_pixels: int) -> None:
    """Raises ImageError where an image has more pixels than the limit."""
    width, height = size
    if (pixels := width * height) > max_pixels:
        raise ImageError(
            f"{path}: {width}x{height} pixels, more than the limit of {max_pixels} (data.max_pixels)",
            hint=f"Shrink the image, or allow more: --set data.max_pixels={pixels} (predict: --max-pixels {pixels})",
        )


def _quieten_pil() -> None:
    """Keep PIL's warnings about odd metadata off the screen; real damage is an error anyway.

    This is one process-wide filter: `catch_warnings` swaps a global list and is not safe in threads.
    """
    if warnings.filters[:1] != [_PIL_IS_QUIET]:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def open_image(file: BinaryIO) -> ImageFile.ImageFile:
    """Open an image by its first bytes; reads the header only. Raises almost anything for a damaged one."""
    start = file.read(16)
    file.seek(0)
    if not start:
        raise ValueError("it is empty: 0 bytes")
    for magic, opener in _FORMATS:
        if start.startswith(magic):
            return opener(file)
    raise ValueError("it is not a JPEG, PNG, GIF, BMP, WebP or TIFF image, although its name ends like one")


def _orientation(image: Image.Image) -> int:
    try:
        orientation: int = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken metadata says nothing about the pixels
        return 1
    return orientation


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        # PIL would clip these. It keeps the high byte of 16-bit colour, so we do the same for grey.
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits and no known range; save it with 8 or 16 bits per channel")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def fit(image: NDArray[np.uint8], size: int, resize: Resize = "crop") -> NDArray[np.uint8]:
    """(H, W, 3) uint8 -> (size, size, 3) uint8.

    Args:
        size: width and height in pixels.
        resize: `crop` keeps the largest centred square; `squash` changes the aspect ratio; `pad` keeps the whole image,
            centred on mid-grey.
    """
    height, width = image.shape[:2]
    if resize == "squash":
        return _scale(image, size, size)
    if resize == "crop":
        # Crop first: scaling a strip of 10 x 100000 pixels first would need a hundred times the memory.
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return _scale(image[top : top + side, left : left + side], size, size)
    factor = size / max(height, width)
    small = _scale(image, max(1, round(height * factor)), max(1, round(width * factor)))
    height, width = small.shape[:2]
    top, left = (size - height) // 2, (size - width) // 2
    square = np.full((size, size, 3), _MID_GREY, np.uint8)
    square[top : top + height, left : left + width] = small
    return square


def unfit(values: NDArray[np.float32], height: int, width: int, resize: Resize = "crop") -> NDArray[np.float32]:
    """What was found in an image that `fit` has made, over the image itself: its inverse for a map of values.

    Args:
        values: (h, w) of equal parts of the square.
        height, width: of the image in pixels.

    Returns:
        (height, width), interpolated between the parts; NaN where `fit` has cut the image off.
    """
    if resize == "squash":
        return _stretched(values, height, width)
    whole = np.full((height, width), np.nan, np.float32)
    side = min(height, width) if resize == "crop" else max(height, width)
    top, left = (height - side) // 2, (width - side) // 2  # below 0: of the margins that were added
    square = _stretched(values, side, side)
    rows, columns = slice(max(top, 0), top + side), slice(max(left, 0), left + side)
    part = whole[rows, columns]
    part[:] = square[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]
    return whole


def _stretched(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _scale(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Average to shrink, interpolate to enlarge; a squashed strip needs both, one after the other."""
    down = (min(image.shape[1], width), min(image.shape[0], height))
    scaled = cv2.resize(image, down, interpolation=cv2.INTER_AREA)
    if down != (width, height):
        scaled = cv2.resize(scaled, (width, height), interpolation=cv2.INTER_CUBIC)
    result: NDArray[np.uint8] = np.ascontiguousarray(scaled)
    return result
