"""Kill -9 at random moments and at random file operations: what was begun must end as if nothing had happened.

    python tests/benchmarks/kills.py [--kills 200] [--seed 0] [--verbs train pseudo …] [--work DIR]

One process imports everything once; each start of a verb is a fork of it, so that a start costs nothing. A verb runs
once undisturbed. Then, from the same files in the same place, it is killed one to three times, continued each time as
its messages say, and must leave the same files as the undisturbed one: weights and states tensor by tensor, everything
else byte by byte but for times. No process of a killed one may live on, and no unfinished file may stay.
"""

from __future__ import annotations

import argparse
import collections
import csv
import ctypes
import hashlib
import io
import json
import mmap
import os
import random
import re
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

SETTINGS = """
preset: none
model: {backbone: test_efficientnet, weights: none, image_size: 32, embedding_size: 16}
train: {steps: 4, batch_size: 8, eval_every: 2, save_every: 1, log_every: 1, workers: 0}
data: {root: faces, folds: 2, unlabeled: [pool]}
algorithm: {mu: 1}
pseudo: {rounds: 1, rule: percentile}
guard: {drop_overlap: true, cards: data_cards}
"""
TIMES = {"started", "updated", "made", "seconds", "cpu_seconds", "cpu", "images_per_second", "command", "argv",
         "ours_at_equal_cpu"}  # fmt: skip
"""Keys of JSON whose values differ between two runs of the same bytes."""
WORDS_OF_TIME = re.compile(
    rb"\b\d+ (?:s|min)\b|\d{4}-\d\d-\d\d[T ]\d\d:\d\d\S*|^\| command \|.*$|"
    rb"\| *\d+(?: / \d+ \| *[0-9.]+)? *\|$",
    re.MULTILINE,
)
"""In text for people; CPU seconds, and what they bought, are the last columns of a table."""
NO_RESULTS = {"log.txt", ".lock", "journal.log"}
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
"""Events of `sys.addaudithook` that change files; `open` is one if it is for writing."""
LONGEST = 120.0
"""Seconds after which a start hangs."""


@dataclass(frozen=True)
class Verb:
    """A command, how it is continued once its run is there, and what must have happened before it."""

    command: tuple[str, ...]
    resume: tuple[str, ...] = ()
    run: str = ""
    needs: str = ""
    cold: bool = False
    """With an empty cache, so that writing it is disturbed too."""


VERBS = {
    "train": Verb(("train", "--guard", "off"), ("train", "--resume", "train-001"), "runs/train-001", cold=True),
    "uda": Verb(("uda", "--name", "u"), ("uda", "--resume", "u"), "runs/u"),
    "study": Verb(("uda", "--baseline", "--name", "s"), ("uda", "--resume", "s"), "runs/s"),
    "folds": Verb(
        ("train", "--guard", "off", "--folds", "2", "--refit", "--name", "f"), ("train", "--resume", "f"), "runs/f"
    ),
    "pseudo": Verb(("pseudo", "--name", "p"), ("pseudo", "--resume", "p"), "runs/p"),
    "rounds": Verb(("pseudo", "--folds", "2", "--refit", "--name", "r"), ("pseudo", "--resume", "r"), "runs/r"),
    "tune": Verb(
        ("tune", "--space", "space.yaml", "--trials", "2", "--folds", "2", "--confirm", "1", "--name", "t"),
        ("tune", "--resume", "t"),
        "runs/t",
    ),
    "audit": Verb(
        ("audit", "--train", "some", "--val", "pool", "--test", "few", "--drop-list", "drop.csv", "--processes", "2"),
        cold=True,
    ),
    "predict": Verb(("predict", "--images", "few", "--out", "out"), needs="uda"),
    "shard": Verb(("predict", "--images", "few", "--shard", "0/2"), needs="uda"),
    "evaluate": Verb(("evaluate", "--answers", "few.csv", "--predictions", "out/predictions.csv"), needs="predict"),
}


# ---- processes ----


