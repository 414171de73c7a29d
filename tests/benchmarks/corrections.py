"""What correcting wrong labels is worth: eval macro-F1 of folds before and after, on the same splits and seeds.

    python tests/benchmarks/corrections.py STUDY... [--data DIR] [--reviewed 39] [--jobs 2] [--out DIR]

Each STUDY is a finished study of folds on the faces of `--data` (such as `folds.py` makes). A reviewer who knows the
truth looks at the first `--reviewed` persons of `sslmask review`, corrects those whose labels were planted wrong, and
trains again: the same study with `data.corrections`. Beside it: all planted labels corrected, what no review can pass.
Intervals are paired and by image, for the answers name no persons: they are too narrow. About 5 minutes a training.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from folds import CLASSES, classes, eval_names, mean_f1, probs_of, trained
from resumable import Entry, data_folder, read_truth, run_all
from review import persons_of
from rich.console import Console

MASKS = {"incorrect_mask.jpg": "none", "normal.jpg": "incorrect"}
"""What the two images of a person show whose file names were swapped."""
WHO = {"found": "found by review", "planted": "all planted"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--reviewed", type=int, default=39)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trainings at a time, of one thread each")
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out"))
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options)))
        return
    jobs = [
        {"study": str(study.resolve()), "who": who, "reviewed": options.reviewed}
        for who in WHO
        for study in options.studies
    ]
    words = [*map(str, options.studies), "--data", str(options.data.resolve()), "--out", str(options.out)]
    show(run_all(__file__, options.out / "corrections.jsonl", jobs, words, options.jobs), options)


def child(options: argparse.Namespace) -> Entry:
    """One study again, with its labels corrected."""
    from ssl_mask.config import merge, validate
    from ssl_mask.runs.study import Study

    job = options.child
    study = Study(Path(job["study"]))
    table = options.out / f"{study.path.name}-{job['who']}.csv"
    told = corrected(study, options.data, None if job["who"] == "planted" else job["reviewed"], table)
    change = {"runs": str(options.out / "corrected-runs"), "name": table.stem, "data": {"corrections": str(table)}}
    after = trained(validate(merge(study.record().config, change)), "train")[1]
    return {
        "corrected": told, "before": classes(probs_of([study.path])), "after": after["ensemble"],
        "names": [Path(name).name for name in eval_names(study.path)],
    }  # fmt: skip


def corrected(study: Any, data: Path, reviewed: int | None, out: Path) -> int:
    """Write the corrections of the persons that are met within the first `reviewed`, or of all; how many they are."""
    from ssl_mask.evaluation.label_doubts import label_doubts
    from ssl_mask.reports.html.subject import subject_of
    from ssl_mask.runs.sources import find_source

    subject = subject_of(find_source(study.path, study.path.parent))
    assert subject.table is not None
    images = subject.table.path.tolist()
    folders = np.asarray([Path(path).parent.name for path in images])
    met = persons_of((doubt.rows[0] for doubt in label_doubts(subject.table, subject.schema)), folders)
    with (data / "planted_label_errors.csv").open(newline="") as file:
        wrong = [row for row in csv.DictReader(file) if reviewed is None or row["path"] in met[:reviewed]]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "mask", "gender", "age", "reviewer", "reason"])
        for person in wrong:
            age = ("<30", "30-59", ">=60")[sum(int(person["true_age"]) >= bound for bound in (30, 60))]
            for path in (path for path in images if Path(path).parent.name == person["path"]):
                mask = MASKS.get(Path(path).name, "") if person["swapped_files"] else ""
                table.writerow([path, mask, person["true_gender"], age, "benchmark", "planted"])
    return len(wrong)


def show(entries: list[Entry], options: argparse.Namespace) -> None:
    from ssl_mask.evaluation.metrics import paired_bootstrap

    truth = read_truth(options.data / "eval_answers.csv")
    true = np.asarray([truth[name] for name in entries[0]["names"]])
    for who, title in WHO.items():
        own = [entry for entry in entries if entry["who"] == who]
        before, after = (np.stack([entry[side] for entry in own]) for side in ("before", "after"))
        gain = paired_bootstrap(true, before, after, np.arange(len(true)), CLASSES)["macro_f1"]
        Console().print(
            f"{title} ({', '.join(str(entry['corrected']) for entry in own)} persons): eval macro-F1 "
            f"{mean_f1(true, before.tolist()):.3f} -> {mean_f1(true, after.tolist()):.3f} ({gain.value:+.3f}, 95 % "
            f"{gain.low:+.3f} to {gain.high:+.3f}); {len(own)} studies"
        )


if __name__ == "__main__":
    main()
