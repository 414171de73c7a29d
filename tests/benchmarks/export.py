"""Measures exported networks: parity with torch, latency, and what 8 bits cost.

    python tests/benchmarks/export.py [--data DIR] [--steps 100] [--size 64] [--network embedded …]

Each network is trained (`embedded`) or trained for one step from random weights (the others: their scores mean
nothing, their speed and parity do), exported with 32 and 8 bits, compared on every validation photo, and timed. The
last table is `sslmask predict` of all test photos from files, without a cache, with torch and from the ONNX file, in
turns. Two CPU cores, or as many as there are. Everything is written to a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ssl_mask
from ssl_mask.reports.tables import Cells, markdown
from ssl_mask.workflows.export import Export

ROOT = Path(__file__).resolve().parents[2]
TRAINED = "embedded"
"""EfficientNet-lite0, whose weights come in a package."""
NETWORKS = (TRAINED, "resnet18", "convnext_atto", "vit_tiny_patch16_224")


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("SSLMASK_CACHE", str(Path(folder, "cache")))
        made = {name: exported(name, options, Path(folder)) for name in options.network}
        print(f"\n{options.size} px, {options.steps} steps for {TRAINED}\n")
        print(markdown(parity_table(made)))
        print(markdown(speed_table(made, options.seconds)))
        if TRAINED in made:
            print(markdown(predict_table(made[TRAINED], options.photos, options.turns)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = ROOT.parent / "shared" / "data" / "mask18"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SSLMASK_MASK18", usual)))
    parser.add_argument("--network", nargs="+", default=NETWORKS, help="names of backbones")
    parser.add_argument("--steps", type=int, default=100, help=f"of {TRAINED}")
    parser.add_argument("--size", type=int, default=64, help="side of the squares in pixels")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a measurement of speed")
    parser.add_argument("--photos", type=int, default=200, help="test photos that are predicted from files")
    parser.add_argument("--turns", type=int, default=3, help="of each way to predict them")
    return parser.parse_args()


def exported(name: str, options: argparse.Namespace, folder: Path) -> Export:
    """A run of a backbone, as ONNX files with 32 and 8 bits."""
    own = name == TRAINED
    config: dict[str, Any] = {
        "preset": "laptop" if own else "none", "runs": str(folder), "name": name, "data": {"root": str(options.data)},
        "model": {"backbone": name, "image_size": options.size, "weights": "auto" if own else "none"},
        "train": {"eval_every": options.steps, "steps": options.steps} if own else {"steps": 1, "batch_size": 4},
        "guard": {"mode": "off", "cards": str(folder / "cards")},
    }  # fmt: skip
    run = ssl_mask.train(ssl_mask.load_config(config), quiet=True)
    assert run is not None
    return ssl_mask.export(run.path, int8=True)


def parity_table(made: dict[str, Export]) -> Cells:
    rows: list[tuple[str, ...]] = []
    for name, export in made.items():
        record, small = export.record, export.int8_record
        assert small is not None and small.int8 is not None and export.int8 is not None
        price, parity, trained = small.int8.price, record.parity, name == TRAINED
        scores = parity.macro_f1_run, parity.macro_f1_exported, small.int8.macro_f1
        rows.append((
            name, f"{record.parameters / 1e6:.1f}", f"{record.macs / 1e6:.0f}", str(parity.images),
            f"{parity.largest:.1e}", f"{small.int8.largest:.2f}", f"{small.int8.other_class / parity.images:.1%}",
            " / ".join(f"{f1:.4f}" for f1 in scores) if trained else "",
            f"{price.value:+.4f} ({price.low:+.4f} to {price.high:+.4f})" if trained else "",
            f"{export.path.stat().st_size / 1e6:.1f} / {export.int8.stat().st_size / 1e6:.1f}",
        ))  # fmt: skip
    header = ("network", "M parameters", "M MACs", "photos", "parity", "int8: largest", "int8: other class",
              "macro-F1 torch / onnx / int8", "price of int8", "MB 32 / 8 bits")  # fmt: skip
    return Cells(header, tuple(rows))


def speed_table(made: dict[str, Export], seconds: float) -> Cells:
    rows: list[tuple[str, ...]] = []
    for name, export in made.items():
        measured = ssl_mask.bench(export.path.parents[1], seconds=seconds, quiet=True)
        rows += [
            (name, s.engine, s.device, f"{s.p50_ms:.1f}", f"{s.p95_ms:.1f}", str(s.best_batch),
             f"{s.images_per_second:.0f}", "" if s.memory_bytes is None else f"{s.memory_bytes / 1e6:.0f}")
            for s in measured.speeds
        ]  # fmt: skip
    header = ("network", "engine", "device", "p50 ms", "p95 ms", "best batch", "images/s", "memory MB")
    return Cells(header, tuple(rows))


def predict_table(export: Export, photos: int, turns: int) -> Cells:
    """Test photos a second, from files to a table of probabilities; the ways take turns."""
    rows = ssl_mask.predict_exported(export.path, write=False, guard="off", quiet=True).manifest
    own = export.path.parent / "photos"
    own.mkdir()
    for number, path in enumerate(rows.files[:photos]):
        shutil.copyfile(path, own / f"{number:05d}{Path(path).suffix}")
    asked: dict[str, Any] = {"images": own, "write": False, "guard": "off", "quiet": True}
    assert export.int8 is not None
    small = export.int8
    ways: dict[str, Callable[[str], Any]] = {
        "torch": lambda cache: ssl_mask.predict([export.path.parents[1]], cache=cache, **asked),
        "onnxruntime": lambda cache: ssl_mask.predict_exported(export.path, cache=cache, **asked),
        "onnxruntime int8": lambda cache: ssl_mask.predict_exported(small, cache=cache, **asked),
    }
    lines: list[tuple[str, ...]] = []
    for cache, told in (("off", "decoded from files"), ("auto", "from the cache of decoded images")):
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(turns + 1):
            for name, predict in ways.items():
                start = time.perf_counter()
                predict(cache)
                if turn:  # the first one warms up
                    times[name].append(time.perf_counter() - start)
        base = statistics.median(times["torch"])
        for name, each in times.items():
            ratios = [a / b for a, b in zip(times["torch"], each, strict=True)]
            lines.append((told, name, f"{min(photos, len(rows)) / statistics.median(each):.0f}",
                          f"{statistics.median(ratios):.2f}", f"{base:.2f}"))  # fmt: skip
    return Cells(("photos", "predict with", "photos/s", "times torch", "seconds of torch"), tuple(lines))


if __name__ == "__main__":
    main()
