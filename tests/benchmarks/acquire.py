"""What to label next: 30 labeled persons, then 30 more by each rule of `sslmask acquire`, trained again.

    python tests/benchmarks/acquire.py [--data DIR] [--seeds 0 1 2 3 4] [--jobs 2] [--rules random uncertainty mixed]

Seed s draws 30 persons of train/, in proportion from each sex and age band, and trains on them with seed s on split s;
the images of the other 270 are the pool, their labels hidden. Each rule chooses 30 of these persons with that run.
Their labels are filled into its table, and a run is trained on the 60 with `data.extra_labels`, from the same weights
and for the same steps as the first one; the validation images are the same. Scored by macro-F1 on the 120 persons of
eval/, whose answers are read for the table alone. Differences are paired with `random` of the same seed, and by image,
for the answers name no persons: intervals are too narrow.

All goes through the public door: acquire, the filled table, train. 20 runs at `--size` px and `--steps` steps, each a
process of one thread; what is already in `--out`/acquire.jsonl is not redone, what was begun goes on. After a change of
the code, choose a new `--out`.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from faces import drawn
from numpy.typing import NDArray
from resumable import Entry, arguments, begun, read_truth, run_all
from rich.console import Console
from rich.table import Table

from ssl_mask.config import merge
from ssl_mask.evaluation.metrics import macro_f1, paired_bootstrap
from ssl_mask.files import write_text
from ssl_mask.text import csv_text

FIRST, MORE, CLASSES = 30, 30, 18
RULES = ("random", "uncertainty", "mixed", "coverage", "rare")
NOTHING = "first"
"""The run on the first persons alone."""
OLD = ">=60"


def main() -> None:
    options = arguments(__doc__ or "", rules=RULES)
    if options.child:
        print(json.dumps(child(options)))
        return
    words = ["--data", str(options.data.resolve()), "--out", str(options.out)]
    same = {"size": options.size, "steps": options.steps, "batch": options.batch}
    entries: list[Entry] = []
    for rules in ([NOTHING], options.rules):
        jobs = [{"rule": rule, "seed": seed, **same} for seed in options.seeds for rule in rules]
        entries += run_all(__file__, options.out / "acquire.jsonl", jobs, words, options.jobs)
    show(entries, options)


# ---- one run ----


def child(options: argparse.Namespace) -> Entry:
    import ssl_mask

    job, runs = options.child, options.out / "acquire-runs"
    data = drawn(options.data, options.out / f"faces-{FIRST}-{job['seed']}", FIRST, job["seed"])
    layers: Entry = {
        "seed": job["seed"],
        "runs": str(runs),
        "name": f"{job['rule']}-{job['seed']}",
        "data": {"root": str(data), "split_seed": job["seed"], "min_groups": 1},
        "model": {"image_size": job["size"]},
        "train": {
            "steps": job["steps"], "batch_size": job["batch"], "eval_every": max(1, job["steps"] // 5), "workers": 0,
            "reference": "off",
        },
        "guard": {"mode": "off"},  # what is measured here is the gain; the persons of train/ are no others of eval/
    }  # fmt: skip
    old = 0
    if job["rule"] != NOTHING:
        table, old = filled(job, runs, data, options.data)
        layers = merge(layers, {"data": {"extra_labels": [str(table)]}})
    config = ssl_mask.load_config(layers, preset="laptop")
    run = ssl_mask.train(config, resume=begun(config), quiet=True)
    assert run is not None  # for the type checker: a dry run has none
    predictions = ssl_mask.predict([run.path], guard="off", write=False, quiet=True)
    names = [PurePosixPath(row.path).name for row in predictions.manifest.rows]
    predicted = predictions.probs.argmax(axis=1).tolist()
    return {"names": names, "predicted": predicted, "old": old, "val": run.scores.macro_f1}


def filled(job: Entry, runs: Path, data: Path, source: Path) -> tuple[Path, int]:
    """The table of what a rule chooses, with the true labels, and how many of its persons are old."""
    import ssl_mask

    home = runs / f"ask-{job['rule']}-{job['seed']}"
    if not home.is_dir():
        ssl_mask.acquire(
            [runs / f"{NOTHING}-{job['seed']}"], runs_folder=runs, pool=[str(data / "others")], budget=MORE,
            by=job["rule"], group_regex="others/([^/]+)/", seed=job["seed"], name=home.name, quiet=True,
        )  # fmt: skip
    truth = labels_of(source)
    with (home / "acquire.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    old: set[str] = set()
    for row in rows:
        labels = truth[PurePosixPath(row["image"]).parts[-2:]]
        row.update(labels)
        old |= {row["group"]} if OLD in labels.values() else set()
    write_text(home / "filled.csv", csv_text([list(rows[0]), *(list(row.values()) for row in rows)]))
    return home / "filled.csv", len(old)


def labels_of(source: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """(folder of the person, name of the image) -> factor -> class, of all persons of train/."""
    from ssl_mask.data.layouts import read_dataset

    rows = read_dataset(source).where("train")
    names = rows.schema.class_names(rows.labels)
    return {
        PurePosixPath(row.path).parts[-2:]: dict(zip(rows.schema.sizes, own, strict=True))
        for row, own in zip(rows.rows, names, strict=True)
    }


# ---- the table ----


def show(entries: Sequence[Entry], options: argparse.Namespace) -> None:
    screen, truth = Console(), read_truth(options.data / "eval_answers.csv")
    true = np.asarray([truth[name] for name in entries[0]["names"]])
    seeds = len(options.seeds)
    table = Table(f"{FIRST} persons, then {MORE} by", "macro-F1", "against random", "recall of >=60", "old persons")
    for rule in (NOTHING, *options.rules):
        own = of(entries, rule)
        runs = predicted(own)
        against = "-"
        if rule != "random" and "random" in options.rules:
            gain = paired_bootstrap(true, predicted(of(entries, "random")), runs, np.arange(len(true)), CLASSES)[
                "macro_f1"
            ]
            against = f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        each = [macro_f1(true, run, CLASSES) for run in runs]
        spread = f" ± {statistics.stdev(each):.3f}" if seeds > 1 else ""
        recall = float((runs[:, true % 3 == 2] % 3 == 2).mean())
        more = f"{statistics.mean(e['old'] for e in own):.1f}"
        table.add_row(rule, f"{statistics.mean(each):.3f}{spread}", against, f"{recall:.3f}", more)
    screen.print(table)
    screen.print(f"Seeds: {seeds}; ± is the standard deviation over seeds")


def of(entries: Sequence[Entry], rule: str) -> list[Entry]:
    return sorted((e for e in entries if e["rule"] == rule), key=lambda e: e["seed"])


def predicted(entries: Sequence[Entry]) -> NDArray[np.int64]:
    """(runs, images) classes."""
    return np.asarray([e["predicted"] for e in entries])


if __name__ == "__main__":
    main()
