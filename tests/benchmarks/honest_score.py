"""Measures the default recipe on real faces against a linear probe of its own backbone, and what a leaky split hides.

    python tests/benchmarks/honest_score.py [--data DIR] [--seeds 0 1 2] [--optimism]

- probe: logistic regression on the frozen backbone's features of the same persons as the run's; one per factor
- recipe: `ssl_mask.train` with the default preset, then `ssl_mask.predict`
- by-image (`--optimism`, first seed): the recipe on a table without a group column, so that photos of one person are
  on both sides of the split

Seed s trains with seed s on split s. Eval scores are macro-F1 on persons of no split; the answers are read here and
nowhere else. Results are appended to `--out`/honest_score.jsonl, and what is there for the same kind, seed, steps
and recipe is not redone. After a change of the code alone, choose a new `--out`.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console as Screen
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ssl_mask
from ssl_mask.config import RunConfig, to_yaml
from ssl_mask.console import Console
from ssl_mask.data.batches import image_batches
from ssl_mask.data.image_set import open_images
from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.load import read_manifest
from ssl_mask.data.manifest import Manifest
from ssl_mask.evaluation import metrics
from ssl_mask.models.classifier import build_classifier

ROOT = Path(__file__).resolve().parents[2]
PROBE_SIZE = 112
PENALTIES = np.logspace(-4, 0, 9)
Entry = dict[str, Any]


def main() -> None:
    options = arguments()
    entries: list[Entry] = []
    for seed in options.seeds:
        config = recipe(options, seed)
        entries += [
            once(options.out, "probe", config, partial(probe, options.data, config)),
            once(options.out, "recipe", config, partial(train_and_predict, options.data, config)),
        ]
    if options.optimism:
        config = recipe(options, options.seeds[0])
        entries.append(once(options.out, "by-image", config, partial(by_image, options.data, config)))
    show(entries)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = ROOT.parent / "shared" / "data" / "mask18"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SSLMASK_MASK18", usual)))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="not given: the preset's")
    parser.add_argument("--optimism", action="store_true", help="also split by image, with the first seed")
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out"))
    return parser.parse_args()


def recipe(options: argparse.Namespace, seed: int) -> RunConfig:
    """The default preset; only the seed, the split and (when asked) the length are set."""
    data = {"root": str(options.data.resolve()), "split_seed": seed}
    length: Entry = {"train": {"steps": options.steps}} if options.steps else {}
    length["guard"] = {"mode": "off"}  # it would refuse the leaky split, which is measured here
    return ssl_mask.load_config({"seed": seed, "data": data, "runs": str(options.out / "runs"), **length})


def once(out: Path, kind: str, config: RunConfig, work: Callable[[], Entry]) -> Entry:
    """The stored result of this kind, seed, length and recipe, or a new one, which is stored."""
    store = out / "honest_score.jsonl"
    key: Entry = {"kind": kind, "seed": config.seed, "steps": None, "recipe": "probe"}
    if kind != "probe":
        key |= {"steps": config.train.steps, "recipe": fingerprint(config)}
    lines = store.read_text().splitlines() if store.exists() else []
    for entry in map(json.loads, lines):
        if entry.items() >= key.items():
            return dict(entry)
    began = time.monotonic()
    entry = {**key, **work(), "seconds": round(time.monotonic() - began, 1)}
    out.mkdir(parents=True, exist_ok=True)
    with store.open("a") as file:
        file.write(json.dumps(entry) + "\n")
    return entry


def fingerprint(config: RunConfig) -> str:
    """Of all settings but the folders."""
    here = config.model_copy(update={"runs": Path(), "data": config.data.model_copy(update={"root": Path()})})
    return hashlib.sha256(to_yaml(here).encode()).hexdigest()[:12]


# ---- the linear probe ----


def probe(data: Path, config: RunConfig) -> Entry:
    """One logistic regression a factor on the training persons; C is the best for the validation persons."""
    manifest = read_manifest(config.data, Console(quiet=True))
    features = photo_features(data)
    sides = {side: manifest.where(side) for side in ("train", "val", "test")}
    x = {side: np.stack([features[r.path] for r in rows.rows]) for side, rows in sides.items()}
    classes = len(manifest.schema.joint_classes)
    best: tuple[float, float, NDArray[np.int64]] | None = None
    for penalty in PENALTIES:
        models = [fit(x["train"], labels, penalty) for labels in sides["train"].labels.T]
        score = metrics.macro_f1(sides["val"].joint, joint_class(models, x["val"]), classes)
        if best is None or score > best[0]:
            best = score, float(penalty), joint_class(models, x["test"])
    assert best is not None
    return {"val": best[0], "eval": eval_score(data, sides["test"], best[2]), "C": best[1]}


def fit(x: NDArray[Any], labels: NDArray[Any], penalty: float) -> Any:
    model = LogisticRegression(C=penalty, class_weight="balanced", max_iter=2000)
    return make_pipeline(StandardScaler(), model).fit(x, labels)


def joint_class(models: Sequence[Any], x: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) joint class of the greatest product of the factors' probabilities; the last factor counts fastest."""
    joint = np.ones((len(x), 1))
    for model in models:
        joint = (joint[:, :, None] * model.predict_proba(x)[:, None, :]).reshape(len(x), -1)
    return np.asarray(joint.argmax(axis=1))


