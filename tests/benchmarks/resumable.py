"""Runs of a benchmark as processes of one thread, each result stored: what is in the store is not redone."""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_mask.config import RunConfig

Entry = dict[str, Any]


def run_all(
    script: str, store: Path, jobs: Sequence[Entry], words: Sequence[str], at_once: int, python: str = sys.executable
) -> list[Entry]:
    """The entry of each job, in order: stored, or printed as the last line of `script words --child <job>`.

    Args:
        store: a .jsonl file that grows by a line a job.
        jobs: what tells one run from another; an entry holds its job.
        at_once: processes at a time.
        python: of another environment, for a peer.
    """
    lock = Lock()

    def one(job: Entry) -> Entry:
        with lock:
            for entry in map(json.loads, store.read_text().splitlines() if store.exists() else []):
                if entry.items() >= job.items():
                    return dict(entry)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [python, script, *words, "--child", json.dumps(job)]
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        entry = {**job, **json.loads(ran.stdout.splitlines()[-1])}
        with lock:
            store.parent.mkdir(parents=True, exist_ok=True)
            with store.open("a") as file:
                file.write(json.dumps(entry) + "\n")
            print(f"done: {job}", flush=True)
        return entry

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, jobs))


def begun(config: RunConfig) -> Path | None:
    """The run or study of this name that a killed process has left: it goes on."""
    folder = config.runs / str(config.name)
    return folder if any((folder / name).is_file() for name in ("run.json", "study.json")) else None


def arguments(description: str, *, rounds: int | None = None, **choices: Sequence[str]) -> argparse.Namespace:
    """The command line of a benchmark that trains on the faces.

    Args:
        rounds: the default of one that trains in rounds.
        choices: option -> all that it compares, of which some may be left out, such as `kinds`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time, of one thread each")
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds)
    for name, of in choices.items():
        what = name[:-1].upper()
        parser.add_argument(f"--{name}", nargs="+", choices=of, default=of, metavar=what, help=", ".join(of))
    parser.add_argument("--size", type=int, default=80)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out"))
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args()


def data_folder() -> Path:
    """Where the mask18 faces are looked for."""
    usual = Path(__file__).resolve().parents[3] / "shared" / "data" / "mask18"
    return Path(os.environ.get("SSLMASK_MASK18", usual))


def cifar_folder(data: Path) -> Path:
    """Where CIFAR-10 is looked for: beside the faces in `data`."""
    return Path(os.environ.get("SSLMASK_CIFAR10", data.parent / "cifar10"))


def read_classes(table: Path) -> dict[str, str]:
    """Image -> name of its class."""
    with table.open(newline="") as file:
        return {row["image"]: row["class"] for row in csv.DictReader(file)}


def read_truth(table: Path) -> dict[str, int]:
    with table.open(newline="") as file:
        return {row["ImageID"]: int(row["ans"]) for row in csv.DictReader(file)}
