"""Arrays that may be larger than the memory: the system can write their pages to disk and read them again."""

from __future__ import annotations

import math
import mmap
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.files import storage

_LARGE = 256 * 2**20  # bytes


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any], folder: Path | None) -> NDArray[Any]:
    """An array of zeros; a large one in a file without a name in `folder`, which goes away with the array.

    Raises:
        StorageError: there is no place for that file.
    """
    size = math.prod(shape) * dtype.itemsize
    if size < _LARGE:
        return np.zeros(shape, dtype)
    place = folder or Path(tempfile.gettempdir())
    with storage(place):
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as file:
            file.truncate(size)
            return np.frombuffer(mmap.mmap(file.fileno(), size), dtype).reshape(shape)


def release(array: NDArray[Any]) -> None:
    """Gives back the memory of a file-backed array; its pages come back from the file when they are used again."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
