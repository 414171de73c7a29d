"""One process against two: how far weights, averaged weights, validation predictions and losses are apart.

    python tests/benchmarks/one_or_two.py                 every job, about two minutes
    python tests/benchmarks/one_or_two.py --only resumed  some of them

Two processes on a CPU (gloo) share each batch as two GPUs do. Each job trains a tiny network on drawn images: once
alone, once on two processes that are forked from this one, so that nothing is imported twice. Sums are taken in another
order, so the figures are rounding, which grows from step to step. `predict` has the same weights on both sides.

Then what goes wrong on both, or on one of two, through the command line: both must end with the same exit code, and one
of them tells why.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
import yaml

from ssl_mask.cli.app import main as main_of_cli
from ssl_mask.config import load_config, merge
from ssl_mask.demo_data.draw import draw_demo
from ssl_mask.errors import StorageError
from ssl_mask.runs.find import find_run
from ssl_mask.runs.view import Run
from ssl_mask.training import loop
from ssl_mask.workflows.folds import train_folds
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.pseudo import pseudo
from ssl_mask.workflows.pseudo_folds import pseudo_folds
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
    "train, frozen backbone": ("train", {"model": {"tuning": "probe"}}),
    "train, unused weights": ("train", {"model": {"backbone": "test_convnext", "pooling": "gem"}}),
    "resumed": ("resumed", {}),
    "uda": ("uda", using("uda", tsa="linear")),
    "uda, teacher ema": ("uda", using("uda", teacher="ema")),
    "uda, weak in training mode": ("uda", using("uda", weak_mode="train")),
    "uda, aligned, dense": ("uda", using("uda", alignment="prior", dense=True)),
    "uda resumed, teacher ema": ("resumed", using("uda", teacher="ema")),
    "fixmatch": ("uda", using("fixmatch", masks="factors", threshold=0.4)),
    "fixmatch, teacher ema": ("uda", using("fixmatch", teacher="ema")),
    "flexmatch": ("uda", using("flexmatch")),
    "adamatch": ("uda", using("adamatch")),
    "freematch": ("uda", using("freematch", fairness=0.1)),
    "freematch, teacher ema": ("uda", using("freematch", teacher="ema")),
    "softmatch": ("uda", using("softmatch")),
    "softmatch, teacher ema": ("uda", using("softmatch", teacher="ema")),
    "pseudo": (
        "pseudo",
        {**POOL, "pseudo": {"rounds": 1, "rule": "percentile"}, "guard": {"mode": "on", "drop_overlap": True}},
    ),
    "folds": ("folds", {}),
    "pseudo by folds": ("rounds", {**POOL, "pseudo": {"rounds": 1, "rule": "percentile"}}),
    "predict": ("predict", {}),
}
"""What is run, with which settings. `predict` comes after `train`."""
VERBS: dict[str, Callable[..., object]] = {
    "train": train, "uda": uda, "pseudo": pseudo, "folds": partial(train_folds, folds=2, refit=True),
    "rounds": partial(pseudo_folds, folds=2, refit=True),
}  # fmt: skip
WITHIN = {"pseudo": "rounds/01", "folds": "fold-1", "rounds": "rounds/01/fold-1"}
"""Verb -> the run inside its study that is compared."""


def run_job(job: str, faces: Path, runs: Path) -> None:
    """Run one job in this process, alone or as one of two."""
    verb, settings = JOBS[job]
    name = folder_of(job)
    if verb == "predict":
        predict([runs.parent / "1" / "train"], data=faces, out=runs / name, tta=True, guard="off", quiet=True)
        return
    here = {"data": {"root": str(faces)}, "runs": str(runs), "name": name, "guard": {"cards": str(runs / "cards")}}
    config = load_config(merge(merge(BASE, settings), here))
    if verb == "resumed":
        half = config.model_copy(update={"train": config.train.model_copy(update={"steps": 2})})
        (uda if config.algorithm.name != "supervised" else train)(half, quiet=True)
        train(config, resume=runs / name, length={"steps": 4}, quiet=True)
        return
    VERBS[verb](config, quiet=True)


def run_jobs(jobs: Iterable[str], faces: Path, runs: Path, rank: int) -> None:
    """What each process does."""
    for job in jobs:
        began = time.monotonic()
        run_job(job, faces, runs)
        if rank == 0:
            print(f"{runs.name}: {job} {time.monotonic() - began:.1f} s", file=sys.stderr)


def folder_of(job: str) -> str:
    return job.replace(", ", "-").replace(" ", "-")


def run_on(ranks: int, work: Callable[[int], object], *, limit: float = 600.0) -> list[int | None]:
    """Call `work(rank)` in that many forked processes, as `torchrun` starts them; returns their exit codes.

    Args:
        limit: seconds after the first one has ended, or for all.
    """
    meeting = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]

    def child(rank: int) -> None:
        os.environ |= {"ACCELERATE_USE_CPU": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(meeting.port)}
        os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "True"}
        if ranks > 1:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
        work(rank)

    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=child, args=(rank,)) for rank in range(ranks)]
    for process in processes:
        process.start()
    multiprocessing.connection.wait([p.sentinel for p in processes], timeout=limit)
    for process in processes:
        process.join(60)
        if process.is_alive():
            process.kill()
            process.join()
    return [p.exitcode for p in processes]


# ---- what goes wrong ----


def break_an_image(faces: Path) -> None:
    next((faces / "train/images").rglob("normal.jpg")).write_bytes(b"no picture")


def fail_at_step_two(failing: int) -> None:
    """One process cannot write, read or compute any more."""
    real = loop.seed_step

    def seed_step(seed: int, step: int, rank: int) -> None:
        if step == 1 and rank == failing:
            raise StorageError(f"No space left for process {rank}.")
        real(seed, step, rank)

    loop.seed_step = seed_step


FAULTS: dict[str, tuple[list[str], Callable[[Path], object] | None, int | None]] = {
    "no such setting": (["--set", "optim.lrr=1"], None, None),
    "no data": (["--set", "data.root=nowhere"], None, None),
    "an unreadable image": ([], break_an_image, None),
    "a name that is taken": (["--name", "taken"], None, None),
    "the first process fails": ([], None, 0),
    "the second process fails": ([], None, 1),
}
"""What goes wrong -> flags of `sslmask train`, what is done to the data before, and which process fails later."""


def end_of(fault: str, faces: Path, folder: Path) -> dict[str, Any]:
    """How two processes end: exit codes, seconds, and what they print."""
    flags, damage, failing = FAULTS[fault]
    folder.mkdir()
    own = Path(shutil.copytree(faces, folder / "faces"))
    (folder / "runs/taken").mkdir(parents=True)
    (folder / "runs/taken/run_card.md").write_text("mine")
    if damage is not None:
        damage(own)
    (folder / "config.yaml").write_text(yaml.safe_dump(BASE))

    def command(rank: int) -> None:
        os.chdir(folder)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(folder / f"told-{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
        sys.argv = ["sslmask", "train", "--config", "config.yaml", "--data", str(own), *flags]
        if failing is not None:
            fail_at_step_two(failing)
        main_of_cli()

    began = time.monotonic()
    codes = run_on(2, command)
    told = "".join((folder / f"told-{rank}").read_text() for rank in (0, 1))
    print(f"{fault} {time.monotonic() - began:.1f} s", file=sys.stderr)
    return {"exit codes": codes, "seconds": time.monotonic() - began, "errors": told.count("Error: "),
            "tracebacks": told.count("Traceback"), "told": told}  # fmt: skip


# ---- how far apart ----


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
    first, second = (find_run(p / WITHIN.get(JOBS[job][0], ""), p.parent) for p in (one, two))
    states = [torch.load(run.last, weights_only=True) for run in (first, second)]
    curves = [losses_of(Run(run)) for run in (first, second)]
    by_folds = JOBS[job][0] in {"folds", "rounds"}
    tables = [run.path.parent / "oof.parquet" if by_folds else run.validation for run in (first, second)]
    return {
        "weights": apart(states[0]["model"], states[1]["model"]),
        "ema": apart(states[0]["ema"], states[1]["ema"]),
        "validation": float(np.abs(np.subtract(*map(probabilities, tables))).max()),
        "loss": float(np.abs(curves[0] - curves[1]).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(JOBS), choices=JOBS, metavar="JOB", help=", ".join(JOBS))
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=FAULTS, metavar="FAULT")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # a process forked from one with OpenCV's threads waits for them for ever
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ["SSLMASK_CACHE"] = str(work / "cache")
        faces = draw_demo(work / "faces", persons=12, seed=0).root
        for ranks in (1, 2):
            codes = run_on(ranks, partial(run_jobs, asked.only, faces, work / str(ranks)))
            if any(codes):
                sys.exit(f"{ranks} processes failed: exit codes {codes}")
        rows = {job: differences(job, *(work / str(n) / folder_of(job) for n in (1, 2))) for job in asked.only}
        ends = {fault: end_of(fault, faces, work / folder_of(fault)) for fault in asked.faults}
    print(f"| {'job':28} | weights | averaged | validation | losses |\n| --- | --- | --- | --- | --- |")
    for job, row in rows.items():
        print(f"| {job:28} | " + " | ".join("" if v is None else f"{v:.1e}" for v in row.values()) + " |")
    print(f"\n| {'fault':26} | exit codes | errors told | tracebacks | seconds |\n| --- | --- | --- | --- | --- |")
    for fault, end in ends.items():
        print(f"| {fault:26} | {end['exit codes']} | {end['errors']} | {end['tracebacks']} | {end['seconds']:.1f} |")
    if asked.json is not None:
        asked.json.write_text(json.dumps({"differences": rows, "faults": ends}, indent=1))


if __name__ == "__main__":
    main()
