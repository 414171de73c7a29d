"""What cheating is worth: pseudo-labels from half of the test photos against as many from extra/.

    python tests/benchmarks/leak_gain.py [--data DIR] [--seeds 0 1 2] [--jobs 2]

- labels only: the laptop preset on all labeled persons
- extra: `pseudo_soft_laptop` rounds, the pool is as many photos of extra/ as half of eval/ has
- test photos: the same rounds, the pool is that half of eval/images (the guard is off: it would refuse)

Scored on the half that was the pool and on the other, untouched one. The halves are cut by person: eval/ names none,
but the photos of one person are made from one, so those whose upper parts match are put together. Seed s trains with
seed s on split s. The answers of eval/ are read here and nowhere else. Intervals by these persons, paired. About 20
minutes on 2 idle cores; what is already in `--out`/leak_gain.jsonl is not redone.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray
from resumable import Entry, arguments, read_truth, run_all
from rich.console import Console
from rich.table import Table
from scipy.sparse.csgraph import connected_components

from ssl_mask.evaluation.metrics import macro_f1, paired_bootstrap

CLASSES = 18
KINDS = ("labels only", "extra", "test photos")


def main() -> None:
    options = arguments(__doc__ or "", rounds=2)
    if options.child:
        print(json.dumps(child(options)))
        return
    same = {"rounds": options.rounds, "size": options.size, "steps": options.steps, "batch": options.batch}
    waves = [[{"kind": k, "seed": s, **same} for s in options.seeds for k in kinds] for kinds in (KINDS[:1], KINDS[1:])]
    words = ["--data", str(options.data.resolve()), "--out", str(options.out)]
    store = options.out / "leak_gain.jsonl"
    persons_of(options)
    show([e for wave in waves for e in run_all(__file__, store, wave, words, options.jobs)], options)


# ---- who is who in eval/ ----


def persons_of(options: argparse.Namespace) -> dict[str, int]:
    """Photo -> a number for each person; found once, then read from `--out`/persons.json.

    Two photos are linked when at least 11 SIFT features of their upper 42 % agree on one similarity transform; what is
    linked is one person. That finds 120 persons (eval/ has 120), 114 of them with seven photos.
    """
    stored = options.out / "persons.json"
    if not stored.is_file():
        photos = sorted((options.data / "eval/images").iterdir())
        features = [upper_features(p) for p in photos]
        same = np.zeros((len(photos), len(photos)), dtype=bool)
        for i, j in combinations(range(len(photos)), 2):
            same[i, j] = agreeing(features[i], features[j]) >= 11
        _, label = connected_components(same, directed=False)
        options.out.mkdir(parents=True, exist_ok=True)
        stored.write_text(json.dumps({p.name: int(n) for p, n in zip(photos, label, strict=True)}))
    return dict(json.loads(stored.read_text()))


def upper_features(photo: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Places (n, 2) and unit descriptors (n, 128) above the mask."""
    grey = np.asarray(cv2.imread(str(photo), cv2.IMREAD_GRAYSCALE))
    upper = cv2.resize(grey[: round(0.425 * len(grey))], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    points, found = cv2.SIFT.create(contrastThreshold=0.01).detectAndCompute(upper, None)
    places = np.asarray([p.pt for p in points], np.float32).reshape(-1, 2)
    descriptors = np.zeros((0, 128), np.float32) if found is None else found
    return places, descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-6)


