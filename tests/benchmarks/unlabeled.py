"""Does unlabeled data pay? Every way to use it against labels only, on faces and on a second domain.

    python tests/benchmarks/unlabeled.py [--domains faces cifar] [--seeds 0 1 2] [--jobs 2] [--methods METHOD …]

`--methods` also runs labels only and the teachers that are needed. The table is printed after every seed.

- faces: mask18, 60 labeled persons drawn from train/ (48 to train on, 12 to validate); the pool is extra/ and the
  images of the other persons; scored by macro-F1 on the 120 persons of eval/
- cifar: 500 labeled images (400 and 100), a pool of 4,000; scored on the 1,500 of test/. In `$SSLMASK_CIFAR10`, or
  beside mask18

Every method trains by the same steps, of as many labeled images. What it costs is the CPU time of all that it needs,
teachers included. Each is compared with labels only at equal steps, and with the shortest of three lengths of labels
only that has used at least as much CPU time. Seed s draws labels s and trains with seed s on split s. "folds" are
studies of 5 folds: their models together predict. "all labels" has the labels of the pool of training images too: the
most that unlabeled images could be worth.

Settings were chosen by validation and out-of-fold predictions; the answers of eval/ and test/ are read here and nowhere
else. Intervals are paired and by image, for the answers name no persons: those of the faces are too narrow. Every run
is a process of one thread; what is already in `--out`/unlabeled.jsonl is not redone, what was begun goes on. After a
change of the code, choose a new `--out`. Do not mix machines in one `--out`: all of it takes some 4 hours on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from faces import drawn, pool_of
from numpy.typing import NDArray
from resumable import Entry, arguments, begun, cifar_folder, read_classes, read_truth, run_all
from rich.console import Console
from rich.table import Table

from ssl_mask.config import merge
from ssl_mask.evaluation.metrics import accuracy, macro_f1, paired_bootstrap

PERSONS, FOLDS = 60, 5
BASE = "labels only"
DOMAINS = ("faces", "cifar")
CLASSES = {"faces": 18, "cifar": 10}
LAYOUTS = {"faces": "mask18", "cifar": "folder"}


@dataclass(frozen=True)
class Method:
    """A way to train, as a user would ask for it."""

    preset: str = "laptop"
    settings: Entry = field(default_factory=dict)
    pool: bool = False
    """Whether it sees the unlabeled images."""
    teachers: tuple[str, ...] = ()
    """Methods whose runs or studies predict the pool for a round of pseudo-labels."""
    length: int = 1
    """As many times the steps."""
    folds: bool = False
    all_labels: bool = False

    @property
    def wave(self) -> int:
        """After how many others it can begin."""
        return 1 + max((METHODS[t].wave for t in self.teachers), default=-1)


def soft(*teachers: str, folds: bool = False, augment: str = "competition") -> Method:
    """A round of soft pseudo-labels for every image of the pool.

    Args:
        augment: of the student; `strong` makes it a noisy student (Xie et al. 2020, arXiv 1911.04252).
    """
    settings: Entry = {"pseudo": {"rounds": 1}, "augment": {"preset": augment}}
    return Method("pseudo_soft_laptop", settings, pool=True, teachers=teachers, folds=folds)


def consistency(name: str, **settings: Any) -> Method:
    """An algorithm with the settings of its paper, where the preset has others."""
    paper = {"name": name, "threshold": 0.8, "sharpen": 0.4, "teacher": "live", "weight": 1.0}
    return Method("uda_laptop", {"algorithm": paper | settings}, pool=True)


LITE1, LITE2 = ({"model": {"backbone": f"embedded-lite{i}"}} for i in (1, 2))
ALL_LAYERS: Entry = {"model": {"freeze_stages": 0, "freeze_norm": False}, "optim": {"backbone_lr_scale": 1.0}}
TEACHERS = ("uda", "labels only (lite1)", "labels only (lite2)", "labels only (all layers)")
METHODS: dict[str, Method] = {
    BASE: Method(),
    "uda": Method("uda_laptop", pool=True),
    "labels only (lite2)": Method(settings=LITE2),
    "labels only (3 times as long)": Method(length=3),
    "rounds after uda": soft("uda"),
    "labels only (lite1)": Method(settings=LITE1),
    "labels only (all layers)": Method(settings=ALL_LAYERS),
    "rounds of many teachers": soft(*TEACHERS, augment="strong"),
    "fixmatch": consistency("fixmatch"),
    "flexmatch": consistency("flexmatch"),
    "adamatch": consistency("adamatch", ramp_up=0.5),
    "labels only (probe)": Method("probe_laptop"),
    "all labels": Method(all_labels=True),
    "labels only (9 times as long)": Method(length=9),
    "uda (3 times as long)": Method("uda_laptop", pool=True, length=3),
    "uda (lite2, 3 times as long)": Method("uda_laptop", LITE2, pool=True, length=3),
    "folds": Method(folds=True),
    "folds (uda)": Method("uda_laptop", pool=True, folds=True),
    "folds (lite2)": Method(settings=LITE2, folds=True),
    "folds (uda, lite2, 3 times as long)": Method("uda_laptop", LITE2, pool=True, length=3, folds=True),
    "folds (rounds of many teachers)": soft("folds (uda)", "folds (lite2)", "folds", folds=True),
}
"""The most informative first."""
LONGER = tuple(name for name, method in METHODS.items() if method == Method(length=method.length))


def main() -> None:
    options = arguments(__doc__ or "", domains=DOMAINS, methods=tuple(METHODS))
    if options.child:
        print(json.dumps(child(options)))
        return
    words = ["--data", str(options.data.resolve()), "--out", str(options.out)]
    store = options.out / "unlabeled.jsonl"
    same = {"size": options.size, "steps": options.steps, "batch": options.batch}
    wanted = with_teachers(options.methods)
    for domain in options.domains:
        entries: list[Entry] = []
        for seed in options.seeds:  # so that all methods have a seed before one has two
            for wave in sorted({METHODS[name].wave for name in wanted}):
                names = [name for name in wanted if METHODS[name].wave == wave]
                jobs = [{"domain": domain, "method": n, "seed": seed, **same} for n in names]
                entries += run_all(__file__, store, jobs, words, options.jobs)
            show(entries, domain, options)


def with_teachers(names: Sequence[str]) -> list[str]:
    """The methods that were asked for, labels only, and what they learn from."""
    found = {BASE: None}
    for name in names:
        found |= dict.fromkeys(with_teachers(METHODS[name].teachers) if METHODS[name].teachers else ())
        found[name] = None
    return list(found)


# ---- one run or study ----


def child(options: argparse.Namespace) -> Entry:
    job, runs = options.child, options.out / "unlabeled-runs"
    method = METHODS[job["method"]]
    data, pool = labeled_data(job, options) if not method.all_labels else all_labeled(job, options)
    layers: Entry = {
        "seed": job["seed"],
        "runs": str(runs),
        "name": name_of(job),
        "data": {"root": str(data), "split_seed": job["seed"], "layout": LAYOUTS[job["domain"]]},
        "model": {"image_size": job["size"]},
        "train": {
            "steps": job["steps"] * method.length, "batch_size": job["batch"],
            "eval_every": max(1, job["steps"] * method.length // 5), "workers": 0, "reference": "off",
        },
        "guard": {"mode": "off"},  # what is measured here is the gain; leak_gain.py measures leaks
    }  # fmt: skip
    if method.pool:
        layers["data"]["unlabeled"] = pool
    if method.teachers:
        layers["pseudo"] = {"teachers": [str(runs / name_of({**job, "method": t})) for t in method.teachers]}
    return trained(method, merge(layers, method.settings))


def name_of(job: Entry) -> str:
    return "-".join([job["domain"], *re.findall(r"\w+", job["method"]), str(job["seed"])])


def trained(method: Method, layers: Entry) -> Entry:
    """What a run or study says of itself, and its predictions for the test images."""
    import ssl_mask

    config = ssl_mask.load_config(layers, preset=method.preset)
    left = begun(config)
    told: Any
    if method.teachers and method.folds:
        told = ssl_mask.pseudo_folds(config, folds=FOLDS, resume=left, quiet=True)
        record = told.round(1).record()
        found = {"own": record.macro_f1.value, "cpu": record.cpu_seconds}
    elif method.folds:
        told = ssl_mask.train_folds(
            config, folds=FOLDS, verb="uda" if method.pool else "train", resume=left, quiet=True
        )
        found = {"own": told.record().macro_f1.value, "cpu": told.record().cpu_seconds}
    else:
        told = (ssl_mask.pseudo if method.teachers else ssl_mask.train)(config, resume=left, quiet=True)
        found = {"own": told.scores.macro_f1, "cpu": cpu_of(Path(told.path))}
    predictions = ssl_mask.predict([told.path], guard="off", write=False, quiet=True)
    names = [PurePosixPath(row.path).name for row in predictions.manifest.rows]
    return {**found, "names": names, "predicted": predictions.probs.argmax(axis=1).tolist()}


def cpu_of(run: Path) -> float:
    """CPU seconds of a run, or of all rounds of a study of rounds."""
    seconds = 0.0
    for metrics in [*run.glob("metrics.jsonl"), *run.glob("rounds/*/metrics.jsonl")]:
        records = map(json.loads, metrics.read_text().splitlines())
        seconds += max(r["cpu_seconds"] for r in records if r["kind"] == "val")
    return seconds


# ---- the data ----


def labeled_data(job: Entry, options: argparse.Namespace) -> tuple[Path, list[str]]:
    """The folder of a data set with few labels, and its pool."""
    if job["domain"] == "faces":
        data = drawn(options.data, options.out / f"faces-{PERSONS}-{job['seed']}", PERSONS, job["seed"])
        return data, pool_of(data)
    return cifar_folder(options.data), [str(cifar_folder(options.data) / "unlabeled")]


def all_labeled(job: Entry, options: argparse.Namespace) -> tuple[Path, list[str]]:
    """The same with the labels of the pool, as far as they are known."""
    if job["domain"] == "faces":
        return options.data, []
    out = options.out / "cifar-all"
    if not out.is_dir():
        half = out.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(cifar_folder(options.data) / "train", half / "train")
        shutil.copytree(cifar_folder(options.data) / "test", half / "test")
        for name, kind in read_classes(cifar_folder(options.data) / "unlabeled_answers.csv").items():
            shutil.copy(cifar_folder(options.data) / "unlabeled" / name, half / "train" / kind / name)
        half.rename(out)
    return out, []


def truth_of(domain: str, options: argparse.Namespace) -> Mapping[str, int]:
    if domain == "faces":
        return read_truth(options.data / "eval_answers.csv")
    told = read_classes(cifar_folder(options.data) / "test_answers.csv")
    number = {name: i for i, name in enumerate(sorted(set(told.values())))}
    return {image: number[kind] for image, kind in told.items()}


# ---- the table ----


def show(entries: Sequence[Entry], domain: str, options: argparse.Namespace) -> None:
    screen, truth = Console(width=150), truth_of(domain, options)
    true = np.asarray([truth[name] for name in entries[0]["names"]])
    made = {name: [e for e in entries if e["method"] == name] for name in METHODS}
    made = {name: each for name, each in made.items() if each}
    cost = {name: sum(own_cost(made, each) for each in {name, *all_teachers(name)}) for name in made}
    table = Table(
        "method", "own score", "macro-F1", "accuracy", "CPU", "against labels only: macro-F1", "error cut",
        "at equal CPU time", title=f"{domain}, {len(made[BASE])} seed(s)",
    )  # fmt: skip
    for name, runs in made.items():
        scores = [statistics.mean(score(true, e, domain) for e in runs) for score in (f1_of, accuracy_of)]
        cells = [f"{statistics.mean(e['own'] for e in runs):.3f}", *(f"{s:.3f}" for s in scores)]
        against = [difference(true, made[BASE], runs, domain)]
        against.append(difference(true, made[equal_cost(name, made, cost)], runs, domain))
        cells += [f"{cost[name] / cost[BASE]:.1f}", *against[0], against[1][0]]
        table.add_row(name, *(cells if name != BASE else [*cells[:4], "", "", ""]))
    screen.print(table)


def own_cost(made: Mapping[str, Sequence[Entry]], name: str) -> float:
    return statistics.mean(float(e["cpu"]) for e in made[name])


def all_teachers(name: str) -> set[str]:
    own = METHODS[name].teachers
    return set(own).union(*(all_teachers(t) for t in own)) if own else set()


def equal_cost(name: str, made: Mapping[str, Sequence[Entry]], cost: Mapping[str, float]) -> str:
    """The shortest training on labels only that took at least as much CPU time; else the longest one that there is."""
    lengths = [n for n in LONGER if n in made]
    return next((n for n in lengths if cost[n] >= cost[name]), lengths[-1])


def difference(true: NDArray[np.int64], base: Sequence[Entry], ours: Sequence[Entry], domain: str) -> tuple[str, str]:
    """The paired difference of macro-F1 with its interval, and the share of the error that is cut."""
    first, second = (np.stack([e["predicted"] for e in runs]) for runs in (base, ours))
    found = paired_bootstrap(true, first, second, np.arange(len(true)), CLASSES[domain])["macro_f1"]
    low = statistics.mean(f1_of(true, e, domain) for e in base)
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})", f"{found.value / (1 - low):.1%}"


def f1_of(true: NDArray[np.int64], entry: Entry, domain: str) -> float:
    return macro_f1(true, np.asarray(entry["predicted"]), CLASSES[domain])


def accuracy_of(true: NDArray[np.int64], entry: Entry, domain: str) -> float:  # noqa: ARG001 - as `f1_of`
    return accuracy(true, np.asarray(entry["predicted"]))


if __name__ == "__main__":
    main()