def import_modules(names: Iterable[str]) -> None:
    """Import what verbs load. No thread and no pool is started, for a fork has only the thread that forks."""
    for name in names:
        if name not in sys.modules:
            with suppress(Exception):  # names that only look like modules
                import_module(name)
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def adopt_orphans() -> None:
    """Become the parent of what killed children leave behind, to see whether it ends (Linux)."""
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def start(
    command: Sequence[str], work: Path, operations: mmap.mmap, kill_at: int = 0, learn: Path | None = None
) -> int:
    """Fork a process that runs `sslmask command` in `work`; returns its id.

    Args:
        operations: the process counts its file operations here.
        kill_at: it kills itself before the operation of this number; 0: never.
    """
    sys.stdout.flush()
    operations[:8] = struct.pack("q", 0)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = _be_sslmask(command, work, operations, kill_at, learn)
        except BaseException:  # whatever it is, this process must not go on as its parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return child


def _be_sslmask(command: Sequence[str], work: Path, operations: mmap.mmap, kill_at: int, learn: Path | None) -> int:
    from ssl_mask.cli.app import main

    os.setpgid(0, 0)
    os.chdir(work)
    os.environ["SSLMASK_CACHE"] = str(work / "cache")
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    print("$ sslmask", *command, flush=True)
    sys.argv = ["sslmask", *command]
    me = os.getpid()
    if "--processes" not in command:  # pools of processes cost more than all the rest: audit alone has them
        os.sched_setaffinity(0, {random.choice(list(os.sched_getaffinity(0)))})
    below = str(work)

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        if not _changes_files(event, arguments, below) or os.getpid() != me:
            return
        number = struct.unpack("q", operations[:8])[0] + 1
        operations[:8] = struct.pack("q", number)
        if number == kill_at:
            os.kill(me, signal.SIGKILL)

    sys.addaudithook(count)
    code = 0
    try:
        main()
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    if learn is not None:
        learn.write_text(" ".join(sys.modules))
    return code


def _changes_files(event: str, arguments: tuple[Any, ...], below: str) -> bool:
    if event == "open":
        path, _, flags = arguments
        if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return False
    elif event not in CHANGES:
        return False
    path = arguments[0]
    return isinstance(path, str | bytes | os.PathLike) and os.path.abspath(os.fsdecode(path)).startswith(below)  # noqa: PTH100


def wait(child: int, seconds: float) -> int | None:
    """The exit code of a child, -9 if it was killed; None when it is still alive after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            return None
        time.sleep(0.002)


def kill(child: int) -> None:
    """Raises AssertionError when a process of its own lives on."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    refuse_survivors(child)


