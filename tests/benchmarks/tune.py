"""A search with Optuna and the same with Ray, each killed -9 once and given again: the same trials? And the verdict.

    python tests/benchmarks/tune.py [--trials 12] [--folds 2] [--steps 40] [--size 48] [--data DIR] [--out DIR]

Each search is started as a command. It is killed in the first fold of its middle trial, and the same command then goes
on. All trials are compared: parameters, states, scores, and the out-of-fold predictions byte by byte. Ray works on one
trial at a time here; the winner is compared with the default on other splits once, by the search with Optuna.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from resumable import data_folder
from rich.console import Console
from rich.table import Table

from ssl_mask.reports.tune_card import sentences
from ssl_mask.runs.study import Study
from ssl_mask.runs.trials import TrialRecord, TrialStudy

SPACE = {
    "optim.lr": {"low": 5e-4, "high": 2e-2, "log": True},
    "optim.backbone_lr_scale": {"low": 0.03, "high": 0.3, "log": True},
    "model.freeze_stages": [2, 3],
    "loss.margin": {"low": 0.0, "high": 0.3, "step": 0.1},
    "augment.preset": ["flip", "light", "competition"],
    "train.sampler": ["shuffle", "balanced"],
}
ENGINES = ("optuna", "ray")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--confirm", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out/tune"))
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    out = asked.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    (out / "space.yaml").write_text(yaml.safe_dump(SPACE))
    searches = {}
    for engine in asked.engines:
        began = time.monotonic()
        killed_and_given_again(out, command(asked, engine), out / "runs" / engine, asked.trials // 2)
        print(f"{engine}: {time.monotonic() - began:.0f} s", flush=True)
        searches[engine] = TrialStudy(Study(out / "runs" / engine))
    first = searches[asked.engines[0]]
    trials = {engine: [search.record(n) for n in range(asked.trials)] for engine, search in searches.items()}
    Console().print(table(trials, [same(searches, n) for n in range(asked.trials)]))
    print(*sentences(first.verdict()), sep="\n")


def command(asked: argparse.Namespace, engine: str) -> list[str]:
    """Of a search; without the names of the engine it is the same for both."""
    settings = {
        "train.steps": asked.steps, "train.eval_every": max(1, asked.steps // 2), "train.batch_size": asked.batch,
        "model.image_size": asked.size, "train.workers": 0, "guard.mode": "off",
    }  # fmt: skip
    confirm = asked.confirm if engine == asked.engines[0] else 0
    words = ["tune", "--space", "space.yaml", "--trials", str(asked.trials), "--folds", str(asked.folds)]
    words += ["--confirm", str(confirm), "--engine", engine, "--data", str(asked.data.absolute()), "-c", "laptop"]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return [sys.executable, "-m", "ssl_mask", *words, "--name", engine]


def killed_and_given_again(out: Path, words: Sequence[str], search: Path, trial: int) -> None:
    """Kill a search in a trial's first fold, if it has not got further before; then let it end."""
    began = search / f"trials/{trial:03d}/fold-0/metrics.jsonl"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if not began.is_file():
        with (out / f"{search.name}.log").open("ab") as log:
            process = subprocess.Popen(words, cwd=out, stdout=log, stderr=log, env=environment)
            while process.poll() is None and not began.is_file():
                time.sleep(0.05)
            if process.poll() is not None:
                raise SystemExit(f"{search.name} ended by itself: see {out / search.name}.log")
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            print(f"{search.name}: killed in trial {trial}", flush=True)
    subprocess.run(words, cwd=out, check=True, env=environment)


def same(searches: dict[str, TrialStudy], number: int) -> bool:
    """Whether a trial is the same in all searches, but for its CPU time."""
    records = [search.record(number).model_copy(update={"cpu_seconds": 0.0}) for search in searches.values()]
    files = [search.trial(number).oof for search in searches.values()]
    predictions = [file.read_bytes() if file.is_file() else b"" for file in files]
    return all(r == records[0] for r in records) and all(p == predictions[0] for p in predictions)


def table(trials: dict[str, list[TrialRecord]], equal: Sequence[bool]) -> Table:
    engines = list(trials)
    made = Table("trial", "learning rate", *engines, "same", title=f"{sum(equal)} of {len(equal)} trials are the same")
    for number, is_same in enumerate(equal):
        rate = trials[engines[0]][number].params.get("optim.lr")
        cells = [cell(trials[engine][number]) for engine in engines]
        made.add_row(str(number), "default" if rate is None else f"{rate:.2e}", *cells, "yes" if is_same else "NO")
    return made


def cell(record: TrialRecord) -> str:
    return f"{record.macro_f1.value:.4f}" if record.macro_f1 is not None else record.state


if __name__ == "__main__":
    main()
