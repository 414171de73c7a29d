"""From nothing to a first score: where the seconds of `sslmask train --steps 60` and `sslmask predict` go.

    python tests/benchmarks/first_score.py [--data DIR] [--at REVISION] [--steps 60] [--processes 2] [--keep FOLDER]

Both verbs run as a user runs them, one after the other, on the mask18 faces with an empty cache folder: nothing is
decoded, fingerprinted or compared yet. The compiled bytecode is there, as after any first start. Each part is given in
CPU seconds of all its processes, which another program on the machine changes little, and in seconds of the clock,
which it changes much. A part within another counts once, as itself.

`--at` takes the package as it was at a revision of this repository. The findings of the guard are listed below the
table with their digest, so that two revisions can be compared. `--processes 1` keeps everything on one core.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    "train": (
        ("ssl_mask.workflows.train", "prepare", "other preparation"),
        ("ssl_mask.workflows.train", "make_model", "network"),
        ("ssl_mask.workflows.train", "read_manifest", "table of images"),
        ("ssl_mask.workflows.train", "load_training_data", "images: read, decode, shrink"),
        ("ssl_mask.guard.gate", "fingerprint", "fingerprints"),
        ("ssl_mask.guard.check", "match", "compare"),
        ("ssl_mask.workflows.train", "write_reference", "reference (probe)"),
        ("ssl_mask.workflows.train", "fit", "training steps"),
        ("ssl_mask.training.fit", "evaluate", "evaluations"),
        ("ssl_mask.training.fit", "save", "saved state"),
        ("ssl_mask.workflows.train", "finish", "plots and run card"),
    ),
    "predict": (
        ("ssl_mask.workflows.predict", "load_predictor", "network"),
        ("ssl_mask.workflows.predict", "rows_to_predict", "table of images"),
        ("ssl_mask.workflows.predict", "_predict", "predictions"),  # of older revisions
        ("ssl_mask.workflows.predict", "with_fallback", "predictions"),
        ("ssl_mask.workflows.predict", "provenance_of", "other provenance"),
        ("ssl_mask.guard.check", "fingerprint", "fingerprints"),
        ("ssl_mask.guard.sightings", "fingerprint", "fingerprints"),
        ("ssl_mask.guard.check", "match", "compare"),
        ("ssl_mask.workflows.predict", "write_submission", "submission"),
    ),
}


class Spent(NamedTuple):
    cpu: float
    clock: float

    def plus(self, other: Spent) -> Spent:
        return Spent(self.cpu + other.cpu, self.clock + other.clock)

    def minus(self, other: Spent) -> Spent:
        return Spent(self.cpu - other.cpu, self.clock - other.clock)


def main() -> None:
    options = arguments()
    if options.child:
        child(options.child, options.words, options.told)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        package = ROOT if options.at is None else at_revision(options.at, Path(name) / "package")
        words = {"train": ["--data", str(options.data.absolute()), "--steps", str(options.steps)], "predict": []}
        spent = {verb: run(verb, words[verb], package, folder, options.processes) for verb in PARTS}
        show(spent)
        tell_findings(folder / "runs")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = ROOT.parent / "shared" / "data" / "mask18"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SSLMASK_MASK18", usual)))
    parser.add_argument("--at", help="a revision of this repository; not given: the files as they are")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--processes", type=int, default=2, help="cores that may be used")
    parser.add_argument(
        "--keep", type=Path, help="an empty folder for the run and the caches; not given: nothing stays"
    )
    parser.add_argument("--child", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--told", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    return parser.parse_args()


def at_revision(revision: str, folder: Path) -> Path:
    """The package as it was, compiled."""
    folder.mkdir(parents=True)
    words = ["git", "archive", revision, "ssl_mask", "configs"]
    archive = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    subprocess.run(["tar", "-x"], cwd=folder, input=archive.stdout, check=True)
    return folder


def run(verb: str, words: list[str], package: Path, folder: Path, processes: int) -> dict[str, Spent]:
    """One verb in a process of its own; what each of its parts took."""
    environment = {**os.environ, "PYTHONPATH": str(package), "SSLMASK_CACHE": str(folder / "cache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(package / "ssl_mask")], env=environment, check=True)
    cores = sorted(os.sched_getaffinity(0))[:processes]
    told = folder / f"{verb}.json"
    subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--child", verb, "--told", str(told), "--", *words],
        cwd=folder, env=environment, check=True, preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
    return {part: Spent(*spent) for part, spent in json.loads(told.read_text()).items()}


# ---- inside of the verb's process ----


class Clock:
    """What each part has taken, without the parts inside of it."""

    def __init__(self) -> None:
        self.spent: dict[str, Spent] = {}
        self._open = ["start: Python and imports"]
        self._last = Spent(0.0, _born())

    def change(self) -> None:
        """What was spent since the last change belongs to the part that is open."""
        here, part = now(), self._open[-1]
        self.spent[part] = self.spent.get(part, Spent(0.0, 0.0)).plus(here.minus(self._last))
        self._last = here

    def clocked(self, module: str, name: str, part: str) -> None:
        """Puts a clock around a function, where this revision has it."""
        place = importlib.import_module(module)
        if (function := getattr(place, name, None)) is not None:
            setattr(place, name, self._around(function, part))

    def _around(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        @wraps(function)
        def clocked(*args: Any, **named: Any) -> Any:
            self.change()
            self._open.append(part)
            try:
                return function(*args, **named)
            finally:
                self.change()
                self._open.pop()

        return clocked


def child(verb: str, words: list[str], told: Path) -> None:
    """Runs the command line with clocks around its parts."""
    clock = Clock()
    for place in PARTS[verb]:
        clock.clocked(*place)
    clock.clocked(f"ssl_mask.workflows.{verb}", verb, "everything else")
    from ssl_mask.cli.app import main as command_line

    sys.argv = ["sslmask", verb, *words]
    try:
        command_line()
    finally:  # it ends with SystemExit
        clock.change()
        told.write_text(json.dumps(clock.spent))


def now() -> Spent:
    """CPU seconds of this process and of those of its children that have ended."""
    times = os.times()
    return Spent(times.user + times.system + times.children_user + times.children_system, time.time())


def _born() -> float:
    """When this process started, in seconds since 1970."""
    ticks = float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    booted = time.time() - float(Path("/proc/uptime").read_text().split()[0])
    return booted + ticks


# ---- the table ----


def show(spent: Mapping[str, Mapping[str, Spent]]) -> None:
    table = Table("verb", "part", "CPU s", "clock s")
    for verb, parts in spent.items():
        for part, one in sorted(parts.items(), key=lambda item: -item[1].cpu):
            table.add_row(verb, part, f"{one.cpu:.1f}", f"{one.clock:.1f}")
        table.add_row(verb, "all", *sums(parts.values()), end_section=True)
    table.add_row("both", "", *sums(one for parts in spent.values() for one in parts.values()))
    Console().print(table)


def sums(spent: Iterable[Spent]) -> tuple[str, str]:
    columns = list(zip(*spent, strict=True))
    return f"{sum(columns[0]):.1f}", f"{sum(columns[1]):.1f}"


def tell_findings(runs: Path) -> None:
    """What must be equal at two revisions."""
    for file in ("data_cards/findings.json", "validation.parquet", "predictions/test/predictions.csv"):
        (path,) = runs.glob(f"*/{file}")
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}  {file}")


if __name__ == "__main__":
    main()
