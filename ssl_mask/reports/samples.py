"""Made-up runs: `python -m ssl_mask.reports.…` shows a plot, a table or a card of one, and tests draw from it.

Every figure here is drawn by a generator with a fixed seed and means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.predictions import PredictionTable, write_predictions
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.evaluation.metrics import Interval
from ssl_mask.files import write_json
from ssl_mask.guard.provenance import Provenance
from ssl_mask.guard.status import Mark
from ssl_mask.reports.described import Described, DescribedImage
from ssl_mask.reports.model_scores import ModelFacts, Scored
from ssl_mask.runs.records import DataRecord, RunStatus
from ssl_mask.runs.run import RunDir

SCHEMA = LabelSchema(
    (
        Factor("colour", ("red", "green", "blue")),
        Factor("size", ("small", "large")),
        Factor("condition", ("new", "used", "broken")),
    )
)
"""Three factors, 18 joint classes."""


def one_factor(classes: int) -> LabelSchema:
    """A flat schema of `classes` classes."""
    return LabelSchema((Factor("species", tuple(f"species {i:02d}" for i in range(classes))),))


def head_classes(schema: LabelSchema = SCHEMA) -> dict[str, tuple[str, ...]]:
    return schema.head_classes("factors")


def metrics(
    evaluations: int = 20, every: int = 25, heads: Mapping[str, Sequence[str]] | None = None
) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl` of a run with unlabeled images: `evaluations` of them, `every` steps apart."""
    rng = np.random.default_rng(0)
    heads, last = heads or head_classes(), evaluations * every
    records: list[dict[str, Any]] = []
    for step in range(1, last + 1):
        done = step / last
        if step % max(1, every // 5) == 0:
            stats = {"kept": 0.3 + 0.6 * done}
            for name, classes in heads.items():
                shares = rng.dirichlet(np.full(len(classes), 8.0))
                stats |= {
                    f"mask_rate/{name}": 0.2 + 0.5 * done, f"predicted/{name}": shares.tolist(),
                    f"selected/{name}": (shares * (0.2 + 0.5 * done)).tolist(),
                    f"histogram/{name}": rng.dirichlet(np.linspace(0.5, 1 + 9 * done, 20)).tolist(),
                }  # fmt: skip
            terms = {name: 1.1 * np.exp(-2 * done) + 0.05 * rng.random() for name in (*heads, "consistency")}
            lr = 1e-3 * min(1.0, 10 * done) * (1.0 - 0.9 * done)
            records.append({"kind": "train", "step": step, "terms": terms, "stats": stats, "lr": lr})
        if step % every == 0:
            for weights, ahead in (("live", 0.0), ("ema", 0.03)):
                f1 = 0.2 + 0.35 * np.sin(min(1.0, 1.25 * done) * np.pi / 2) + ahead + 0.02 * rng.random() - 0.05 * done
                scored = {"macro_f1": float(f1), "accuracy": float(f1) + 0.2, "ece": 0.04, "ece_raw": 0.04 + 0.1 * done}
                records.append({"kind": "val", "step": step, "weights": weights, **scored})
            records[-1] |= {
                f"pseudo_{k}": dict.fromkeys(heads, v) for k, v in (("share", 0.2 + 0.4 * done), ("precision", 0.9))
            }
    return records


def joint_predictions(
    schema: LabelSchema = SCHEMA, images: int = 600, *, right: float = 0.7
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n,) true and predicted joint classes; some classes have one to three images only."""
    rng = np.random.default_rng(0)
    sizes = list(schema.sizes.values())
    shares = np.asarray([1.0])
    for size in sizes:
        shares = np.outer(shares, np.geomspace(1, 0.15 if len(sizes) > 1 else 0.05, size)).ravel()
    true = np.sort(rng.choice(len(shares), images, p=shares / shares.sum()))
    parts = schema.part(true)
    for i, size in enumerate(sizes):
        wrong = rng.random(images) > right ** (1 / len(sizes))
        parts[wrong, i] = (parts[wrong, i] + rng.integers(1, min(size, 4), wrong.sum())) % size
    return true, schema.join(parts)


def predictions(images: int = 600) -> PredictionTable:
    """A predictions table of sure predictions; two images a group."""
    true, predicted = joint_predictions(images=images)
    text = {n: np.asarray([f"{i:03d}" for i in range(images)]) for n in ("id", "path", "sha256")}
    group, fold = np.asarray([f"g{i // 2}" for i in range(images)]), np.arange(images) // 2 % 5
    probs = np.eye(len(SCHEMA.joint_classes), dtype=np.float32)[predicted]
    return PredictionTable(SCHEMA.joint_classes, **text, group=group, fold=fold, true=true, predicted=predicted,
                           probs=probs, more={})  # fmt: skip


def scores() -> Any:
    """What `sslmask evaluate` finds; some images were seen in training."""
    f1, accuracy = Interval(0.4137, 0.371, 0.462), Interval(0.6717, 0.640, 0.705)
    counts = (146, 75, 31, 20, 5, 2, 90, 60, 20, 12, 1, 0, 70, 40, 22, 9, 6, 3)
    classes = {
        name: (0.92 - 0.03 * i, n, Interval(0.9 - 0.03 * i, 0.85 - 0.03 * i, 0.97 - 0.03 * i) if n > 5 else None)
        for i, (name, n) in enumerate(zip(SCHEMA.joint_classes, counts, strict=True))
    }
    seen = {f"test/{i:04d}.jpg": "trained on with its label (copy, 0.98)" for i in range(22)}
    why = ("22 of 612 images were seen in training",)
    return SimpleNamespace(
        images=612, macro_f1=f1, accuracy=accuracy, grouped=True, empty=0, classes=classes,
        factors={f.name: {"macro_f1": 0.81, "accuracy": 0.88} for f in SCHEMA.factors},
        leakage=Provenance("leaked-declared", "0" * 64, seen, why), new_images=(590, f1, accuracy),
        path=Path("runs/train-001/predictions/test/evaluation.json"),
    )  # fmt: skip


def run(folder: Path, **changes: Any) -> RunDir:
    """A folder with what a run card is made from; keyword arguments change its status."""
    made = RunDir(folder)
    folder.mkdir(parents=True)
    true, predicted = joint_predictions(images=280)
    rows = tuple(
        Row(f"{i:03d}.jpg", f"person {i // 3}", "val", "labels.csv", labels)
        for i, labels in enumerate(map(tuple, SCHEMA.part(true).tolist()))
    )
    manifest = Manifest(folder, "table", SCHEMA, rows, True, Submission("image", ("answer",), "names"))
    write_predictions(made.validation, manifest, np.eye(len(SCHEMA.joint_classes), dtype=np.float32)[predicted])
    write_json(made.status_file, RunStatus.model_validate({**_status(folder.name), **changes}).to_json())
    write_json(
        made.environment,
        {
            "sslmask": "0.1.0", "python": "3.13.1", "packages": {"torch": "2.7.0", "timm": "1.0.22"}, "processes": 1,
            "device": "cpu", "gpu": None, "precision": "no", "command": ["sslmask", "uda", "--unlabeled", "extra"],
            "platform": "Linux", "processor": "x86_64", "cpus": 2, "threads": 2,
        },
    )  # fmt: skip
    return made


def model_facts(**changes: Any) -> ModelFacts:
    """What a model card tells; keyword arguments change it."""
    mark = Mark("photos-clean", "the test set names no persons (groups), so shared ones cannot be ruled out")
    own = Scored("validation", 280, 94, True, Interval(0.4137, 0.371, 0.462), Interval(0.6717, 0.640, 0.705),
                 "Optimistic: the weights were selected on this score.", mark)  # fmt: skip
    facts: dict[str, Any] = {
        "name": "uda-001", "schema": SCHEMA, "mark": mark, "declared": None, "scores": (own,),
        "networks": ("EfficientNet-Lite0 (embedded), 224 px, head arcface",) * 5,
        "files": ("checkpoints/best.safetensors",), "data": DataRecord.model_validate(_status("uda-001")["data"]),
        "builds_on": (), "code": "0.1.0", "knows_seen": True,
    }  # fmt: skip
    return ModelFacts(**{**facts, **changes})


def described(images: int = 12) -> Described:
    """A data set; the last third is a test set without labels and groups."""
    labeled = images - images // 3
    rows = (
        DescribedImage(f"{'train' if i < labeled else 'test'}/{i:03d}.jpg", f"{i:064x}",
                       "train" if i < labeled else "test", f"person {i // 3}" if i < labeled else "",
                       (i % 3, i % 2, i % 3) if i < labeled else None)
        for i in range(images)
    )  # fmt: skip
    return Described("things", tuple(rows), SCHEMA, True)


def _status(name: str) -> dict[str, Any]:
    best = {
        "step": 375, "weights": "ema", "macro_f1": 0.4137, "accuracy": 0.6717, "nll": 0.9, "ece": 0.041,
        "ece_raw": 0.13, "heads": {"colour": 0.9, "size": 0.89, "condition": 0.94}, "temperatures": {},
    }  # fmt: skip
    data = {
        "content_hash": "0" * 64, "layout": "table", "root": "data", "grouped": True, "train_images": 1120,
        "val_images": 280, "train_groups": 370, "val_groups": 94, "pseudo": None,
        "unlabeled": {"sources": ("extra",), "images": 5000, "content_hash": "1" * 64, "left_out": 12},
    }  # fmt: skip
    return {
        "verb": "uda", "name": name, "status": "finished", "started": "2026-01-01T00:00:00", "updated": 0.0,
        "step": 500, "steps": 500, "seconds": 2712.0, "best": best, "data": data, "leakage": "not-checked", "seen": {},
    }  # fmt: skip
