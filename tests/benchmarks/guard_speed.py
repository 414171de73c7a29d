"""What the guard costs: images/s of the index, ms a pair of the verifier, a second audit of unchanged pools.

    python tests/benchmarks/guard_speed.py [--data DIR] [--only index verify again]

- index: `fingerprint` of photos of mask18 at 200 and 500 px (bicubic, JPEG of quality 90), on one and two processes,
  and the raw floor: PIL's decode to RGB alone. They take turns in one process; the ratio is of CPU time
- verify: `similarity` of altered copies with their originals and of photos of different persons
- again: all of eval/ against a pool of 10,000 files (photos of train/ and extra/ at 96 px, each with its own crop and
  tone), audited twice with one cache; the second time nothing has changed

Everything is written to a temporary folder. `guard_scale.py` measures growth with the pools.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from guard_battery import write_copies
from PIL import Image
from rich.console import Console
from rich.table import Table

from ssl_mask.data.images import decode
from ssl_mask.guard.copies.alterations import crop, encode, tone
from ssl_mask.guard.copies.fingerprints import fingerprint
from ssl_mask.guard.copies.matching import match
from ssl_mask.guard.copies.verification import View, similarity, view

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("index", "verify", "again")
GOALS = {200: 790, 500: 200}  # images/s a core


class Line(NamedTuple):
    measure: str
    value: str
    goal: str = ""


def main() -> None:
    options = arguments()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder, lines = Path(name), []
        if "index" in options.only:
            lines += [line for side in GOALS for line in index(options.data, folder / str(side), side, options.blocks)]
        if "verify" in options.only:
            lines += verifier(options.data, folder / "copies")
        if "again" in options.only:
            lines += again(options.data, folder / "again")
    show(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = ROOT.parent / "shared" / "data" / "mask18"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SSLMASK_MASK18", usual)))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--blocks", type=int, default=5, help="pairs of blocks of the index")
    return parser.parse_args()


def photos(data: Path) -> list[Path]:
    return sorted((data / "train" / "images").glob("*/*.jpg")) + sorted((data / "extra").glob("*.jpg"))


# ---- the index ----


def index(data: Path, folder: Path, side: int, blocks: int) -> list[Line]:
    """As many photos as the goal allows in about a second."""
    folder.mkdir()
    files = [folder / f"{n}.jpg" for n in range(GOALS[side])]
    for file, photo in zip(files, photos(data), strict=False):
        larger = cv2.resize(decode(photo), (side, side), interpolation=cv2.INTER_CUBIC)
        file.write_bytes(encode(larger, ".jpg", 90))
    ours, floor, two = [], [], []
    for _ in range(blocks):
        ours.append(len(files) / cpu(lambda: fingerprint(files, cache=None)))
        floor.append(len(files) / cpu(lambda: [np.asarray(Image.open(file).convert("RGB")) for file in files]))
        two.append(len(files) / wall(lambda: fingerprint(files, cache=None, processes=2)))
    ratio = statistics.median(a / b for a, b in zip(ours, floor, strict=True))
    return [
        Line(f"index at {side} px, images/s of CPU time", f"{statistics.median(ours):.0f}", f">= {GOALS[side]}"),
        Line(f"decode alone at {side} px, images/s", f"{statistics.median(floor):.0f}"),
        Line(f"index / decode at {side} px", f"{ratio:.2f}"),
        Line(
            f"index at {side} px, two processes, images/s of wall time",
            f"{statistics.median(two):.0f}",
            f">= {GOALS[side]}",
        ),
    ]


def cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def wall(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


# ---- the verifier ----


def compare(views: Sequence[View], others: Sequence[int]) -> list[float]:
    return [similarity(views[n], views[j]) for n, j in enumerate(others)]


def verifier(data: Path, folder: Path) -> list[Line]:
    """Views are made once an image, so they are counted apart."""
    some = photos(data)[::15][:200]
    copies = write_copies(some, folder, ["crop 10 %"])
    thumbs = fingerprint([*some, *(copy.path for copy in copies)], cache=None).thumbs
    views = [view(thumb) for thumb in thumbs]
    pairs: dict[str, Sequence[int]] = {"a copy": range(200, 400), "another face": [(n + 7) % 200 for n in range(200)]}
    lines = [Line("view of a thumb, ms", f"{cpu(lambda: [view(thumb) for thumb in thumbs]) / len(thumbs) * 1e3:.1f}")]
    for name, others in pairs.items():
        seconds = cpu(partial(compare, views, others))
        lines.append(Line(f"verifier, a pair with {name}, ms", f"{seconds / 200 * 1e3:.1f}", "<= 9"))
    return lines


# ---- a second audit ----


def again(data: Path, folder: Path, count: int = 10_000) -> list[Line]:
    folder.mkdir()
    sources, rng = photos(data), np.random.default_rng(0)
    files = [folder / f"{n}.jpg" for n in range(count)]
    for n, file in enumerate(files):
        changed = tone(crop(decode(sources[n % len(sources)]), rng, share=0.2), rng, gain=0.9)
        small = cv2.resize(changed, (96, 96), interpolation=cv2.INTER_AREA)
        file.write_bytes(encode(small, ".jpg", 85))
    protected = sorted((data / "eval" / "images").glob("*.jpg"))
    time.sleep(2.5)  # a file that was written a moment ago is not yet trusted to stay
    audit = partial(audited, protected, files, folder / "cache")
    first, second = wall(audit), wall(audit)
    return [
        Line(f"audit of {len(protected)} x {count}, first, seconds", f"{first:.1f}"),
        Line(f"audit of {len(protected)} x {count}, again, seconds", f"{second:.2f}"),
        Line("first / again", f"{first / second:.0f}", ">= 20"),
    ]


def audited(protected: Sequence[Path], pool: Sequence[Path], cache: Path) -> int:
    both = [fingerprint(files, cache=cache, processes=2) for files in (protected, pool)]
    return len(match(both[0], both[1], cache=cache, processes=2))


# ---- the table ----


def show(lines: Sequence[Line]) -> None:
    table = Table("measure", "value", "goal")
    for line in lines:
        table.add_row(*line)
    Console().print(table)


if __name__ == "__main__":
    main()
