"""Which files of a folder are images, by their names; nothing is decoded here."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ssl_mask.errors import DataError

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

# The first bytes of pictures, for files that have no suffix. Long, for a text may begin with "BM" or "II", too.
_LOOKS_LIKE_A_PICTURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|BM.{4}\0{4}|RIFF.{4}WEBP|II[*+]\0|MM\0[*+]|8BPS|\0\0\0\x0c(jP  |JXL )"
    rb"|.{4}ftyp(hei|hev|mif1|msf1|avi[fs])|.{128}DICM",
    re.DOTALL,
)


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


def find_files(folder: Path) -> list[Path]:
    """All files below `folder`, images and others, in the order and with the links of `find_images`.

    Raises:
        DataError: a folder cannot be listed.
    """
    return [Path(path) for path in _files_below(folder)]


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
