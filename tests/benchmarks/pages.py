"""Size of the pages, and what they cost: seconds and peak memory of report, review and explore by number of images.

    python tests/benchmarks/pages.py [--images 1000 10000 100000] [--px 96] [--verbs report review explore] [--out DIR]

The images are soft random spots, drawn once into `--out`, four a group; three quarters are labeled, the others are for
testing. The run was never trained: its predictions are random and right in about half of the cases, with every third
group predicted as another class. What `explore` costs at 100,000 images is nearly all the search for near copies,
an hour and a half (`guard_scale.py`): leave it out there, or wait.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
VERBS = ("report", "review", "explore")
LABELS = ("--set", "data.layout=table", "--set", "data.options.labels=[kind, cover]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--px", type=int, default=96)
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=VERBS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out/pages"))
    options = parser.parse_args()
    table = Table("page", "images", "size, MB", "seconds", "CPU seconds", "peak memory, MB")
    for count in options.images:
        home = options.out / str(count)
        drawn(home / "data", count, options.px)
        with get_context("spawn").Pool(
            1
        ) as other:  # what imports torch is another process: a child's peak begins at ours
            run = other.apply(untrained, (home, count))
        for verb in options.verbs:
            source = ["--data", str(home / "data"), *LABELS] if verb == "explore" else [str(run)]
            table.add_row(verb, f"{count:,}", *cost(verb, source, home / f"{verb}.html"))
    Console(width=100).print(table)


def drawn(root: Path, count: int, px: int) -> None:
    """Images of soft spots and their table; no two look alike."""
    if (root / "labels.csv").is_file():
        return
    root.mkdir(parents=True, exist_ok=True)
    rows = [["image", "kind", "cover", "group", "split"]]
    for i in track(range(count), f"Drawing {count:,} images"):
        spots = np.random.default_rng(i).integers(40, 200, (6, 8, 3)).astype(np.float32)
        pixels = cv2.resize(spots, (px, px), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / f"{i:06d}.jpg"), np.clip(pixels, 0, 255).astype(np.uint8))
        label = ["cat", "dog"][i // 4 % 2], ["no", "yes"][i % 2]
        part = ["train", "test"][i // 4 % 4 == 3]
        rows.append([f"{i:06d}.jpg", *(label if part == "train" else ("", "")), f"p{i // 4}", part])
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def untrained(home: Path, count: int) -> Path:
    """A run that says something of every image."""
    sys.path.insert(0, str(ROOT / "tests"))
    from page_runs import make_doubted_run  # type: ignore[import-not-found]  # a helper of tests, which are not checked

    run = home / "runs/run"
    if not run.is_dir():
        make_doubted_run(run, home / "data", names=[f"{i:06d}.jpg" for i in range(count)])
    return run


def cost(verb: str, source: Sequence[str], page: Path) -> tuple[str, str, str, str]:
    """Size, seconds, CPU seconds and peak memory of one command."""
    words = [sys.executable, "-m", "ssl_mask", verb, *source, "--out", str(page)]
    began, child = time.perf_counter(), subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(words)}")
    took = time.perf_counter() - began
    size, memory = page.stat().st_size / 1e6, used.ru_maxrss / 1e3
    return f"{size:.2f}", f"{took:.1f}", f"{used.ru_utime + used.ru_stime:.1f}", f"{memory:,.0f}"


if __name__ == "__main__":
    main()
