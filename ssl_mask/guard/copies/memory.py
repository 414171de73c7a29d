"""Files mapped into memory, and how their pages are given back."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def release(mapped: NDArray[Any] | mmap.mmap | bytes) -> None:
    """Gives back the memory of a mapped file, or of an array in one; its pages are read again when they are used."""
    base: Any = mapped
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
