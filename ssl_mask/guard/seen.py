"""The seen-set of a checkpoint: what a model was trained on, in one small file that travels with it.

About 0.8 kB an image: digests of its bytes, of its pixels, and of samples of its shape, and no picture.
An ordinary .npz without pickles, so loading it runs no code. The same images give the same bytes, whatever their
order. The first format held grey pictures of 128 pixels; it is read as what this one would hold of them.
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
from ssl_mask.guard.copies.sketches import BYTES, SAMPLES, Sketches, joined, samples_of
from ssl_mask.guard.copies.verification import SIDE
from ssl_mask.reading import reading, refuse_inflated, regular

HINT = "Take the file that was written with the checkpoint; without it nobody knows what the model has seen."
_FORMAT, _WITH_PICTURES = "sslmask-seen-v2", "sslmask-seen-v1"
_PARTS = {_FORMAT: ("samples",), _WITH_PICTURES: ("jpegs", "lengths")}
_PICTURES_AT_ONCE = 1024


def save_seen(path: Path, seen: Sketches) -> None:
    """Writes a set, each image once. Raises StorageError when the disk refuses."""
    seen = joined(seen)
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            format=np.array(_FORMAT),
            digests=_as_bytes(seen.digests),
            pixels=_as_bytes(seen.pixels),
            samples=seen.samples,
        )


def merge_seen(path: Path, parts: Sequence[Path], keep: Collection[str]) -> int:
    """Writes those images of some seen-sets that are to be kept, each once; returns how many.

    Args:
        keep: digests.

    Raises:
        ModelError: a part is missing, damaged or foreign. StorageError: the disk refuses.
    """
    found = joined(*map(load_seen, parts))
    kept = found.at([row for row, digest in enumerate(found.digests) if digest in keep])
    save_seen(path, kept)
    return len(kept)


def load_seen(path: Path) -> Sketches:
    """What `save_seen` wrote, sorted by digest. Raises ModelError when the file is missing, damaged or foreign."""
    with reading(path, ModelError, hint=HINT):
        refuse_inflated(regular(path))
        # Opened here: np.load leaves a file open that turns out to be damaged.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            form = str(_part(file, "format"))
            if form not in _PARTS:
                raise ValueError("its format is not known")
            digests, pixels, *rest = (_part(file, name) for name in ("digests", "pixels", *_PARTS[form]))
        samples = rest[0] if form == _FORMAT else _samples_of_jpegs(rest[0], rest[1])
        count = len(samples) if samples.ndim else -1
        if not (digests.shape == pixels.shape == (count, 32) and samples.shape == (count, SAMPLES, BYTES)):
            raise ValueError("its parts do not fit together")
        if any(part.dtype != np.uint8 for part in (digests, pixels, samples)):
            raise ValueError("its parts are of another kind")
    return Sketches(_as_texts(digests), _as_texts(pixels), samples)


def seen_digests(path: Path) -> frozenset[str]:
    """SHA-256 of the images of a seen-set, without the rest. Raises ModelError when it is missing or damaged."""
    with reading(path, ModelError, hint=HINT), path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        digests = _part(file, "digests")
        if digests.ndim != 2 or digests.shape[1] != 32 or digests.dtype != np.uint8:
            raise ValueError("its digests are of another kind")
    return frozenset(_as_texts(digests))


def _part(file: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(file[name])
    except ValueError as error:
        if "allow_pickle" in str(error):  # numpy's own text names the way to read it without this protection
            raise ValueError("it holds Python objects, which could run code, so they are not read") from error
        raise


def _samples_of_jpegs(jpegs: NDArray[np.uint8], lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Of the pictures that a file of the first format holds."""
    if jpegs.dtype != np.uint8 or lengths.dtype != np.int64 or jpegs.ndim != 1 or lengths.ndim != 1:
        raise ValueError("its pictures are of another kind")
    if (lengths <= 0).any() or (lengths > len(jpegs)).any() or lengths.sum() != len(jpegs):
        raise ValueError("its pictures are not complete")
    samples = [np.zeros((0, SAMPLES, BYTES), np.uint8)]
    parts = np.split(jpegs, np.cumsum(lengths)[:-1]) if len(lengths) else []
    for start in range(0, len(parts), _PICTURES_AT_ONCE):
        thumbs = [cv2.imdecode(part, cv2.IMREAD_GRAYSCALE) for part in parts[start : start + _PICTURES_AT_ONCE]]
        if any(thumb is None or thumb.shape != (SIDE, SIDE) for thumb in thumbs):
            raise ValueError("one of its pictures is damaged")
        samples.append(samples_of(np.array(thumbs, np.uint8)))
    return np.concatenate(samples)


def _as_bytes(digests: Sequence[str]) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 32)


def _as_texts(digests: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(bytes(digest).hex() for digest in digests)
