"""One process against two: how far weights, averaged weights, validation predictions and losses are apart.

    python tests/benchmarks/one_or_two.py                 every job, about two minutes
    python tests/benchmarks/one_or_two.py --only resumed  some of them

Two processes on a CPU (gloo) share each batch as two GPUs do. Each job trains a tiny network on drawn images: once
alone, once on two processes that are forked from this one, so that nothing is imported twice. Sums are taken in another
order, so the figures are rounding, which grows from step to step. `predict` has the same weights on both sides.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ssl_mask.config import load_config, merge
from ssl_mask.demo_data.draw import draw_demo
from ssl_mask.runs.run import Run, find_run
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.pseudo import pseudo
from ssl_mask.workflows.train import train
from ssl_mask.workflows.uda import uda

BASE: dict[str, Any] = {
    "preset": "none",
    "model": {"backbone": "test_efficientnet", "weights": "none", "image_size": 64, "embedding_size": 16},
    "optim": {"optimizer": "sgd", "lr": 0.0005, "warmup": 0},
    "train": {"steps": 4, "batch_size": 16, "eval_every": 2, "log_every": 1, "workers": 0},
    "data": {"folds": 2},
    "guard": {"mode": "off"},
}
POOL = {"data": {"unlabeled": ["extra"]}}


def using(name: str, **more: Any) -> dict[str, Any]:
    """A consistency algorithm whose targets count for some images from the first step on."""
    return {**POOL, "algorithm": {"name": name, "threshold": 0.1, "momentum": 0.5, **more}}


JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "train": ("train", {}),
    "train, no batch norm": ("train", {"model": {"backbone": "test_vit", "neck": "none", "image_size": 160}}),
    "train, AdamW and clipping": ("train", {"optim": {"optimizer": "adamw", "lr": 1e-4, "clip_norm": 1.0}}),
    "train, 2 parts a step": ("train", {"train": {"accumulate": 2}}),
    "train, frozen backbone": ("train", {"optim": {"backbone_lr_scale": 0.0}, "model": {"freeze_norm": True}}),
    "train, unused weights": ("train", {"model": {"backbone": "test_convnext", "pooling": "gem"}}),
    "resumed": ("resumed", {}),
    "uda": ("uda", using("uda", tsa="linear")),
    "uda, teacher ema": ("uda", using("uda", teacher="ema")),
    "uda, weak in training mode": ("uda", using("uda", weak_mode="train")),
    "uda, aligned, dense": ("uda", using("uda", alignment="prior", dense=True)),
    "uda resumed, teacher ema": ("resumed", using("uda", teacher="ema")),
    "fixmatch": ("uda", using("fixmatch", masks="factors", threshold=0.4)),
    "fixmatch, teacher ema": ("uda", using("fixmatch", teacher="ema")),
    "freematch": ("uda", using("freematch", fairness=0.1)),
    "freematch, teacher ema": ("uda", using("freematch", teacher="ema")),
    "softmatch": ("uda", using("softmatch")),
    "softmatch, teacher ema": ("uda", using("softmatch", teacher="ema")),
    "pseudo": (
        "pseudo",
        {**POOL, "pseudo": {"rounds": 1, "rule": "percentile"}, "guard": {"mode": "on", "drop_overlap": True}},
    ),
    "predict": ("predict", {}),
}
"""What is run, with which settings. `predict` comes after `train`."""
VERBS: dict[str, Callable[..., Run | None]] = {"train": train, "uda": uda, "pseudo": pseudo}


def run_job(job: str, faces: Path, runs: Path) -> None:
    """Run one job in this process, alone or as one of two."""
    verb, settings = JOBS[job]
    name = folder_of(job)
    if verb == "predict":
        predict([runs.parent / "1" / "train"], data=faces, out=runs / name, tta=True, guard="off", quiet=True)
        return
    here = {"data": {"root": str(faces)}, "runs": str(runs), "name": name}
    config = load_config(merge(merge(BASE, settings), here))
    if verb == "resumed":
        half = config.model_copy(update={"train": config.train.model_copy(update={"steps": 2})})
        (uda if config.algorithm.name != "supervised" else train)(half, quiet=True)
        train(config, resume=runs / name, length={"steps": 4}, quiet=True)
        return
    VERBS[verb](config, quiet=True)


def folder_of(job: str) -> str:
    return job.replace(", ", "-").replace(" ", "-")


def one_rank(rank: int, ranks: int, port: int, jobs: Iterable[str], faces: Path, runs: Path) -> None:
    """A forked process: rank `rank` of `ranks` runs all jobs. It ends at the first error."""
    os.environ |= {"ACCELERATE_USE_CPU": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if ranks > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
    try:
        for job in jobs:
            run_job(job, faces, runs)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def run_on(ranks: int, jobs: Iterable[str], faces: Path, runs: Path, *, limit: float = 600.0) -> None:
    """Run all jobs on `ranks` processes; ends them all when one fails, or after `limit` seconds."""
    fork = multiprocessing.get_context("fork")
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [fork.Process(target=one_rank, args=(r, ranks, port, list(jobs), faces, runs)) for r in range(ranks)]
    for process in processes:
        process.start()
    multiprocessing.connection.wait([p.sentinel for p in processes], timeout=limit)
    for process in processes:
        process.join(30)
        if process.is_alive():
            process.kill()
    if any(p.exitcode for p in processes):
        sys.exit(f"{ranks} processes failed: exit codes {[p.exitcode for p in processes]}")


def apart(first: Mapping[str, torch.Tensor] | None, second: Mapping[str, torch.Tensor] | None) -> float | None:
    """The largest difference of two sets of weights."""
    if first is None or second is None:
        return None
    return max(float((v.double() - second[k].double()).abs().max()) for k, v in first.items())


def probabilities(table: Path) -> Any:
    return pd.read_parquet(table).filter(like="p/").to_numpy()


def losses_of(run: Run) -> Any:
    return np.asarray([r["loss"] for r in run.history if r["kind"] == "train"])


def differences(job: str, one: Path, two: Path) -> dict[str, float | None]:
    """Figures of one job; a missing figure does not exist for it."""
    found: dict[str, float | None] = dict.fromkeys(["weights", "ema", "validation", "loss"])
    if JOBS[job][0] == "predict":
        tables = [probabilities(next(p.glob("*.parquet"))) for p in (one, two)]
        return found | {"validation": float(np.abs(tables[0] - tables[1]).max())}
    first, second = (find_run(p / "rounds/01" if JOBS[job][0] == "pseudo" else p, p.parent) for p in (one, two))
    states = [torch.load(run.last, weights_only=True) for run in (first, second)]
    curves = [losses_of(Run(run)) for run in (first, second)]
    return {
        "weights": apart(states[0]["model"], states[1]["model"]),
        "ema": apart(states[0]["ema"], states[1]["ema"]),
        "validation": float(np.abs(probabilities(first.validation) - probabilities(second.validation)).max()),
        "loss": float(np.abs(curves[0] - curves[1]).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(JOBS), choices=JOBS, metavar="JOB", help=", ".join(JOBS))
    parser.add_argument("--json", type=Path, help="write the figures here too")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ["SSLMASK_CACHE"] = str(work / "cache")
        faces = draw_demo(work / "faces", persons=12, seed=0).root
        for ranks in (1, 2):
            run_on(ranks, asked.only, faces, work / str(ranks))
        rows = {job: differences(job, *(work / str(n) / folder_of(job) for n in (1, 2))) for job in asked.only}
    print(f"| {'job':28} | weights | averaged | validation | losses |\n| --- | --- | --- | --- | --- |")
    for job, row in rows.items():
        print(f"| {job:28} | " + " | ".join("" if v is None else f"{v:.1e}" for v in row.values()) + " |")
    if asked.json is not None:
        asked.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
