"""What selecting pseudo-labels from a very large stored pool costs: seconds and peak memory of each rule.

    python tests/benchmarks/pseudo_scale.py [--rows 1000000] [--shards 10]

Synthetic predictions (Dirichlet of 18 joint classes, a random digest, a path of 32 characters) are written as shards to
a temporary folder. Each rule runs in a process of its own, on all rows and on a tenth of them; the line through the two
is drawn on to 10^8 rows. Percentile and thresholds select a share of the pool (a fifth to a half): their memory grows
with it. That of top k and of the capped share does not once a few blocks are read, so their line is too steep: see
--rows 5000000. "imports" does nothing but start.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ssl_mask.inference.shards import shard_name
from ssl_mask.pseudo_labeling.streaming import count_predicted, select_rows
from ssl_mask.selection.precision import precision_thresholds
from ssl_mask.selection.rules import above, quotas, top_prediction

CLASSES = tuple(f"class {i}" for i in range(18))
CONTEXT = multiprocessing.get_context("spawn")
SECONDS, MEGABYTES, FAR = 10.0, 1000.0, 10**8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=10)
    options = parser.parse_args()
    sizes = (options.rows // 10, options.rows)
    with tempfile.TemporaryDirectory() as root:
        folders = [Path(root) / str(size) for size in sizes]
        for folder, size in zip(folders, sizes, strict=True):
            # In a child too: a process inherits the peak of the one that starts it.
            writer = CONTEXT.Process(target=write, args=(folder, size, options.shards))
            writer.start()
            writer.join()
        show({name: [measure(rule, folder) for folder in folders] for name, rule in RULES.items()}, sizes)


def write(folder: Path, rows: int, shards: int) -> None:
    folder.mkdir()
    for number, part in enumerate(np.array_split(np.arange(rows), shards)):
        rng = np.random.default_rng(number)
        probs = draw(rng, len(part))
        columns: dict[str, object] = {
            "path": [f"pool/photos/{i:016d}.jpg" for i in part.tolist()],
            "sha256": [rng.bytes(32).hex() for _ in range(len(part))],
        }
        columns |= {f"p/{name}": probs[:, i] for i, name in enumerate(CLASSES)}
        pq.write_table(pa.table(columns), folder / shard_name(number, shards), row_group_size=100_000)


def draw(rng: np.random.Generator, rows: int) -> NDArray[np.float32]:
    """Probabilities of which about a quarter are ≥ 0.95."""
    return rng.dirichlet(np.full(len(CLASSES), 0.02), rows).astype(np.float32)


def nothing(folder: Path) -> int:  # noqa: ARG001 - the floor of the others
    return 0


def threshold(folder: Path) -> int:
    return len(select_rows(folder, CLASSES, decide=lambda probs, _: above(top_prediction(probs), 0.95)).paths)


def precision(folder: Path) -> int:
    rng = np.random.default_rng(0)
    probs = draw(rng, 4000)
    true = np.minimum((probs.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1), len(CLASSES) - 1)  # calibrated
    thresholds = precision_thresholds(top_prediction(probs), true, len(CLASSES), 0.95).thresholds
    return len(select_rows(folder, CLASSES, decide=lambda probs, _: above(top_prediction(probs), thresholds)).paths)


def top_k(folder: Path) -> int:
    return len(select_rows(folder, CLASSES, limits=1000).paths)


def percentile(folder: Path) -> int:
    return len(select_rows(folder, CLASSES, limits=quotas(count_predicted(folder, CLASSES), 0.2)).paths)


def percentile_capped(folder: Path) -> int:
    limits = np.minimum(quotas(count_predicted(folder, CLASSES), 0.2), 1000)
    return len(select_rows(folder, CLASSES, limits=limits).paths)


RULES: dict[str, Callable[[Path], int]] = {
    "imports": nothing,
    "threshold 0.95": threshold,
    "precision 0.95": precision,
    "top 1000 per class": top_k,
    "percentile 0.2": percentile,
    "percentile 0.2, cap 1000": percentile_capped,
}


def measure(rule: Callable[[Path], int], folder: Path) -> tuple[int, float, float]:
    """Rows selected, seconds, and megabytes at the peak, in a fresh process."""
    receive, send = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=run, args=(rule, folder, send))
    child.start()
    send.close()
    result: tuple[int, float, float] = receive.recv()
    child.join()
    return result


def run(rule: Callable[[Path], int], folder: Path, send: Connection) -> None:
    began = time.perf_counter()
    selected = rule(folder)
    seconds = time.perf_counter() - began
    send.send((selected, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000))


def show(results: dict[str, list[tuple[int, float, float]]], sizes: tuple[int, int]) -> None:
    table = Table("rule", "rows", "selected", "seconds", "MB at peak", "at 10⁸ rows")
    for name, measured in results.items():
        ahead = (FAR - sizes[1]) / (sizes[1] - sizes[0])
        minutes, gigabytes = ((b + (b - a) * ahead) for a, b in zip(measured[0][1:], measured[1][1:], strict=True))
        for size, (selected, seconds, megabytes) in zip(sizes, measured, strict=True):
            far = f"{minutes / 60:.1f} min, {gigabytes / 1000:.1f} GB" if size == sizes[1] else ""
            table.add_row(name, f"{size:,}", f"{selected:,}", f"{seconds:.2f}", f"{megabytes:.0f}", far)
    Console().print(table)
    Console().print(f"Goal at {sizes[1]:,} rows: at most {SECONDS:.0f} s and {MEGABYTES:.0f} MB for each rule.")


if __name__ == "__main__":
    main()
