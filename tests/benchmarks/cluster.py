"""Measures `--engine ray`: are the bytes those of one process, what one more process brings, what a photo costs.

    python tests/benchmarks/cluster.py [--persons 120] [--images 512] [--workers 1 2]

Draws a data set, trains a few steps, then predicts, embeds and audits its unlabeled images in this process alone, and
on a local Ray of as many processes as `--workers` says, one thread each. Ray is started, and its processes have loaded
the network, before the clock runs: on a large pool both are nothing. CPU seconds are those of one process alone, so a
busy machine hardly changes them. Everything is written to a temporary folder.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.update(RAY_worker_niceness="0")  # +15 in Ray: on a busy machine its processes stand behind all others

Work = Callable[[Path, str], list[Path]]
"""Works in a folder with an engine; returns the files whose bytes count."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", type=int, default=120)
    parser.add_argument("--images", type=int, default=512, help="unlabeled images at most")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes of Ray")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sslmask-cluster-") as folder:
        measure(Path(folder), options.persons, options.images, options.workers)


def measure(root: Path, persons: int, images: int, counts: list[int]) -> None:
    from ssl_mask import cluster

    works = prepared(root, persons, images)
    names = [path.name for path in (root / "faces" / "extra").iterdir()]
    print(f"{len(names)} images, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'verb':10}{'processes':>12}{'images/s':>10}{'ms of CPU an image':>20}  bytes")
    alone = {name: timed(work, root / "alone" / name, "local") for name, work in works.items()}
    for name, (seconds, cpu, _) in alone.items():
        print(f"{name:10}{'alone':>12}{len(names) / seconds:10.1f}{1000 * cpu / len(names):20.1f}  -", flush=True)
    for count in counts:
        library = cluster.ray()
        library.init(num_cpus=count, log_to_driver=False, logging_level=logging.ERROR)
        timed(works["predict"], root / f"first-{count}", "ray")  # processes start, and load the network
        for name, work in works.items():
            seconds, _, found = timed(work, root / f"ray-{count}" / name, "ray")
            same = "equal" if found == alone[name][2] else "DIFFERENT"
            print(f"{name:10}{f'Ray {count}':>12}{len(names) / seconds:10.1f}{'':20}  {same}", flush=True)
        library.shutdown()


def timed(work: Work, folder: Path, engine: str) -> tuple[float, float, list[bytes]]:
    """Seconds, CPU seconds of this process, and the bytes that were written."""
    folder.mkdir(parents=True)
    os.environ["SSLMASK_CACHE"] = str(folder / "cache")  # nothing is known from before
    wall, cpu = time.perf_counter(), time.process_time()
    files = work(folder, engine)
    return time.perf_counter() - wall, time.process_time() - cpu, [file.read_bytes() for file in files]


def prepared(root: Path, persons: int, images: int) -> dict[str, Work]:
    """A drawn data set, a network that was trained a little, and what is done with them."""
    from ssl_mask.config import load_config
    from ssl_mask.demo_data.draw import draw_demo
    from ssl_mask.workflows.audit import audit
    from ssl_mask.workflows.embed import embed
    from ssl_mask.workflows.predict import predict
    from ssl_mask.workflows.train import train

    os.environ["SSLMASK_CACHE"] = str(root / "cache")
    faces = draw_demo(root / "faces", persons=persons, seed=0).root
    for path in sorted((faces / "extra").iterdir())[images:]:
        path.unlink()
    settings = {
        "preset": "laptop", "runs": str(root / "runs"), "name": "run", "guard": {"mode": "off"},
        "data": {"root": str(faces)}, "train": {"steps": 2, "eval_every": 2, "reference": "off"},
    }  # fmt: skip
    train(load_config(settings), quiet=True)
    run, extra = root / "runs" / "run", faces / "extra"
    config = load_config({"data": {"root": str(faces)}}, preset="laptop")

    def predicted(folder: Path, engine: str) -> list[Path]:
        predict([run], images=extra, out=folder / "out", guard="off", cache="off", engine=engine, quiet=True)  # type: ignore[arg-type]
        return [folder / "out" / name for name in ("predictions.csv", "probabilities.parquet")]

    def embedded(folder: Path, engine: str) -> list[Path]:
        return [embed(run, images=extra, out=folder / "out.parquet", engine=engine, quiet=True)]  # type: ignore[arg-type]

    def audited(folder: Path, engine: str) -> list[Path]:
        found = audit(
            config, {"unlabeled": [str(extra)]}, out=folder / "out", processes=1 if engine == "local" else None,
            engine=engine, quiet=True,  # type: ignore[arg-type]
        )  # fmt: skip
        return [found.report, *found.cards]

    return {"predict": predicted, "embed": embedded, "audit": audited}


if __name__ == "__main__":
    main()
