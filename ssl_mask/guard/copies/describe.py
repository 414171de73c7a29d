"""What the guard keeps of one image: a digest of its pixels, PDQ, HOG and a small grey picture. One read each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.depth import FULL
from ssl_mask.data.digests import State, read_file
from ssl_mask.data.images import Resize, decode, fit
from ssl_mask.data.segments import Pixels
from ssl_mask.errors import ImageError
from ssl_mask.guard.copies.columns import encoded
from ssl_mask.guard.copies.hog import hogs
from ssl_mask.guard.copies.pdq import coefficients, hashes
from ssl_mask.guard.copies.store import RECORD, Records, held
from ssl_mask.guard.copies.verification import SIDE


class Task(NamedTuple):
    """Some images for one worker, small enough that their descriptors fit into a processor's cache."""

    paths: Sequence[Path]
    digests: Sequence[str]
    """"" where it is not known yet."""
    max_pixels: int
    depth: int = FULL
    stored: tuple[Path, ...] = ()
    """Segments of the store: what they hold is hashed and not decoded."""
    fitted: tuple[int, Resize] | None = None
    """A square that each picture is fitted into, too: its side in pixels, and how."""


class Described(NamedTuple):
    """One file."""

    digest: str
    """"" where it could not be read."""
    state: State | None
    why: str
    """Why it is no readable image; "" where it is one."""
    is_stored: bool
    """The store has its record already, so there is none here."""
    thumb: bytes
    """As JPEG; of no length where there is no record."""
    fitted: tuple[Pixels, tuple[int, int]] | None
    """The picture in the square that was asked for, and width and height of the file's image."""


def describe(task: Task) -> tuple[Records, list[Described]]:
    """A record for each image, empty where there is nothing to keep. Raises nothing for a bad image."""
    records, thumbs = np.zeros(len(task.paths), RECORD), np.zeros((len(task.paths), SIDE, SIDE), np.uint8)
    spectra = np.zeros((len(task.paths), 16, 16), np.float32)
    found = []
    for row, (path, known) in enumerate(zip(task.paths, task.digests, strict=True)):
        digest, state, why, is_stored, thumb, fitted = "", None, "", False, b"", None
        try:
            content, digest, state = read_file(path)
            if known not in {"", digest}:
                raise ImageError("it was changed while it was being read")
            is_stored = digest in held(task.stored)
            if not is_stored:
                # Of these bytes, not of the file: what is remembered under this digest must be of what was hashed.
                picture = decode(path, content, max_pixels=task.max_pixels, depth=task.depth)
                spectra[row] = _fill(records[row : row + 1], thumbs[row], digest, picture)
                thumb = encoded(thumbs[row])
                if task.fitted is not None:
                    fitted = fit(picture, *task.fitted), (picture.shape[1], picture.shape[0])
        except ImageError as error:
            why = _reason(path, error)
        found.append(Described(digest, state, why, is_stored, thumb, fitted))
    records["pdq"] = hashes(spectra)
    records["hog"] = hogs(thumbs)
    return records, found


def describe_pictures(pictures: Sequence[tuple[str, NDArray[np.uint8]]]) -> tuple[Records, list[bytes]]:
    """A record for each picture in memory, and its small grey picture as JPEG.

    Args:
        pictures: the SHA-256 of the bytes that show each, and its (H, W, 3) RGB pixels.
    """
    records, thumbs = np.zeros(len(pictures), RECORD), np.zeros((len(pictures), SIDE, SIDE), np.uint8)
    spectra = np.zeros((len(pictures), 16, 16), np.float32)
    for row, (digest, picture) in enumerate(pictures):
        spectra[row] = _fill(records[row : row + 1], thumbs[row], digest, picture)
    if pictures:
        records["pdq"] = hashes(spectra)
        records["hog"] = hogs(thumbs)
    return records, [encoded(thumb) for thumb in thumbs]


def describe_thumbs(thumbs: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(n, 8, 32) PDQ hashes and (n, 6, 324) HOGs of (n, 128, 128) grey pictures that are part of others, n > 0."""
    return hashes(np.stack([coefficients(thumb) for thumb in thumbs])), hogs(thumbs)


def _fill(record: Records, thumb: NDArray[np.uint8], digest: str, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Write what is made of one picture alone; returns its (16, 16) DCT coefficients, of which PDQ is made."""
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    record["digest"] = np.frombuffer(bytes.fromhex(digest), np.uint8)
    record["pixels"] = np.frombuffer(_pixel_digest(picture), np.uint8)
    thumb[:] = fit(grey, SIDE, "squash")
    return coefficients(grey)


def _pixel_digest(picture: NDArray[np.uint8]) -> bytes:
    """SHA-256 of shape and pixels of the decoded picture: RGB, upright, so that its container and mode do not count."""
    height, width = picture.shape[:2]
    digest = hashlib.sha256(f"RGB {height} {width} ".encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.digest()


def _reason(path: Path, error: ImageError) -> str:
    """The error without the file's name, which the caller knows and which may not be printable."""
    return error.problem.removeprefix(f"{path}: ")
