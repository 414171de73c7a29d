"""Small data sets of the faces for benchmarks: few labeled persons, the images of the others unlabeled."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def drawn(source: Path, out: Path, persons: int, seed: int) -> Path:
    """A data set of that many labeled persons, copied from `source`. Persons are drawn in proportion from each sex and
    age band, and those of a smaller number are among those of a greater one."""
    if (out / "train/train.csv").is_file():
        return out
    shutil.rmtree(out, ignore_errors=True)
    with (source / "train/train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = {row["id"] for row in in_order(rows, seed)[:persons]}
    for row in rows:
        place = out / ("train/images" if row["id"] in kept else "others") / row["path"]
        shutil.copytree(source / "train/images" / row["path"], place)
    for part in ("eval", "extra"):
        shutil.copytree(source / part, out / part)
    with (out / "train/train.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(row for row in rows if row["id"] in kept)
    return out


def in_order(rows: Sequence[dict[str, str]], seed: int) -> list[dict[str, str]]:
    kinds: dict[tuple[str, int], list[dict[str, str]]] = {}
    for row in rows:
        kinds.setdefault((row["gender"], sum(int(row["age"]) >= bound for bound in (30, 60))), []).append(row)
    rng = np.random.default_rng(seed)
    places: list[tuple[float, int, dict[str, str]]] = []
    for number, (_, own) in enumerate(sorted(kinds.items(), key=lambda kind: kind[0])):
        places += [((i + 0.5) / len(own), number, own[j]) for i, j in enumerate(rng.permutation(len(own)))]
    return [row for _, _, row in sorted(places, key=lambda place: place[:2])]


def pool_of(data: Path) -> list[str]:
    """extra/, and the images of the persons whose labels are hidden."""
    return [str(data / part) for part in ("extra", "others") if (data / part).is_dir()]
