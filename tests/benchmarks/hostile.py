"""Every file that sslmask reads, damaged in each way that we know: one clear error, an exit code as documented, and no
code run.

    python tests/benchmarks/hostile.py                  70 variants of each kind of file
    python tests/benchmarks/hostile.py --most 1000      all variants
    python tests/benchmarks/hostile.py --sample 200     a seeded selection of them
    python tests/benchmarks/hostile.py --only run.json --details

Each variant of a file is given to the verb that reads it, in a child of this process, so that libraries load once.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # pretrained weights are not what is damaged here
HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parent)]

import damage  # noqa: E402
import damage_binary as binary  # noqa: E402
from damage import Variant  # noqa: E402
from hostile_input import build, call  # noqa: E402

DOCUMENTED = {0, 3, 4, 5, 6}
"""Of errors.py; 2 is a wrong command line, which none of these is."""
LINKED = {".jpg", ".safetensors", ".state", ".npz", ".npy", ".onnx", ".parquet", ".pth"}
COLUMNS = ("variants", *(f"exit {code}" for code in sorted(DOCUMENTED)), "faults", "seconds")
GOOD = "unchanged"
"""The first variant of each kind: without it, all could be refused for another reason."""
SECONDS = 30
GIGABYTES = 6
LONGEST = 2500
"""Characters of a message that a person still reads."""
ADVICE = ("Traceback", "weights_only", "allow_pickle", "pydantic")
"""What no message may say."""

EVALUATE = "evaluate --answers faces/eval_answers.csv --run r"
RESUME = "train --resume r --quiet"
FURTHER = "train --resume r --steps 6 --quiet"
DRY = "train --config tiny.yaml --dry-run --quiet --set train.steps=1"
PREDICT = "predict --run r --images two --quiet"
EXPORTED = "predict --run runs/r/export/model.onnx --images two --quiet"
PSEUDO = "pseudo --resume p --quiet"
ROUNDS = "pseudo --config tiny.yaml --unlabeled faces/extra --teacher r --quiet --name new"


class File(NamedTuple):
    """A file that sslmask reads, how it is damaged, and the verb that then reads it."""

    kind: str
    path: str
    """In the input; a glob takes its first match."""
    damaged: Callable[..., Iterator[Variant]]
    verb: str
    each: int | None = None
    """Wrong values per key or cell."""


FILES = (
    File("config", "tiny.yaml", damage.yaml_file, DRY),
    File("preset", "base.yaml", damage.yaml_file, "train --set preset=base.yaml --dry-run --quiet", 1),
    File("run's config.yaml", "runs/r/config.yaml", damage.yaml_file, RESUME, 1),
    File("train.csv", "faces/train/train.csv", damage.csv_file, DRY, 4),
    File("info.csv", "faces/eval/info.csv", damage.csv_file, f"{DRY} --set guard.mode=off"),
    File("table", "table/labels.csv", damage.csv_file, f"{DRY} --data table", 4),
    File("table.parquet", "ptable/labels.parquet", binary.parquet_file, f"{DRY} --data ptable"),
    File("corrections", "corrections.csv", damage.csv_file, f"{DRY} --set data.corrections=corrections.csv"),
    File("unlabeled csv", "pool.csv", damage.csv_file, "uda --config tiny.yaml --dry-run --quiet --unlabeled pool.csv"),
    File(
        "allow file",
        "allow.csv",
        damage.csv_file,
        "audit --config tiny.yaml --out cards2 --allow allow.csv --processes 1 --quiet",
    ),
    File("answers", "faces/eval_answers.csv", damage.csv_file, EVALUATE),
    File("groups", "groups.csv", damage.csv_file, f"{EVALUATE} --groups groups.csv"),
    File("predictions.csv", "runs/r/predictions/test/predictions.csv", damage.csv_file, EVALUATE, 4),
    File("provenance", "runs/r/predictions/test/predictions.provenance.json", damage.json_file, EVALUATE),
    File("probabilities", "runs/r/predictions/test/probabilities.parquet", binary.parquet_file, EVALUATE),
    File("images to predict", "two.csv", damage.csv_file, "predict --run r --images two.csv --quiet"),
    File("image", "two/a.jpg", binary.image_file, PREDICT),
    File("image, skipped", "two/a.jpg", binary.image_file, f"{PREDICT} --on-bad skip --guard off --cache off"),
    File("checkpoint", "runs/r/checkpoints/best.safetensors", binary.safetensors_file, PREDICT),
    File("checkpoint, evaluate", "runs/r/checkpoints/best.safetensors", binary.safetensors_file, EVALUATE),
    File("model.onnx", "runs/r/export/model.onnx", binary.onnx_file, EXPORTED),
    File("seen", "runs/r/checkpoints/seen-train.npz", binary.npz_file, PREDICT),
    File("run.json", "runs/r/run.json", damage.json_file, "runs"),
    File("run.json, resume", "runs/r/run.json", damage.json_file, RESUME, 1),
    File("last.state", "runs/r/checkpoints/last.state", binary.torch_file, FURTHER),
    File("metrics.jsonl", "runs/r/metrics.jsonl", damage.lines_file, FURTHER),
    File("findings.json", "runs/r/data_cards/findings.json", damage.json_file, FURTHER, 1),
    File("environment.json", "runs/p/rounds/00/environment.json", damage.json_file, PSEUDO, 1),
    File("data card", "cards/train.json", damage.json_file, "card show cards/train.json", 2),
    File("data card, verify", "cards/test.json", damage.json_file, "card verify cards/test.json", 1),
    File("data card page", "cards/test.md", binary.image_file, "card verify cards/test.md"),
    File("run's manifest.csv", "runs/r/manifest.csv", damage.csv_file, ROUNDS, 2),
    File("selection.json", "runs/p/rounds/01/selection.json", damage.json_file, PSEUDO),
    File("pool.parquet", "runs/p/rounds/01/pool.parquet", binary.parquet_file, PSEUDO),
    File("validation.parquet", "runs/p/rounds/00/validation.parquet", binary.parquet_file, PSEUDO),
    File("audit.json", "runs/p/rounds/01/audit.json", damage.json_file, PSEUDO, 1),
    File("rounds/study.json", "runs/p/rounds/study.json", damage.json_file, PSEUDO, 1),
    File("study.json", "runs/s/study.json", damage.json_file, "uda --resume s --quiet", 1),
    File(
        "pseudo_labels.csv",
        "runs/p/rounds/01/pseudo_labels.csv",
        damage.csv_file,
        f"{DRY} --set data.pseudo_labels=runs/p/rounds/01/pseudo_labels.csv",
        3,
    ),
    File(
        "shard",
        "shards/shard-00000-of-00001.parquet",
        binary.parquet_file,
        "pseudo --config tiny.yaml --from-predictions shards --teacher p --quiet --name new",
    ),
    File("weights .pth", "w.pth", binary.torch_file, f"{DRY} --set model.weights=w.pth"),
    File("weights .safetensors", "w.safetensors", binary.safetensors_file, f"{DRY} --set model.weights=w.safetensors"),
    File("image cache", "cache/32-crop-*/*.npy", binary.npy_file, PREDICT),
    File("image cache index", "cache/32-crop-*/*.json", damage.json_file, PREDICT, 1),
    File("digest memo", "cache/digests-v1.txt", damage.lines_file, PREDICT),
    File("fingerprints", "cache/guard-*/images/*.npy", binary.npy_file, PREDICT),
    File("fingerprints index", "cache/guard-*/images/*.json", damage.json_file, PREDICT, 1),
)


# ---- running ----


class Outcome(NamedTuple):
    code: int
    """70: a traceback; 71: killed after SECONDS; below 0: died of a signal."""
    said: str
    seconds: float


def in_child(work: Path, action: Callable[[], int], seconds: float = SECONDS) -> Outcome:
    """Do something in a child whose working folder is `work`."""
    began, log = time.monotonic(), work.with_name("said.txt")
    child = os.fork()
    if child == 0:
        _become_child(work, log)
        code = 70
        try:
            code = action()
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        late = time.monotonic() - began > seconds
        if done or late:
            break
        time.sleep(0.005)
    if not done:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    code = 71 if not done else os.waitstatus_to_exitcode(status)
    return Outcome(code, log.read_text(errors="replace"), time.monotonic() - began)


def _become_child(work: Path, log: Path) -> None:
    os.chdir(work)
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + GIGABYTES * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def preload() -> None:
    """Import what all children need, and leave the plots out: they take longer than everything else."""
    from importlib import import_module

    for name in (
        "torch",
        "timm",
        "accelerate",
        "sklearn.model_selection",
        "scipy.optimize",
        "scipy.special",
        "pyarrow.parquet",
        "pyarrow.csv",
        "safetensors.torch",
        "cv2",
        "onnxruntime",
        "PIL.Image",
    ):
        import_module(name)
    for verb in ("train", "uda", "pseudo", "predict", "evaluate", "audit"):
        import_module(f"ssl_mask.workflows.{verb}")
    for verb in ("train", "uda", "pseudo", "predict", "evaluate", "audit", "runs", "card"):
        import_module(f"ssl_mask.cli.{verb}")
    import cv2
    import torch

    from ssl_mask.reports import confusion_plot, plots, round_plots

    gc.collect()
    gc.freeze()  # children share these pages
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    drawn: dict[Any, tuple[str, ...]] = {
        plots: ("curves", "consistency"),
        confusion_plot: ("confusion",),
        round_plots: ("selection", "rounds"),
    }
    for module, names in drawn.items():
        for name in names:
            setattr(module, f"write_{name}", lambda *_: None)


def renew(base: Path, work: Path) -> None:
    """The whole input anew: what a verb has changed. Large files that nobody writes to in place are linked."""
    work.mkdir(exist_ok=True)
    good = {entry.name: entry for entry in os.scandir(base)}
    for entry in list(os.scandir(work)):
        if entry.name not in good or not unchanged(good[entry.name], entry):
            shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else Path(entry).unlink()
    for name, entry in good.items():
        target = work / name
        if entry.is_dir():
            renew(Path(entry.path), target)
        elif not os.path.lexists(target):
            (os.link if target.suffix in LINKED else shutil.copy2)(entry.path, target)


def unchanged(good: os.DirEntry[str], entry: os.DirEntry[str]) -> bool:
    if good.is_dir() or entry.is_dir(follow_symlinks=False):
        return good.is_dir() and entry.is_dir(follow_symlinks=False)
    old, new = good.stat(), entry.stat(follow_symlinks=False)
    if Path(good.name).suffix in LINKED:
        return old.st_ino == new.st_ino
    return (old.st_mode, old.st_size, old.st_mtime_ns) == (new.st_mode, new.st_size, new.st_mtime_ns)


def put(path: Path, variant: Variant) -> None:
    """Give a file the variant's content, or something else its place."""
    path.unlink()
    if variant.content is not None:
        path.write_bytes(variant.content)
    elif variant.place == "folder":
        path.mkdir()
    elif variant.place == "pipe":
        os.mkfifo(path)
    elif variant.place in {"device", "loop", "dangling"}:
        path.symlink_to({"device": "/dev/zero", "loop": path.name, "dangling": "nowhere"}[variant.place])


