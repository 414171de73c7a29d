"""How many of the planted wrong persons does a reviewer meet, who looks at the first 13, 26, 39, 52 of a ranking?

    python tests/benchmarks/review.py STUDY [--data DIR]

STUDY is a finished study of folds on the faces of `--data` (`sslmask train --folds 5`): its out-of-fold predictions are
ranked. A person counts as met with the first of its doubted labels. The rankings:

- per group: `sslmask review`, with the labels of a person judged on the mean of its images, against class thresholds
- per group, plain gap: the same without the thresholds
- per image: the same for one who knows nothing of groups
- self-confidence: every image by the probability of its joint label, which is cleanlab's default score
- cleanlab: what `cleanlab.filter.find_label_issues` finds with its defaults, by that score (needs `sslmask[clean]`)

The answers (`planted_label_errors.csv`) are read here and nowhere else. Reads tables alone: seconds.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ssl_mask.data.predictions import PredictionTable
from ssl_mask.errors import InputError
from ssl_mask.evaluation.cleanlab_issues import cleanlab_issues
from ssl_mask.evaluation.label_doubts import label_doubts
from ssl_mask.reports.html.subject import subject_of
from ssl_mask.runs.sources import find_source

REVIEWED = (13, 26, 39, 52)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SSLMASK_MASK18", "../shared/data/mask18")))
    options = parser.parse_args()
    subject = subject_of(find_source(options.study, Path("runs")))
    assert subject.table is not None
    table, schema = subject.table, subject.schema
    persons = np.asarray([Path(path).parent.name for path in table.path.tolist()])
    planted = wrong_persons(options.data) & set(persons.tolist())
    doubts = label_doubts(table, schema)
    alone = label_doubts(replace(table, group=table.path), schema)
    by_gap = sorted(doubts, key=lambda d: d.p_label - d.p_suggested)
    rankings = {
        "per group": persons_of((d.rows[0] for d in doubts), persons),
        "per group, plain gap": persons_of((d.rows[0] for d in by_gap), persons),
        "per image": persons_of((d.rows[0] for d in alone), persons),
        "self-confidence": persons_of(np.argsort(own_probs(table), kind="stable").tolist(), persons),
    }
    with suppress(InputError):
        rankings["cleanlab"] = persons_of(cleanlab_issues(table), persons)
    show(rankings, planted)


def wrong_persons(data: Path) -> set[str]:
    with (data / "planted_label_errors.csv").open(newline="") as file:
        return {row["path"] for row in csv.DictReader(file)}


def own_probs(table: PredictionTable) -> np.ndarray:
    """(n,) the probability of each label."""
    return table.probs[np.arange(len(table)), table.true]


def persons_of(rows: Iterable[int], persons: np.ndarray) -> list[str]:
    """Persons in the order of their first row."""
    return list(dict.fromkeys(str(persons[row]) for row in rows))


def show(rankings: dict[str, list[str]], planted: set[str]) -> None:
    table = Table(title=f"{len(planted)} wrong persons: found (precision / recall) within the first persons")
    table.add_column("ranking")
    for count in REVIEWED:
        table.add_column(str(count))
    table.add_column("listed")
    table.add_column("all found within")
    for name, ranked in rankings.items():
        cells = []
        for count in REVIEWED:
            found = len(planted.intersection(ranked[:count]))
            cells.append(f"{found} ({found / count:.2f} / {found / len(planted):.2f})")
        places = [place for place, person in enumerate(ranked, start=1) if person in planted]
        last = str(places[-1]) if len(places) == len(planted) else f"never: {len(planted) - len(places)} not listed"
        table.add_row(name, *cells, str(len(ranked)), last)
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
