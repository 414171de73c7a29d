"""Ways to train on the faces of few persons, judged by their out-of-fold predictions: studies, and a table of them."""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from resumable import Entry, begun, data_folder, read_truth
from rich.console import Console
from rich.table import Table

from ssl_mask.evaluation.metrics import macro_f1, paired_bootstrap

CLASSES, PERSONS = 18, 60


def arguments(description: str, ways: Sequence[str]) -> argparse.Namespace:
    """The command line. In a child with `--device cpu`, no GPU is seen from here on."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--ways", nargs="+", choices=ways, default=list(ways), metavar="WAY", help="; ".join(ways))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto", help="auto: a GPU where there is one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="studies at a time, of one thread each")
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out"))
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return options


def jobs_of(options: argparse.Namespace) -> tuple[list[Entry], list[str]]:
    """A job a way and seed, those of a seed together; and the words of their command lines."""
    same = {k: getattr(options, k) for k in ("folds", "size", "steps", "batch", "device")}
    jobs = [{"way": way, "seed": seed, **same} for seed in options.seeds for way in options.ways]
    return jobs, ["--data", str(options.data.resolve()), "--out", str(options.out), "--device", options.device]


def studied(job: Entry, runs: Path, data: Mapping[str, object], augment: Mapping[str, object]) -> Entry:
    """What the models of a study of folds say of the photos that they have not seen, and together of eval/."""
    import ssl_mask
    from ssl_mask.data.predictions import read_predictions

    name = f"{''.join(c if c.isalnum() else '-' for c in job['way'])}-{job['seed']}"
    config = ssl_mask.load_config({
        "seed": job["seed"], "runs": str(runs), "name": name, "data": {"split_seed": job["seed"], **data},
        "augment": dict(augment), "model": {"image_size": job["size"]},
        "train": {"steps": job["steps"], "batch_size": job["batch"], "eval_every": max(1, job["steps"] // 4),
                  "workers": 0, "reference": "off"},
        "guard": {"mode": "off"},  # what is measured here is the gain
    }, preset="laptop")  # fmt: skip
    study = ssl_mask.train_folds(config, folds=job["folds"], resume=begun(config), quiet=True)
    assert study is not None  # for the type checker: a dry run has none
    own = read_predictions(study.path / "oof.parquet")
    written = ssl_mask.predict([study.path], runs_folder=config.runs, out=runs / f"{name}.csv", quiet=True)
    assert written.path is not None  # for the type checker: it was written
    with written.path.open(newline="") as file:
        guessed = {row["ImageID"]: int(row["ans"]) for row in csv.DictReader(file)}
    return {
        "cpu": study.record().cpu_seconds, "path": own.path.tolist(), "group": own.group.tolist(),
        "true": own.true.tolist(), "predicted": own.predicted.tolist(),
        "eval": [guessed[image] for image in sorted(guessed)],
    }  # fmt: skip


def show(entries: Sequence[Entry], options: argparse.Namespace, title: str) -> None:
    """Macro-F1 of the out-of-fold predictions of all seeds together, each way against the first, by person."""
    answers = read_truth(options.data / "eval_answers.csv")
    truth = np.array([answers[image] for image in sorted(answers)])
    persons = len({group for e in entries for group in e["group"]})
    made = {way: sorted((e for e in entries if e["way"] == way), key=lambda e: e["seed"]) for way in options.ways}
    table = Table("way", "out-of-fold macro-F1", "difference (95 %, by person)", "a seed", "CPU", "eval macro-F1",
                  title=f"{title}: {options.folds} folds, {options.size} px, {options.steps} steps, seeds "
                  f"{' '.join(map(str, options.seeds))} ({persons} persons in all)")  # fmt: skip
    first = next(iter(made.values()))
    true, groups = _joined(first, "true"), _joined(first, "group")
    for way, runs in made.items():
        assert [e["path"] for e in runs] == [e["path"] for e in first], "not the same photos"
        each = [
            macro_f1(_joined([e], "true"), _joined([e], "predicted"), CLASSES)
            - macro_f1(_joined([b], "true"), _joined([b], "predicted"), CLASSES)
            for e, b in zip(runs, first, strict=True)
        ]
        gain = ""
        if runs is not first:
            before, after = (_joined(side, "predicted")[None] for side in (first, runs))
            found = paired_bootstrap(true, before, after, groups, CLASSES)["macro_f1"]
            gain = f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
        cost = statistics.mean(e["cpu"] for e in runs) / statistics.mean(e["cpu"] for e in first)
        scores = [macro_f1(truth, np.asarray(e["eval"]), CLASSES) for e in runs]
        table.add_row(way, f"{macro_f1(true, _joined(runs, 'predicted'), CLASSES):.3f}", gain,
                      " ".join(f"{d:+.3f}" for d in each) if gain else "", f"{cost:.2f}",
                      f"{statistics.mean(scores):.3f}")  # fmt: skip
    Console(width=150).print(table)


def _joined(runs: Sequence[Entry], key: str) -> NDArray[np.int64]:
    return np.concatenate([np.asarray(e[key]) for e in runs])