def refuse_survivors(child: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            if os.waitpid(-child, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return
    os.killpg(child, signal.SIGKILL)
    raise AssertionError("a process of a killed one lives on")


# ---- what a verb leaves ----


def contents(work: Path) -> dict[str, str]:
    """File -> digest of what it says, without times. The cache and the images are not results, and a search's journal
    says what was tried, and when: what came out of it is in trials.csv."""
    found: dict[str, str] = {}
    for path in sorted(work.rglob("*")):
        name = path.relative_to(work).as_posix()
        if path.is_file() and not name.startswith(("cache/", "faces/")) and path.name not in NO_RESULTS:
            found[name] = hashlib.sha256(_told(path)).hexdigest()
    return found


def _told(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix in {".json", ".jsonl"}:
        records = [json.loads(line) for line in (content.splitlines() if path.suffix == ".jsonl" else [content])]
        return json.dumps([_timeless(r) for r in records]).encode()
    if path.suffix == ".state":
        import torch

        state = torch.load(io.BytesIO(content), weights_only=True)
        state["progress"] = _timeless(state["progress"])
        return b"".join(_flat(state))
    if path.name == "trials.csv":
        return json.dumps(_timeless(list(csv.DictReader(io.StringIO(content.decode()))))).encode()
    return WORDS_OF_TIME.sub(b"TIME", content) if path.suffix in {".md", ".svg"} else content


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in TIMES}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def _flat(value: Any) -> Iterable[bytes]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value.numpy().tobytes()
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key).encode()
            yield from _flat(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _flat(inner)
    else:
        yield repr(value).encode()


def differences(whole: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What a killed and continued verb left otherwise than the undisturbed one."""
    lost = [f"lost {n}" for n in whole.keys() - now.keys()]
    more = [f"left {n}" for n in now.keys() - whole.keys()]
    return sorted(lost + more + [f"other {n}" for n in whole.keys() & now.keys() if whole[n] != now[n]])


# ---- trials ----


@dataclass(frozen=True)
class Undisturbed:
    """A verb to which nothing happened."""

    base: Path
    """The folder as it was before."""
    left: dict[str, str]
    code: int
    seconds: float
    operations: int


def take_some(work: Path) -> None:
    """Fewer test images, for they are compared with all others; a pool outside of the data set; folders for the verbs
    that compare or predict, with answers for one."""
    table = work / "faces/eval/info.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:9]))
    extra = sorted((work / "faces/extra").iterdir())
    answers = json.loads((work / "faces/truth.json").read_text())["extra_answers"]
    for name, images in (("few", extra[:6]), ("some", extra[3:12]), ("pool", extra[12:28])):
        (work / name).mkdir()
        for image in images:
            shutil.copy(image, work / name)
    rows = [f"{i.name},{answers[i.name]}" for i in extra[:6]]
    (work / "few.csv").write_text("\n".join(["ImageID,ans", *rows, ""]))


class Bench:
    """All trials run in one folder, `now`, so that files may hold its path; what they begin from is beside it."""

    def __init__(self, top: Path) -> None:
        from ssl_mask.demo_data.draw import draw_demo

        self.top, self.now = top, top / "now"
        self.operations = mmap.mmap(-1, 8)  # shared with the children
        self.known: dict[str, Undisturbed] = {}
        cold = top / "cold"
        draw_demo(cold / "faces", persons=12, seed=0)
        (cold / "sslmask.yaml").write_text(SETTINGS)
        (cold / "space.yaml").write_text("optim.lr: [1.0e-3, 3.0e-3]")
        take_some(cold)
        self.begin(cold)
        for command in (("pseudo", "--name", "p"), ("predict", "--images", "few")):
            self._run(command, learn=top / "modules")
            import_modules((top / "modules").read_text().split())
        for made in ("runs", "data_cards"):
            shutil.rmtree(self.now / made)
        shutil.copytree(self.now, top / "warm")

    def undisturbed(self, name: str) -> Undisturbed:
        """What a verb leaves when nothing happens. Run at the first question."""
        if name not in self.known:
            verb = VERBS[name]
            base = self.top / ("cold" if verb.cold else "warm")
            if verb.needs:
                self.undisturbed(verb.needs)
                base = self.top / f"after-{verb.needs}"
            self.begin(base)
            began = time.monotonic()
            code = self._run(verb.command)
            seconds = time.monotonic() - began
            shutil.copytree(self.now, self.top / f"after-{name}")
            left = contents(self.now)
            if left == contents(base):
                raise RuntimeError(f"{name} has done nothing\n{(self.now / 'log.txt').read_text()}")
            self.known[name] = Undisturbed(base, left, code, seconds, self._count())
        return self.known[name]

    def trial(self, name: str, draw: random.Random, kills: int) -> tuple[int, list[str]]:
        """Kill a verb up to `kills` times, continue it, compare; returns the kills that hit, and what is wrong."""
        whole, hit = self.undisturbed(name), 0
        self.begin(whole.base)
        while hit < kills:
            operation = draw.randint(1, whole.operations) if draw.random() < 0.5 else 0
            child = start(self.next(name), self.now, self.operations, operation)
            code = wait(child, LONGEST if operation else draw.uniform(0, whole.seconds))
            if code is None:
                kill(child)
            elif code == -signal.SIGKILL:
                refuse_survivors(child)
            else:
                return hit, self.wrong(name, code)
            hit += 1
        return hit, self.finish(name)

    def finish(self, name: str) -> list[str]:
        """Run or continue a verb to its end; returns what is wrong then."""
        child = start(self.next(name), self.now, self.operations)
        code = wait(child, LONGEST)
        if code is None:
            kill(child)
            return ["hangs"]
        return self.wrong(name, code)

    def wrong(self, name: str, code: int) -> list[str]:
        """In what a verb that has ended differs from the undisturbed one."""
        whole = self.undisturbed(name)
        return [f"exit code {code}"] * (code != whole.code) + differences(whole.left, contents(self.now))

    def next(self, name: str) -> tuple[str, ...]:
        """What a user would type now."""
        verb = VERBS[name]
        return verb.resume if verb.run and (self.now / verb.run).exists() else verb.command

    def begin(self, base: Path) -> None:
        if self.now.exists():
            shutil.rmtree(self.now)
        shutil.copytree(base, self.now)

    def _run(self, command: Sequence[str], *, learn: Path | None = None) -> int:
        child = start(command, self.now, self.operations, learn=learn)
        code = wait(child, LONGEST)
        if code not in {0, 3}:
            raise RuntimeError(f"{command}: {code}\n{(self.now / 'log.txt').read_text()}")
        return code

    def _count(self) -> int:
        return int(struct.unpack("q", self.operations[:8])[0])


# ---- the whole ----


def prepare(*, plots: bool) -> None:
    """Make this process one that can be forked into verbs."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    import_modules(["ssl_mask.cli.app", "cv2", "torch", "optuna"])
    adopt_orphans()
    from ssl_mask.runs import environment

    vars(environment)["_git"] = cache(environment._git)  # a commit meanwhile would be a difference in every file
    environment.code_version()
    if not plots:
        leave_plots_empty()


def leave_plots_empty() -> None:
    """They take longer than everything else of so small a run."""
    from ssl_mask.files import write_text
    from ssl_mask.reports import confusion_plot, fold_plots, plots, round_plots, tune_plots

    drawn = {plots: ("curves", "consistency"), confusion_plot: ("confusion",), round_plots: ("selection", "rounds"),
             fold_plots: ("folds",), tune_plots: ("history", "importance", "parallel")}  # fmt: skip
    for module, names in drawn.items():
        for name in names:
            setattr(module, f"write_{name}", lambda path, *_, **__: write_text(path, ""))


def disturb(bench: Bench, verbs: Sequence[str], kills: int, seed: int) -> dict[str, collections.Counter[str]]:
    """Trials until so many kills hit, the verbs by turns; returns verb -> kills, continued, equal."""
    draw = random.Random(seed)
    counts = {name: collections.Counter[str]() for name in verbs}
    with Progress(auto_refresh=False, transient=True) as progress:  # a thread that refreshes would be lost in forks
        task, done, number = progress.add_task("Kills", total=kills), 0, 0
        while done < kills:
            name = verbs[number % len(verbs)]
            hit, wrong = bench.trial(name, draw, min(draw.randint(1, 3), kills - done))
            number, done = number + 1, done + hit
            stopped = any(w.startswith(("exit code", "hangs")) for w in wrong)
            counts[name].update(kills=hit, continued=0 if stopped else hit, equal=0 if wrong else hit)
            if wrong:
                kept = shutil.copytree(bench.now, bench.top / f"failed-{number}")
                progress.console.print(f"{name}: {'; '.join(wrong)}  (see {kept}/log.txt)", style="red")
            progress.update(task, completed=done, description=f"Kills ({name})", refresh=True)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=list(VERBS), metavar="VERB")
    parser.add_argument("--plots", action="store_true", help="draw them, which takes most of the time")
    parser.add_argument("--work", type=Path, help="an empty folder to work in; what went wrong stays there")
    asked = parser.parse_args()
    began = time.monotonic()
    prepare(plots=asked.plots)
    with tempfile.TemporaryDirectory() as scratch:
        counts = disturb(Bench((asked.work or Path(scratch)).absolute()), asked.verbs, asked.kills, asked.seed)
    table = Table("verb", "kills", "continued", "equal")
    total = sum(counts.values(), collections.Counter())
    for name, row in [*counts.items(), ("all", total)]:
        table.add_row(name, *(str(row[column]) for column in ("kills", "continued", "equal")))
    Console().print(table)
    print(f"{time.monotonic() - began:.0f} s")
    return int(total["equal"] < total["kills"])


if __name__ == "__main__":
    sys.exit(main())
