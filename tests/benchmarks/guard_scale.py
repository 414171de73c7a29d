"""How the guard grows with the pools: CPU seconds and peak memory of 10,000 protected photos with n others.

    python tests/benchmarks/guard_scale.py [--sizes 10000 100000] [--kinds drawn faces] [--protected 10000]
    python tests/benchmarks/guard_scale.py --recall      # what the quick search of large pools loses
    python tests/benchmarks/guard_scale.py --again 100000   # a second audit of a pool in which nothing has changed

Every size runs in a process of its own, on one process and one thread, on fingerprints that lie in a store on disk.

- drawn: random bits and descriptors. Candidates are the copies (every hundredth of the protected photos has one in the
  pool) and the two nearest of each protected photo
- faces: the descriptors of three photos of mask18, drawn at random, are averaged, and the deviation from the mean of
  all is as large as in one; PDQ hashes are random. Real faces have a heavier tail: see `--recall`

Search is `candidates`, from fingerprints to pairs. Verification is measured on 300 of the pairs and multiplied, since
it is linear in pairs. The peak is of all that the process holds; pages of mapped files that are in memory count too.
The growth exponent is the slope of log seconds over log n between neighbouring sizes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from guard_battery import write_copies
from guard_recall import ROOT, unlike
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ssl_mask.data.digests import DigestMemo, read_file
from ssl_mask.guard.copies import search
from ssl_mask.guard.copies.alterations import BATTERY, COMBINED
from ssl_mask.guard.copies.candidates import Descriptors, Hits, candidates
from ssl_mask.guard.copies.columns import Column, encoded
from ssl_mask.guard.copies.fingerprints import FOLDER, Fingerprints, fingerprint
from ssl_mask.guard.copies.matching import match
from ssl_mask.guard.copies.pictures import pictures
from ssl_mask.guard.copies.store import RECORD, Stored, add, made
from ssl_mask.guard.copies.verification import similarity, view

_SEGMENT = 4096
_SAMPLE = 300
Draw = Callable[[int, np.random.Generator], NDArray[np.uint8]]


class Growth(NamedTuple):
    kind: str
    n: int
    search: float
    pairs: int
    milliseconds: float
    megabytes: float
    found: str


def main() -> None:
    options = arguments()
    if options.child:
        kind, n = options.child
        print(json.dumps(child(kind, int(n), options)))
    elif options.recall:
        recall(options.data)
    elif options.again:
        again(options.again)
    else:
        show([grown(kind, n, options) for kind in options.kinds for n in options.sizes])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = ROOT.parent / "shared" / "data" / "mask18"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SSLMASK_MASK18", usual)))
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--kinds", nargs="+", choices=["drawn", "faces"], default=["drawn", "faces"])
    parser.add_argument("--protected", type=int, default=10_000)
    parser.add_argument("--recall", action="store_true")
    parser.add_argument("--again", type=int, metavar="FILES")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


# ---- one size ----


def grown(kind: str, n: int, options: argparse.Namespace) -> Growth:
    words = [sys.executable, __file__, "--child", kind, str(n)]
    words += ["--protected", str(options.protected), "--data", str(options.data)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ran = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    growth = Growth(*json.loads(ran.stdout.splitlines()[-1]))
    print(f"{kind}, {options.protected} x {n}: {growth.search:.0f} CPU s, {growth.megabytes:.0f} MB", flush=True)
    return growth


def child(kind: str, n: int, options: argparse.Namespace) -> Growth:
    draw = faces(options.data) if kind == "faces" else random_hogs
    with tempfile.TemporaryDirectory() as folder:
        first = stored(Path(folder), options.protected, 0, draw)
        second = stored(Path(folder), n, 1, draw, copies=first.at(range(0, options.protected, 100)))
        began = time.process_time()
        pools = [Descriptors(p.pdq, p.hog, pictures(p).positions) for p in (first, second)]
        hits = candidates(pools[0], pools[1])
        seconds = time.process_time() - began
        milliseconds = verifying(hits, first, second, pools)
        i, j = pools[0].rows[hits.first], pools[1].rows[hits.second]
    copies = len(range(0, min(options.protected, 100 * n), 100))
    found = int((i == 100 * j)[j < copies].sum())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Growth(kind, n, seconds, len(i), milliseconds, peak, f"{found} of {copies}")


def verifying(hits: Hits, first: Fingerprints, second: Fingerprints, pools: Sequence[Descriptors]) -> float:
    """Milliseconds a pair, with its two views."""
    some = np.random.default_rng(0).permutation(len(hits.first))[:_SAMPLE]
    pairs = [(int(pools[0].rows[hits.first[n]]), int(pools[1].rows[hits.second[n]])) for n in some]
    began = time.process_time()
    for i, j in pairs:
        similarity(view(first.thumbs[i]), view(second.thumbs[j]))
    return 1000 * (time.process_time() - began) / len(pairs)


def stored(folder: Path, n: int, seed: int, draw: Draw, copies: Fingerprints | None = None) -> Fingerprints:
    """A pool of n fingerprints in a store; the first ones are those of `copies`."""
    rng, segments = np.random.default_rng(seed), list[Stored]()
    noise = rng.integers(0, 256, (64, 12, 12), dtype=np.uint8)
    thumbs = [encoded(np.asarray(cv2.resize(texture, (128, 128)), np.uint8)) for texture in noise]
    for start in range(0, n, _SEGMENT):
        records = np.zeros(min(_SEGMENT, n - start), RECORD)
        records["pdq"] = rng.integers(0, 256, (len(records), 8, 32), dtype=np.uint8)
        records["hog"] = draw(len(records), rng)
        if copies and start == 0:
            records["pdq"][: len(copies)], records["hog"][: len(copies)] = copies.pdq[:], copies.hog[:]
        segments.append(add(folder, made(records, [thumbs[row % 64] for row in range(len(records))])))
    places = np.stack(np.divmod(np.arange(n), _SEGMENT), axis=1)
    names = tuple(f"{seed:032x}{position:032x}" for position in range(n))
    pdq, hog, thumb = (Column(name, segments, places) for name in ("pdq", "hog", "thumb"))
    return Fingerprints(names, names, pdq, hog, thumb, {})


def random_hogs(n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(0, 120, (n, 6, 324), dtype=np.uint8)


def faces(data: Path) -> Draw:
    hogs = np.asarray(fingerprint(photos(data), cache=None).hog).astype(np.float32)
    mean = hogs.mean(axis=0)

    def draw(n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        parents = rng.integers(0, len(hogs), (n, 3))
        drawn = np.sqrt(1 / 3) * sum(hogs[parents[:, k]] - mean for k in range(3)) + mean
        return np.asarray(np.clip(np.rint(drawn), 0, 255), np.uint8)

    return draw


def photos(data: Path) -> list[Path]:
    return sorted((data / "train" / "images").glob("*/*.jpg")) + sorted((data / "extra").glob("*.jpg"))


# ---- what the quick search loses ----


def recall(data: Path) -> None:
    """Altered copies among the candidates of the exact and of the quick search, with all photos of mask18 as pool."""
    originals = unlike(sorted((data / "eval" / "images").glob("*.jpg")), 120, 0)
    with tempfile.TemporaryDirectory() as folder:
        copies = write_copies(originals, Path(folder), BATTERY | COMBINED)
        first = fingerprint(originals, cache=None)
        second = fingerprint([copy.path for copy in copies] + photos(data), cache=None)
    a, b = (Descriptors(p.pdq, p.hog, np.arange(len(p))) for p in (first, second))
    table = Table("search", "copies among the candidates", "candidates of different photos, per million pairs")
    truth = {(copy.original, n) for n, copy in enumerate(copies)}
    for name, exact, nearest in (
        ("exact, two nearest", 10**9, 10**4),
        ("exact", 10**9, 0),
        ("quick, as beyond 10⁹ pairs", 0, 0),
    ):
        search._EXACT_UP_TO, search._NEAREST_UP_TO = exact, nearest
        hits = candidates(a, b)
        found = set(zip(hits.first.tolist(), hits.second.tolist(), strict=True))
        clean = sum(j >= len(copies) for _, j in found) / (len(first) * (len(second) - len(copies)))
        table.add_row(name, f"{len(found & truth)} of {len(truth)}", f"{1e6 * clean:.0f}")
    Console().print(table)


# ---- a second audit ----


def again(count: int) -> None:
    """Small files, a memo and a store that know them all; then what a second audit does before it prints."""
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name) / "pool", Path(name) / "cache"
        folder.mkdir()
        files = [folder / f"{n // 1000:04d}" / f"{n:07d}.jpg" for n in range(count)]
        fill(files, cache)
        first = fingerprint(files[:100], cache=cache)
        match(first, fingerprint(files, cache=cache), cache=cache)
        began, wall = time.process_time(), time.monotonic()
        for file in files:
            file.stat()
        table = Table("second audit", "CPU seconds", "seconds")
        table.add_row(f"stat of {count:,} files alone", *seconds(began, wall))
        began, wall = time.process_time(), time.monotonic()
        prints = fingerprint(files, cache=cache)
        table.add_row("fingerprints", *seconds(began, wall))
        match(fingerprint(files[:100], cache=cache), prints, cache=cache)
        table.add_row("fingerprints and matches with 100 of them", *seconds(began, wall))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    Console().print(table, f"peak {peak:.0f} MB")


def seconds(began: float, wall: float) -> tuple[str, str]:
    return f"{time.process_time() - began:.1f}", f"{time.monotonic() - wall:.1f}"


def fill(files: Sequence[Path], cache: Path) -> None:
    """Files of a few bytes, and what a first audit would have kept of them had they been pictures."""
    rng = np.random.default_rng(0)
    thumb = encoded(np.zeros((128, 128), np.uint8))
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(file.name.encode())
    time.sleep(2.1)  # what changed that recently is not remembered
    with DigestMemo(cache) as memo:
        for start in range(0, len(files), _SEGMENT):
            part = files[start : start + _SEGMENT]
            records = np.zeros(len(part), RECORD)
            records["pdq"] = rng.integers(0, 256, (len(part), 8, 32), dtype=np.uint8)
            records["hog"] = random_hogs(len(part), rng)
            records["pixels"] = rng.integers(0, 256, (len(part), 32), dtype=np.uint8)
            for row, file in enumerate(part):
                read = read_file(file)
                memo.note(file, read.digest, read.state)
                records["digest"][row] = np.frombuffer(bytes.fromhex(read.digest), np.uint8)
            add(cache / FOLDER / "images", made(records, [thumb] * len(part)))


def show(growth: Sequence[Growth]) -> None:
    table = Table("kind", "n", "search, CPU s", "exponent", "pairs", "verification, CPU s", "peak MB", "copies found")
    before: Growth | None = None
    for line in growth:
        slope = ""
        if before and before.kind == line.kind:
            slope = f"{math.log(line.search / before.search) / math.log(line.n / before.n):.2f}"
        verification = f"{line.pairs * line.milliseconds / 1000:.0f}"
        table.add_row(
            line.kind, f"{line.n:,}", f"{line.search:.1f}", slope, f"{line.pairs:,}", verification,
            f"{line.megabytes:.0f}", line.found,
        )  # fmt: skip
        before = line
    Console().print(table)


if __name__ == "__main__":
    main()