def fault_of(variant: Variant, outcome: Outcome, flag: Path) -> str:
    """What is wrong with an outcome; "" nothing."""
    code, said = outcome.code, outcome.said
    faults = {
        "code run": flag.exists(),
        "hang": code == 71,
        "traceback": code == 70 or "Traceback" in said,
        "crash": code < 0,
        "exit code": code not in DOCUMENTED,
        "good file refused": variant.name == GOOD and code not in {0, 4},  # 4: overlaps are found in the input
        "no message": code != 0 and sum(line.startswith("Error: ") for line in said.splitlines()) != 1,
        "long message": code != 0 and len(said) > LONGEST,
        "bad advice": any(word in said for word in ADVICE),
    }
    return next((name for name, there in faults.items() if there), "")


def variants_of(file: File, base: Path, flag: Path) -> list[Variant]:
    path = found(base, file)
    rng = random.Random(zlib.crc32(file.kind.encode()))
    how = {} if file.each is None else {"each": file.each}
    return [Variant(GOOD, path.read_bytes()), *file.damaged(path.read_bytes(), rng, flag, **how)]


def spread(variants: list[Variant], most: int) -> list[Variant]:
    """At most so many of them, evenly from the first to the last."""
    count = min(most, len(variants))
    return [variants[i * len(variants) // count] for i in range(count)]


def found(base: Path, file: File) -> Path:
    return min(base.glob(file.path))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="so many of all variants")
    parser.add_argument("--most", type=int, default=70, help="of one kind of file at most so many")
    parser.add_argument("--only", nargs="+", default=[], help="kinds of file")
    parser.add_argument("--details", action="store_true", help="print each variant with its last line")
    parser.add_argument("--keep", type=Path, help="build the input here, or take it from here")
    asked = parser.parse_args()
    began = time.monotonic()
    preload()
    home = asked.keep or Path(mkdtemp(prefix="hostile-"))
    base, work, flag = home / "base", home / "work", home / "code-was-run"
    os.environ["SSLMASK_CACHE"] = str(work / "cache")
    if not base.exists():
        work.mkdir(parents=True)
        made = in_child(work, partial(build, work), seconds=300)
        assert made.code == 0, made.said
        work.rename(base)
    print(f"input ready after {time.monotonic() - began:.0f} s", flush=True)
    faults = run_all(asked, base, work, flag)
    print(f"{time.monotonic() - began:.0f} s, {resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime:.0f} CPU s")
    if asked.keep is None:
        shutil.rmtree(home)
    return 1 if faults else 0


def run_all(asked: argparse.Namespace, base: Path, work: Path, flag: Path) -> int:
    chosen = [file for file in FILES if not asked.only or file.kind in asked.only]
    plan = [(file, variant) for file in chosen for variant in spread(variants_of(file, base, flag), asked.most)]
    if asked.sample:
        plan = sorted(random.Random(0).sample(plan, min(asked.sample, len(plan))), key=lambda p: FILES.index(p[0]))
    total: Counter[str] = Counter()
    print(f"{'':24}" + "".join(f"{c:>11}" for c in COLUMNS))
    for file, pairs in groupby(plan, key=lambda p: p[0]):
        counts: Counter[str] = Counter()
        for _, variant in pairs:
            renew(base, work)
            put(found(work, file), variant)
            outcome = in_child(work, partial(call, file.verb))
            fault = fault_of(variant, outcome, flag)
            flag.unlink(missing_ok=True)
            counts.update(["variants", "faults" if fault else f"exit {outcome.code}"])
            counts["ms"] += round(1000 * outcome.seconds)
            if fault or asked.details:
                last = " | ".join(line for line in outcome.said.strip().splitlines()[-3:])[-300:]
                print(f"{file.kind}: {variant.name}: {fault or outcome.code}: {last}", flush=True)
        total += counts
        show_row(file.kind, counts)
    show_row("all", total)
    return total["faults"]


def show_row(kind: str, counts: Counter[str]) -> None:
    row = {**counts, "seconds": round(counts["ms"] / 1000)}
    print(f"{kind:24}" + "".join(f"{row.get(c, 0):>11}" for c in COLUMNS), flush=True)


if __name__ == "__main__":
    sys.exit(main())