def agreeing(
    one: tuple[NDArray[np.float32], NDArray[np.float32]], other: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> int:
    """How many mutual, distinctive matches fit one similarity transform."""
    if min(len(one[0]), len(other[0])) < 8:
        return 0
    cosine = one[1] @ other[1].T
    nearest = cosine.argmax(axis=1)
    second, first = np.partition(cosine, -2, axis=1)[:, -2:].T
    mutual = cosine.argmax(axis=0)[nearest] == np.arange(len(nearest))
    good = mutual & (1 - first < 0.64 * (1 - second))  # a distance ratio of 0.8
    if good.sum() < 8:
        return 0
    _, inlier = cv2.estimateAffinePartial2D(one[0][good], other[0][nearest[good]], ransacReprojThreshold=4)
    return 0 if inlier is None else int(inlier.sum())


def half_of(persons: dict[str, int]) -> dict[str, bool]:
    """Photo -> whether it becomes the pool: all photos of every second person."""
    chosen = np.random.default_rng(0).permutation(max(persons.values()) + 1) % 2 == 0
    return {name: bool(chosen[number]) for name, number in persons.items()}


# ---- one run ----


def child(options: argparse.Namespace) -> Entry:
    import ssl_mask

    job, runs, data = options.child, options.out / "leak-runs", options.data
    pool = [data / "eval/images" / name for name, chosen in half_of(persons_of(options)).items() if chosen]
    if job["kind"] == "extra":
        pool = sorted((data / "extra").iterdir())[: len(pool)]
    layers: Entry = {
        "seed": job["seed"],
        "runs": str(runs),
        "name": f"{job['kind'].replace(' ', '-')}-{job['seed']}",
        "data": {"root": str(data), "split_seed": job["seed"]},
        "model": {"image_size": job["size"]},
        "train": {"steps": job["steps"], "batch_size": job["batch"], "eval_every": job["steps"] // 4},
        "guard": {"mode": "off"},  # it would refuse this: that is its point
    }
    shutil.rmtree(runs / layers["name"], ignore_errors=True)  # of a run that was killed
    if job["kind"] == "labels only":
        run = ssl_mask.train(ssl_mask.load_config(layers, preset="laptop"), quiet=True)
    else:
        layers["data"]["unlabeled"] = [str(p) for p in pool]
        layers["pseudo"] = {"rounds": job["rounds"], "teachers": [str(runs / f"labels-only-{job['seed']}")]}
        run = ssl_mask.pseudo(ssl_mask.load_config(layers, preset="pseudo_soft_laptop"), quiet=True)
        if job["rounds"]:
            # The last round, not the best by validation: what is asked is what the pool does.
            run = ssl_mask.load_run(run.path / "rounds" / f"{job['rounds']:02d}")
    assert run is not None
    predictions = ssl_mask.predict([run.path], quiet=True)
    return {
        "run": str(run.path),
        "val": run.scores.macro_f1,
        "names": [PurePosixPath(r.path).name for r in predictions.manifest.rows],
        "predicted": predictions.probs.argmax(axis=1).tolist(),
    }


# ---- the tables ----


def show(entries: Sequence[Entry], options: argparse.Namespace) -> None:
    screen, truth, names = Console(), read_truth(options.data / "eval_answers.csv"), entries[0]["names"]
    persons = persons_of(options)
    pooled = half_of(persons)
    true, groups = np.asarray([truth[n] for n in names]), np.asarray([persons[n] for n in names])
    used = np.asarray([pooled[n] for n in names])
    screen.print(f"{len(set(groups.tolist()))} persons found in eval/; the pool is {used.sum()} of {len(used)} photos")
    halves = {"half that was the pool": used, "untouched half": ~used}
    table = Table("what", "seed", "val macro-F1", *halves)
    for entry in entries:
        guess = np.asarray(entry["predicted"])
        scores = [f"{macro_f1(true[h], guess[h], CLASSES):.3f}" for h in halves.values()]
        table.add_row(entry["kind"], str(entry["seed"]), f"{entry['val']:.3f}", *scores)
    screen.print(table)
    guesses = {k: np.stack([e["predicted"] for e in entries if e["kind"] == k]) for k in KINDS}
    for name, half in halves.items():
        for kind, base in (("test photos", "extra"), ("test photos", "labels only"), ("extra", "labels only")):
            found = paired_bootstrap(true[half], guesses[base][:, half], guesses[kind][:, half], groups[half], CLASSES)
            f1, right = found["macro_f1"], found["accuracy"]
            screen.print(
                f"{name}: {kind} less {base}: macro-F1 {f1.value:+.3f} (95 % {f1.low:+.3f} to {f1.high:+.3f}), "
                f"accuracy {right.value:+.3f} ({right.low:+.3f} to {right.high:+.3f})"
            )


if __name__ == "__main__":
    main()
