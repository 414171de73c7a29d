"""Image files in, uint8 arrays out: find them, decode them, fit them into a square.

No file is trusted: its name proves nothing, its header is checked before its pixels are read, and whatever is wrong
with it becomes one `ImageError` that names it. All functions here are safe to call from several threads at once.
"""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
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
from ssl_mask.errors import DataError, ImageError, InputError

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp", ".mpo",
    ".png", ".apng", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif",
)  # fmt: skip
_OTHER_SUFFIXES = (
    ".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".jpx", ".jxl", ".jxr", ".psd", ".psb", ".tga", ".pcx",
    ".pbm", ".pgm", ".ppm", ".pnm", ".exr", ".hdr", ".ico", ".svg", ".eps", ".dcm", ".dicom", ".nii", ".mha",
    ".mhd", ".nrrd", ".svs", ".ndpi", ".czi", ".fits", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw",
    ".srf", ".sr2", ".orf", ".raf", ".rw2", ".pef", ".srw", ".x3f", ".3fr", ".iiq", ".erf", ".kdc", ".dcr",
    ".mrw", ".raw",
)  # fmt: skip
"""Names of pictures that are not read: other formats, medical and microscope formats, and what cameras call raw."""
_SUFFIX = re.compile(r"\.[a-z][a-z0-9]*$", re.IGNORECASE)

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

# The same for files that have no suffix. Longer, for such a file may be a text that begins with "BM" or "II".
_LOOKS_LIKE_A_PICTURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|BM.{4}\0{4}|RIFF.{4}WEBP|II[*+]\0|MM\0[*+]|8BPS|\0\0\0\x0c(jP  |JXL )"
    rb"|.{4}ftyp(hei|hev|mif1|msf1|avi[fs])|.{128}DICM",
    re.DOTALL,
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


def is_image_name(name: str) -> bool:
    """Whether a file name has an image suffix (upper or lower case) and is not hidden (`.x.jpg`, `._x.jpg`)."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def find_images(folder: Path) -> list[Path]:
    """All image files below `folder`, sorted by their relative path; hidden files and folders are left out.

    Links are followed, so a folder that is linked twice is listed twice (the guard must see that). A link to a folder
    that contains it is not followed.

    Raises:
        DataError: a folder cannot be listed.
    """
    return [Path(path) for path in _files_below(folder) if is_image_name(os.path.basename(path))]  # noqa: PTH119 - text


def images_beside(folder: Path) -> list[Path]:
    """The image files in a folder and in its subfolders that can be listed, but not in those below."""
    found: list[Path] = []
    for place in (folder, *(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))):
        with suppress(OSError):  # somebody else's
            found += [p for p in place.iterdir() if is_image_name(p.name) and p.is_file()]
    return found


def holds_images(folder: Path) -> bool:
    """Whether `find_images` finds any; stops at the first one.

    Raises:
        DataError: a folder cannot be listed.
    """
    return any(is_image_name(os.path.basename(path)) for path in _each_file_below(folder))  # noqa: PTH119


def files_not_read(folder: Path) -> dict[str, int]:
    """How many files below `folder` look like pictures and are not read, by suffix: {".heic": 1, "no suffix": 2}.

    A suffix is trusted; of a file without one the first bytes are read.

    Raises:
        DataError: a folder cannot be listed.
    """
    kinds = Counter(_kind_not_read(path) for path in _files_below(folder))
    del kinds[""]
    return dict(sorted(kinds.items()))


def _files_below(folder: Path) -> list[str]:
    """The paths of all regular files that are not hidden, sorted."""
    return sorted(_each_file_below(folder))


def _each_file_below(folder: Path) -> Iterator[str]:
    try:
        yield from _walk(str(folder), frozenset(map(str, folder.resolve().parents)))
    except OSError as error:
        raise DataError(
            f"{error.filename or folder}: cannot list this folder ({error.strerror}).", hint="Check its permissions."
        ) from error


def _walk(folder: str, above: frozenset[str]) -> Iterator[str]:
    here = os.path.realpath(folder)
    if here in above:
        return
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in visible:
        linked = entry.is_symlink()  # only these need another look at the disk, and only these can be broken
        if os.path.isdir(entry.path) if linked else entry.is_dir():  # noqa: PTH112 - a Path for each costs most
            yield from _walk(entry.path, above | {here})
        elif os.path.isfile(entry.path) if linked else entry.is_file():  # noqa: PTH113
            yield entry.path


def _kind_not_read(path: str) -> str:
    """ ".heic" and the like, "no suffix", or "" for an image that is read and for what is no picture."""
    name = os.path.basename(path)  # noqa: PTH119
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    if is_image_name(name) or suffix in _OTHER_SUFFIXES:
        return suffix if suffix in _OTHER_SUFFIXES else ""
    if _SUFFIX.search(name):
        return ""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return "no suffix" if _LOOKS_LIKE_A_PICTURE.match(file.read(132)) else ""
    except OSError:
        return ""


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


def _scale(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Average to shrink, interpolate to enlarge; a squashed strip needs both, one after the other."""
    down = (min(image.shape[1], width), min(image.shape[0], height))
    scaled = cv2.resize(image, down, interpolation=cv2.INTER_AREA)
    if down != (width, height):
        scaled = cv2.resize(scaled, (width, height), interpolation=cv2.INTER_CUBIC)
    result: NDArray[np.uint8] = np.ascontiguousarray(scaled)
    return result
