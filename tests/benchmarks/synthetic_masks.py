"""What masks drawn on bare faces gain (`sslmask prepare --draw-masks`), on the faces of mask18.

    python tests/benchmarks/synthetic_masks.py [--data DIR] [--ways WAY …] [--seeds 0 1 2] [--jobs 2] [--device cpu]

60 persons with all their photos are the base; of 60 others, whose sex and age are known, only the bare photo is
there, as in a set of faces with ages that one adds. Ways, all with the same base persons and folds: the base alone;
with the bare photos of the others; with these and a mask drawn on each, right and wrong; with the drawn ones of the
base persons too; and with all real photos of the others, which is the most that drawing could be worth. The others'
photos are in the training parts only. Compared are out-of-fold macro-F1 of the base persons, of all seeds together;
differences are paired, their intervals by person. The answers of eval/ are read at the end, for information.

The masks of mask18 were drawn by computer too, with other templates: on photos of real masks the gain may be another.

Needs the extra [faces] (or mediapipe). The drawn photos of the others of all seeds are made first, in this process.
What is in `--out`/synthetic_masks.jsonl is not redone; after a change of the code, choose a new `--out`.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path

from faces import drawn, in_order
from oof import PERSONS, arguments, jobs_of, show, studied
from resumable import run_all

BASE = "base"
WAYS: dict[str, tuple[str, ...]] = {
    BASE: (),
    "with bare photos of others": ("bare",),
    "with these and drawn masks": ("bare", "drawn"),
    "with these and drawn masks of the base": ("bare", "drawn", "own"),
    "with all real photos of others": ("bare", "real"),
}
"""Which tables of further labels."""
AGES = ("<30", "30-59", ">=60")


def main() -> None:
    options = arguments(__doc__ or "", tuple(WAYS))
    if job := options.child:
        folder = folder_of(options, job["seed"])
        tables = [str(folder / f"{name}.csv") for name in WAYS[job["way"]]]
        data = {"root": str(folder), "extra_labels": tables}
        print(json.dumps(studied(job, options.out / "synthetic-masks-runs", data, {})))
        return
    for seed in options.seeds:
        prepared(options, seed)
    jobs, words = jobs_of(options)
    show(run_all(__file__, options.out / "synthetic_masks.jsonl", jobs, words, options.jobs), options,
         f"{PERSONS} persons, and the bare faces of {PERSONS} others")  # fmt: skip


def folder_of(options: argparse.Namespace, seed: int) -> Path:
    return Path(options.out / f"drawn-masks-{seed}")


def prepared(options: argparse.Namespace, seed: int) -> None:
    """A data folder with drawn masks, and beside its photos a table of further labels for each of WAYS."""
    from ssl_mask.data.prepare.drawn_photos import parse_draw
    from ssl_mask.data.prepare.one_photo import PrepareSettings
    from ssl_mask.workflows.prepare import prepare

    out = folder_of(options, seed)
    if (out / "own.csv").exists():
        return
    source = drawn(options.data, options.out / f"faces-{PERSONS}-{seed}", PERSONS, seed)
    with (options.data / "train/train.csv").open(newline="") as file:
        others = in_order(list(csv.DictReader(file)), seed)[PERSONS : 2 * PERSONS]
    photos = [row for person in others for row in photos_of(source, person)]
    write(source / "bare.csv", [row for row in photos if row["mask"] == "none"])
    write(source / "real.csv", [row for row in photos if row["mask"] != "none"])
    draw = parse_draw("mask=none,worn,incorrect", source / "bare.csv")
    found = prepare(source, out, PrepareSettings(faces="keep", draw=draw), quiet=True)
    print(f"seed {seed}: {found.counts}", flush=True)
    assert found.synthetic is not None  # for the type checker: masks were drawn
    with found.synthetic.open(newline="") as file:
        made = list(csv.DictReader(file))
    of_others = {person["id"] for person in others}
    write(out / "drawn.csv", [row for row in made if row["group"] in of_others])
    write(out / "own.csv", [row for row in made if row["group"] not in of_others])


def photos_of(source: Path, person: dict[str, str]) -> list[dict[str, str]]:
    """The rows of the photos of a person whose labels are hidden."""
    age = AGES[sum(int(person["age"]) >= bound for bound in (30, 60))]
    masks = {"normal": "none", "incorrect_mask": "incorrect"}
    return [
        {"image": path.relative_to(source).as_posix(), "group": person["id"], "mask": masks.get(path.stem, "worn"),
         "gender": person["gender"], "age": age}
        for path in sorted((source / "others" / person["path"]).iterdir())
    ]  # fmt: skip


def write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
