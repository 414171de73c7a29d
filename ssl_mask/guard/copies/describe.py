"""What the guard keeps of one image: a digest of its pixels, PDQ, HOG and a small grey picture. One decode each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.digests import digest_file
from ssl_mask.data.images import decode, fit
from ssl_mask.errors import ImageError
from ssl_mask.guard.copies.hog import hogs
from ssl_mask.guard.copies.pdq import coefficients, hashes
from ssl_mask.guard.copies.store import RECORD, Records
from ssl_mask.guard.copies.verification import SIDE


class Task(NamedTuple):
    """Some images for one worker, small enough that their descriptors fit into a processor's cache."""

    paths: Sequence[Path]
    digests: Sequence[str]
    max_pixels: int


def describe(task: Task) -> tuple[Records, list[str]]:
    """A record for each image, and why it is empty: "" where it is not. Raises nothing for a bad image."""
    records = np.zeros(len(task.paths), RECORD)
    spectra = np.zeros((len(task.paths), 16, 16), np.float32)
    reasons = [""] * len(task.paths)
    for row, (path, digest) in enumerate(zip(task.paths, task.digests, strict=True)):
        try:
            picture = decode(path, max_pixels=task.max_pixels)
            # After decoding: what is remembered under this digest must be of these bytes.
            if digest_file(path) != digest:
                raise ImageError("it was changed while it was being read")
        except ImageError as error:
            reasons[row] = reason(path, error)
            continue
        grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        records["digest"][row] = np.frombuffer(bytes.fromhex(digest), np.uint8)
        records["pixels"][row] = np.frombuffer(pixel_digest(picture), np.uint8)
        records["thumb"][row] = fit(grey, SIDE, "squash")
        spectra[row] = coefficients(grey)
    records["pdq"] = hashes(spectra)
    records["hog"] = hogs(records["thumb"])
    return records, reasons


def pixel_digest(picture: NDArray[np.uint8]) -> bytes:
    """SHA-256 of shape and pixels of the decoded picture: RGB, upright, so that its container and mode do not count."""
    height, width = picture.shape[:2]
    digest = hashlib.sha256(f"RGB {height} {width} ".encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.digest()


def reason(path: Path, error: ImageError) -> str:
    """The error without the file's name, which the caller knows and which may not be printable."""
    return error.problem.removeprefix(f"{path}: ")
