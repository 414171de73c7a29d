"""How fast a network predicts: latency of one image, throughput of the best batch, memory. Pure timing."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Predict = Callable[[Sequence[NDArray[Any]]], Any]
"""Predicts (n, size, size, 3) uint8 squares, of each shape that a network takes, and waits for the result."""
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LEAST, MOST = 10, 300
"""Calls of a measurement."""
WORTH = 1.03
"""A larger batch must be faster by this factor, or the one before it stays the best."""
IN_VAIN = 3
"""So many batch sizes in a row without a gain end the search: the next size alone says little, for some networks
predict 1 and 2 images at the same rate and 8 twice as fast."""


class Speed(NamedTuple):
    """Of one engine with some threads on some device."""

    p50: float
    """Median latency of one image in milliseconds."""
    p95: float
    batch: int
    """The best of 1, 2, 4, …."""
    images_per_second: float
    """With that batch."""
    memory: int | None
    """Bytes that predicting adds to the process at most; None where the system does not tell."""


def speed_of(
    load: Callable[[], Predict], squares: Sequence[NDArray[Any]], *, seconds: float = 2.0, largest: int = BATCHES[-1]
) -> Speed:
    """Measure a network.

    Args:
        load: makes it ready; what that takes in memory counts.
        squares: one image for each shape of squares, (size, size, 3).
        seconds: of a measurement, at least ten calls.
        largest: batch that is tried.
    """
    before = begin_peak()
    predict = load()
    times = timed(lambda: predict([s[None] for s in squares]), seconds)
    best, rate, in_vain = 1, 1 / float(np.median(times)), 0
    for batch in (b for b in BATCHES[1:] if b <= largest):
        images = [np.repeat(s[None], batch, axis=0) for s in squares]
        each = timed(lambda images=images: predict(images), seconds / 2, least=3)  # type: ignore[misc]
        found = batch / float(np.median(each))
        if found > rate * WORTH:
            best, rate, in_vain = batch, found, 0
        else:
            in_vain += 1
        if in_vain == IN_VAIN or batch / found > 2 * seconds:
            break
    peak = peak_memory()
    memory = None if before is None or peak is None else max(0, peak - before)
    p50, p95 = np.percentile(times, [50, 95]) * 1000
    return Speed(float(p50), float(p95), best, rate, memory)


def timed(call: Callable[[], Any], seconds: float, *, least: int = LEAST, most: int = MOST) -> list[float]:
    """Seconds of each of some calls, after two that do not count."""
    for _ in range(2):
        call()
    times: list[float] = []
    end = perf_counter() + seconds
    while len(times) < least or (len(times) < most and perf_counter() < end):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return times


def begin_peak() -> int | None:
    """Bytes of memory of this process now, from which its peak is counted anew; None where the system does not tell.

    What was freed is given back to the system first: to take it again would not count.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # not the C library of GNU
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status("VmRSS")
    except (OSError, ValueError):
        return None


def peak_memory() -> int | None:
    """The largest number of bytes of this process since `begin_peak`."""
    try:
        return _status("VmHWM")
    except (OSError, ValueError):
        return None


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    line = next((line for line in lines if line.startswith(f"{name}:")), None)
    if line is None:
        raise ValueError(name)
    return int(line.split()[1]) * 1024
