"""How the guard's `match` grows with the pools: CPU seconds and peak memory of n with n fingerprints, n up to 100,000.

    python tests/benchmarks/guard_scale.py [--largest 30000]

Every size runs in a process of its own, on one process and one thread. Bits and descriptors are random and 1 % of the
fingerprints have a copy on the other side, so that candidates are those and the few nearest of each picture. Real faces
have more, as `guard_speed.py --only again` shows. Thumbs lie in sparse files, as those of a large pool would. The peak
is of all that the process holds: libraries, fingerprints, and what `match` needs. CPU seconds for larger n are
extrapolated as a n + b n² through the last two sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ssl_mask.guard.copies.fingerprints import Fingerprints
from ssl_mask.guard.copies.matching import match

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)


class Growth(NamedTuple):
    n: int
    seconds: float
    megabytes: float
    found: int


def main() -> None:
    options = arguments()
    if options.child:
        print(json.dumps(child(options.child, options.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        show([grown(n, folder) for n in SIZES if n <= options.largest])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=30_000, help="the most fingerprints a side")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


# ---- one size ----


def grown(n: int, folder: str) -> Growth:
    words = [sys.executable, __file__, "--child", str(n), "--folder", folder]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ran = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    growth = Growth(*json.loads(ran.stdout.splitlines()[-1]))
    print(f"{n} x {n}: {growth.seconds:.0f} CPU s, {growth.megabytes:.0f} MB", flush=True)
    return growth


def child(n: int, folder: Path) -> Growth:
    with made_up(n, folder) as (first, second):
        began = time.process_time()
        found = match(first, second, cache=None)
        seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Growth(n, seconds, peak, sum(pair.kind == "near" for pair in found))


@contextmanager
def made_up(n: int, folder: Path) -> Iterator[tuple[Fingerprints, Fingerprints]]:
    """Two pools of random fingerprints; every hundredth of the second is one of the first."""
    files = [folder / "first.thumbs", folder / "second.thumbs"]
    first, second = (random_pool(n, seed, file) for seed, file in enumerate(files))
    same = np.arange(0, n, 100)
    second.pdq[same], second.hog[same] = first.pdq[same], first.hog[same]
    noise = np.random.default_rng(3).integers(0, 256, (len(same), 16, 16), dtype=np.uint8)
    for pool in (first, second):
        pool.thumbs[same] = [cv2.resize(texture, (128, 128), interpolation=cv2.INTER_CUBIC) for texture in noise]
    yield first, second
    for file in files:
        file.unlink()


def random_pool(n: int, seed: int, file: Path) -> Fingerprints:
    rng = np.random.default_rng(seed)
    names = tuple(f"{seed:032x}{position:032x}" for position in range(n))
    hog = np.empty((n, 7, 324), np.float16)
    for row in hog:  # one at a time: the peak is to be match's, not ours
        row[:] = unit(np.abs(rng.standard_normal((7, 324))))
    thumbs = np.memmap(file, np.uint8, "w+", shape=(n, 128, 128))
    return Fingerprints(
        digests=names,
        pixels=names,
        pdq=rng.integers(0, 256, (n, 8, 32), dtype=np.uint8),
        hog=hog,
        thumbs=thumbs,
        unreadable={},
    )


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


# ---- the table ----


def show(growth: Sequence[Growth]) -> None:
    table = Table("n with n", "CPU seconds", "peak MB", "copies found")
    for line in growth:
        table.add_row(f"{line.n:,}", f"{line.seconds:.1f}", f"{line.megabytes:.0f}", f"{line.found} of {line.n // 100}")
    for n in (10**5, 10**6, 10**8) if len(growth) > 1 else ():
        if n > growth[-1].n:
            table.add_row(f"{n:,}, on paper", f"{extrapolated(growth[-2:], n):.3g}", "", "")
    Console().print(table)


def extrapolated(two: Sequence[Growth], n: int) -> float:
    """CPU seconds of a n + b n² through two measurements."""
    (m, s), (k, t) = ((float(g.n), g.seconds) for g in two)
    b = max(0.0, (t / k - s / m) / (k - m))
    return (t / k - b * k) * n + b * float(n) ** 2


if __name__ == "__main__":
    main()
