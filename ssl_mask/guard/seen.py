"""The seen-set of a checkpoint: what a model was trained on, in one small file that travels with it.

About 4 kB an image: digests, PDQ and the thumb as JPEG; HOG is computed anew. An ordinary .npz without pickles, so
loading it runs no code. The same images give the same bytes, whatever their order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.errors import ModelError
from ssl_mask.files import atomic_path
from ssl_mask.guard.copies.fingerprints import Fingerprints
from ssl_mask.guard.copies.hog import hogs
from ssl_mask.guard.copies.verification import SIDE
from ssl_mask.reading import reading, refuse_inflated, regular

HINT = "Take the file that was written with the checkpoint; without it nobody knows what the model has seen."
_FORMAT = "sslmask-seen-v1"
_QUALITY = 90
_IMAGES_PER_BLOCK = 512


def save_seen(path: Path, prints: Fingerprints) -> None:
    """Writes the readable images of a pool, each once. Raises StorageError when the disk refuses."""
    row_of = {digest: row for row, digest in enumerate(prints.digests) if digest}
    rows = [row_of[digest] for digest in sorted(row_of)]
    pictures = [_encoded(prints.thumbs[row]) for row in rows]
    _save(
        path,
        digests=_as_bytes([prints.digests[row] for row in rows]),
        pixels=_as_bytes([prints.pixels[row] for row in rows]),
        pdq=prints.pdq[rows],
        pictures=pictures,
    )


def merge_seen(path: Path, parts: Sequence[Path], keep: Collection[str]) -> int:
    """Writes those images of some seen-sets that are to be kept, each once, bit by bit as they were; returns how many.

    Args:
        keep: digests.

    Raises:
        ModelError: a part is missing, damaged or foreign. StorageError: the disk refuses.
    """
    found: dict[bytes, tuple[NDArray[np.uint8], NDArray[np.uint8], bytes]] = {}
    for part in parts:
        load_seen(part)  # checks it
        with np.load(part, allow_pickle=False) as file:
            ends = np.cumsum(file["lengths"]).tolist()
            jpegs, starts = file["jpegs"].tobytes(), [0, *ends[:-1]]
            rows = zip(file["digests"], file["pixels"], file["pdq"], starts, ends, strict=True)
            for digest, pixels, pdq, start, end in rows:
                found.setdefault(bytes(digest), (pixels, pdq, jpegs[start:end]))
    kept = sorted(digest for digest in found if digest.hex() in keep)
    _save(
        path,
        digests=_as_bytes([digest.hex() for digest in kept]),
        pixels=np.array([found[digest][0] for digest in kept], np.uint8).reshape(-1, 32),
        pdq=np.array([found[digest][1] for digest in kept], np.uint8).reshape(-1, 8, 32),
        pictures=[found[d][2] for d in kept],
    )
    return len(kept)


def _save(
    path: Path, *, digests: NDArray[np.uint8], pixels: NDArray[np.uint8], pdq: NDArray[np.uint8],
    pictures: Sequence[bytes],
) -> None:  # fmt: skip
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            format=np.array(_FORMAT),
            digests=digests,
            pixels=pixels,
            pdq=pdq,
            lengths=np.array([len(picture) for picture in pictures], np.int64),
            jpegs=np.frombuffer(b"".join(pictures), np.uint8),
        )


def load_seen(path: Path) -> Fingerprints:
    """What `save_seen` wrote, sorted by digest. Raises ModelError when the file is missing, damaged or foreign."""
    with reading(path, ModelError, hint=HINT):
        refuse_inflated(regular(path))
        # Opened here: np.load leaves a file open that turns out to be damaged.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            parts = {name: _part(file, name) for name in ("format", "digests", "pixels", "pdq", "jpegs", "lengths")}
        if str(parts["format"]) != _FORMAT:
            raise ValueError("its format is not known")
        digests, pixels, pdq = (parts[name] for name in ("digests", "pixels", "pdq"))
        thumbs = _decoded(parts["jpegs"], parts["lengths"])
        count = len(thumbs)
        if not (digests.shape == pixels.shape == (count, 32) and pdq.shape == (count, 8, 32)):
            raise ValueError("its parts do not fit together")
        if any(part.dtype != np.uint8 for part in (digests, pixels, pdq)):
            raise ValueError("its parts are of another kind")
    blocks = [hogs(thumbs[start : start + _IMAGES_PER_BLOCK]) for start in range(0, count, _IMAGES_PER_BLOCK)]
    return Fingerprints(
        digests=tuple(bytes(digest).hex() for digest in digests),
        pixels=tuple(bytes(digest).hex() for digest in pixels),
        pdq=pdq,
        hog=np.concatenate([np.empty((0, 6, 324), np.uint8), *blocks]),
        thumbs=thumbs,
        unreadable={},
    )


def seen_digests(path: Path) -> frozenset[str]:
    """SHA-256 of the images of a seen-set, without their pictures. Raises ModelError when it is missing or damaged."""
    with reading(path, ModelError, hint=HINT), path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        digests = _part(file, "digests")
        if digests.ndim != 2 or digests.shape[1] != 32 or digests.dtype != np.uint8:
            raise ValueError("its digests are of another kind")
    return frozenset(bytes(digest).hex() for digest in digests)


def _part(file: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(file[name])
    except ValueError as error:
        if "allow_pickle" in str(error):  # numpy's own text names the way to read it without this protection
            raise ValueError("it holds Python objects, which could run code, so they are not read") from error
        raise


def _encoded(thumb: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".jpg", thumb, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1])


def _decoded(jpegs: NDArray[np.uint8], lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    if jpegs.dtype != np.uint8 or lengths.dtype != np.int64 or jpegs.ndim != 1 or lengths.ndim != 1:
        raise ValueError("its pictures are of another kind")
    if (lengths <= 0).any() or (lengths > len(jpegs)).any() or lengths.sum() != len(jpegs):
        raise ValueError("its pictures are not complete")
    thumbs = np.zeros((len(lengths), SIDE, SIDE), np.uint8)
    for row, part in enumerate(np.split(jpegs, np.cumsum(lengths)[:-1]) if len(lengths) else []):
        thumb = cv2.imdecode(part, cv2.IMREAD_GRAYSCALE)
        if thumb is None or thumb.shape != (SIDE, SIDE):
            raise ValueError("one of its pictures is damaged")
        thumbs[row] = thumb
    return thumbs


def _as_bytes(digests: list[str]) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 32)