@cache
def photo_features(data: Path) -> dict[str, NDArray[np.float32]]:
    """The frozen backbone's pooled features of every photo, plain and mirrored averaged."""
    config = ssl_mask.load_config({"data": {"root": str(data)}})
    manifest = read_dataset(data, layout="mask18")
    model, size = build_classifier(manifest.schema.sizes, backbone="embedded", neck="none", image_size=PROBE_SIZE)
    images = open_images(manifest, config.data, size).images
    model.eval()
    found: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for batch in image_batches(images, range(len(images)), batch_size=64, workers=0):
            found.extend(((model.embed(batch) + model.embed(batch.flip(2))) / 2).numpy())
    return {row.path: features for row, features in zip(manifest.rows, found, strict=True)}


# ---- the recipe ----


def train_and_predict(data: Path, config: RunConfig) -> Entry:
    run = ssl_mask.train(config)
    assert run is not None
    predictions = ssl_mask.predict([run.path])
    score = eval_score(data, predictions.manifest, predictions.probs.argmax(axis=1))
    scores = run.scores
    return {"val": scores.macro_f1, "eval": score, "best_step": scores.step, "run": str(run.path)}


def by_image(data: Path, config: RunConfig) -> Entry:
    """The same recipe, photos and labels, but every photo is a group of its own."""
    with tempfile.TemporaryDirectory() as folder:
        options = write_table(data, Path(folder))
        section = {"root": Path(folder), "layout": "table", "options": options, "outside_root": "allow"}
        return train_and_predict(data, config.model_copy(update={"data": config.data.model_copy(update=section)}))


def write_table(data: Path, folder: Path) -> dict[str, Any]:
    """A table of the photos without their persons; classes are numbers, so that the joint classes stay the same."""
    manifest = read_dataset(data, layout="mask18")
    names = [f.name for f in manifest.schema.factors]
    (folder / "photos").symlink_to(data.resolve(), target_is_directory=True)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *names, "split"])
        for row in manifest.rows:
            writer.writerow([row.path, *(row.labels or [""] * len(names)), row.split])
    return {"images": "photos", "labels": names}


def eval_score(data: Path, manifest: Manifest, predicted: NDArray[np.int64]) -> float:
    """Macro-F1 of the eval photos' joint classes."""
    with (data / "eval_answers.csv").open(newline="") as file:
        answers = {row["ImageID"]: int(row["ans"]) for row in csv.DictReader(file)}
    true = np.asarray([answers[PurePosixPath(row.path).name] for row in manifest.rows])
    return metrics.macro_f1(true, predicted, len(manifest.schema.joint_classes))


# ---- the table ----


def show(entries: Sequence[Entry]) -> None:
    screen = Screen()
    table = Table("what", "split by", "seed", "steps", "validation", "eval", "optimism", "minutes")
    for kind in ("probe", "recipe", "by-image"):
        group = [e for e in entries if e["kind"] == kind]
        for entry in group:
            add_row(table, kind, str(entry["seed"]), entry["steps"], entry["val"], entry["eval"], entry["seconds"])
        if len(group) > 1:
            val, score, seconds = (statistics.mean(e[k] for e in group) for k in ("val", "eval", "seconds"))
            add_row(table, kind, "mean", group[0]["steps"], val, score, seconds)
    screen.print(table)
    screen.print("validation, eval: macro-F1; optimism: validation less eval; minutes: with the evaluations")


def add_row(table: Table, kind: str, seed: str, steps: int | None, val: float, score: float, seconds: float) -> None:
    name, by = ("recipe", "image") if kind == "by-image" else (kind, "person")
    figures = (f"{val:.3f}", f"{score:.3f}", f"{val - score:+.3f}", f"{seconds / 60:.1f}")
    table.add_row(name, by, seed, str(steps or "-"), *figures)


if __name__ == "__main__":
    main()
