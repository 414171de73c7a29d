"""Made-up data: `python -m ssl_mask.reports.…` shows a plot, a table or a card with it, and tests draw from it.

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
from ssl_mask.runs.comparison import ComparisonRecord, IntervalRecord
from ssl_mask.runs.folds import FoldsRecord
from ssl_mask.runs.records import RoundSummary, RunStatus
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.selected import SelectionRecord
from ssl_mask.runs.trials import TrialRecord, TuneSettings, VerdictRecord

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


def pool_confidence(images: int = 2000) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(n,) confidences of a pool, and which of its images are selected."""
    confidence = np.random.default_rng(0).beta(4, 1.5, images)
    return confidence, confidence > 0.8


def selection(heads: Mapping[str, Sequence[str]] | None = None) -> SelectionRecord:
    """A `selection.json` of round 1."""
    rng = np.random.default_rng(0)
    confidence, selected = pool_confidence()
    bins = [(i + 0.5) / 15 for i in range(15)]
    content = {
        "round": 1, "teachers": [{"run": "runs/pseudo-001/rounds/00", "checkpoint_sha256": "0" * 64}],
        "labels_sha256": "0" * 64,
        "rule": "precision", "masks": "factors", "pool": 2000,
        "selected": int(selected.sum()), "whole": 700, "highest_confidence": float(confidence.max()), "flipped": 0,
        "agreement": None, "validation": 612, "validation_groups": 90, "calibration_error": 0.041,
        "pool_hash": "0" * 64,
        "reliability": {"images": [0, 0, *range(5, 70, 5)], "confidence": bins, "accuracy": [b**1.2 for b in bins]},
        "heads": {
            name: _head(rng.multinomial(2000, rng.dirichlet(np.full(len(c), 2.0))).tolist(), c)
            for name, c in (heads or head_classes()).items()
        },
    }  # fmt: skip
    return SelectionRecord.model_validate(content)


def _head(predicted: Sequence[int], classes: Sequence[str]) -> dict[str, Any]:
    """Of the last class nothing is selected."""
    rows: dict[str, dict[str, Any]] = {
        c: {"predicted": n, "selected": n // 2, "threshold": 0.874, "source": "class", "support": n // 3}
        for c, n in zip(classes, predicted, strict=True)
    }
    rows[classes[-1]] |= {"selected": 0, "threshold": None, "source": "none", "support": 0}
    selected = sum(r["selected"] for r in rows.values())
    return {"selected": selected, "val_share": 0.61, "val_precision": 0.953, "classes": rows}


def rounds(last: int = 3, heads: Mapping[str, float] | None = None, *, audited: bool = True) -> list[RoundSummary]:
    """A row per round: round 0 trained on labels only, and `last` rounds of pseudo-labels.

    Args:
        heads: precision on validation of each head.
        audited: whether the true labels of the pool are known.
    """
    heads = heads or {"colour": 0.974, "size": 0.988, "condition": 0.861}

    def scored(number: int) -> dict[str, Any]:
        f1, accuracy = 0.414 + 0.03 * min(number, 2), 0.67 + 0.02 * min(number, 2)
        return {
            "round": number, "run": f"runs/pseudo-001/rounds/{number:02d}", "cpu_seconds": 12345.0 + number,
            "macro_f1": {"value": f1, "low": f1 - 0.04, "high": f1 + 0.05},
            "accuracy": {"value": accuracy, "low": accuracy - 0.03, "high": accuracy + 0.03},
        }  # fmt: skip

    rows = [{**scored(0), "taught_by": "labels only"}]
    for number in range(1, last + 1):
        truth = {n: {"selected": 20000, "precision": p - 0.05, "recall": 0.4} for n, p in heads.items() if n != "joint"}
        whole = {"selected": 60000, "precision": 0.735, "recall": 0.654}
        rows.append(
            {
                **scored(number),
                "selected": 22000 + 200 * number,
                "pool": 22600,
                "whole": 20000,
                "agreement": None if number == 1 else 0.97,
                "flipped": 0 if number == 1 else 1220,
                "rule": "precision",
                "heads": {n: {"val_precision": p, "selected": 20000 + i} for i, (n, p) in enumerate(heads.items())},
                "audit": {"images": 22600, "labels": whole, "images_whole": whole, "factors": truth}
                if audited
                else None,
            }
        )
    return [RoundSummary.model_validate(row) for row in rows]


def folds(count: int = 5) -> tuple[FoldsRecord, dict[str, list[dict[str, Any]]]]:
    """`oof.json` of a study, and the evaluations of each of its runs."""
    rng, names = np.random.default_rng(0), [f"fold-{k}" for k in range(count)]
    curves = {name: [r for r in metrics() if r["kind"] == "val"] for name in names}
    for evaluations in curves.values():
        level = 0.05 * rng.standard_normal()
        for r in evaluations:
            r["macro_f1"] += level + 0.015 * rng.standard_normal()
            r["nll"] = 1.9 - 1.8 * r["macro_f1"] + (r["step"] / 500) ** 4
    means = [
        {"step": rows[0]["step"], "weights": rows[0]["weights"],
         **{key: float(np.mean([r[key] for r in rows])) for key in ("macro_f1", "nll")}}
        for rows in zip(*curves.values(), strict=True)
    ]  # fmt: skip
    best = max(means, key=lambda p: float(p["macro_f1"]))
    own = {n: max(rows, key=lambda r: float(r["macro_f1"])) for n, rows in curves.items()}
    f1, accuracy = {"value": 0.4837, "low": 0.451, "high": 0.516}, {"value": 0.7017, "low": 0.68, "high": 0.725}
    content = {
        "members": names, "step": best["step"], "weights": best["weights"], "curves": means, "images": 600,
        "own_best": {n: {k: r[k] for k in ("step", "weights", "macro_f1")} for n, r in own.items()}, "groups": 300,
        "temperatures": {"colour": 1.31, "size": 1.12, "condition": 1.44}, "grouped": True, "macro_f1": f1,
        "accuracy": accuracy, "factors": {"colour": 0.9, "size": 0.89, "condition": 0.84}, "macro_f1_own_best": 0.5012,
        "nll": 0.91, "ece": 0.021, "ece_raw": 0.094, "cpu_seconds": 812.0, "leakage": "photos-clean",
        "leakage_reason": "the test set names no groups", "oof_sha256": "0" * 64,
    }  # fmt: skip
    return FoldsRecord.model_validate(content), curves


def predictions(images: int = 600) -> PredictionTable:
    """A predictions table of sure predictions; two images a group."""
    true, predicted = joint_predictions(images=images)
    text = {n: np.asarray([f"{i:03d}" for i in range(images)]) for n in ("id", "path", "sha256")}
    group, fold = np.asarray([f"g{i // 2}" for i in range(images)]), np.arange(images) // 2 % 5
    probs = np.eye(len(SCHEMA.joint_classes), dtype=np.float32)[predicted]
    return PredictionTable(SCHEMA.joint_classes, **text, group=group, fold=fold, true=true, predicted=predicted,
                           probs=probs, more={})  # fmt: skip


def comparison(*, baseline: bool = True) -> ComparisonRecord:
    """The comparison of two seeds, with a supervised baseline or without."""

    def reached(macro_f1: float, accuracy: float, cpu_seconds: float) -> dict[str, Any]:
        return {"macro_f1": macro_f1, "accuracy": accuracy, "step": 400, "cpu_seconds": cpu_seconds}

    rows: list[dict[str, Any]] = []
    for seed in (0, 1):
        row: dict[str, Any] = {"seed": seed, "ours": reached(0.454, 0.702, 8612.0)}
        if baseline:
            row["labels_only"] = reached(0.414 + 0.01 * seed, 0.675, 3120.0)
            row["ours_at_equal_cpu"] = reached(0.421, 0.68, 3001.0) if seed == 0 else None
        rows.append(row)
    if not baseline:
        return ComparisonRecord.model_validate({"rows": rows})
    f1, accuracy = {"value": 0.035, "low": 0.009, "high": 0.062}, {"value": 0.027, "low": -0.002, "high": 0.051}
    return ComparisonRecord.model_validate({"rows": rows, "difference": {"macro_f1": f1, "accuracy": accuracy}})


def search(trials: int = 24) -> tuple[TuneSettings, list[TrialRecord], VerdictRecord, dict[str, float]]:
    """A search: its settings, its trials, the verdict on the winner, and which settings mattered."""
    rng = np.random.default_rng(0)
    space = {"optim.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "model.pooling": ["avg", "gem"]}
    asked = TuneSettings(space=space, space_file="space.yaml", trials=trials, folds=3)
    records = [_trial(number, rng) for number in range(trials)]
    winner = max((r for r in records[1:] if r.macro_f1), key=lambda r: r.macro_f1.value if r.macro_f1 else 0)
    verdict = {
        "winner": winner.number, "params": winner.params, "search_gain": 0.0612,
        "confirmed": {"value": 0.0213, "low": 0.0041, "high": 0.0398}, "images": 2100, "groups": 300,
        "splits": [{"split_seed": 1, "default": 0.4132, "winner": 0.4401},
                   {"split_seed": 2, "default": 0.4208, "winner": 0.4365}], "recommended": True,
    }  # fmt: skip
    return asked, records, VerdictRecord.model_validate(verdict), {"optim.lr": 0.81, "model.pooling": 0.19}


def _trial(number: int, rng: np.random.Generator) -> TrialRecord:
    lr, pooling = float(10 ** rng.uniform(-4, -2)), ("avg", "gem")[int(rng.integers(2))]
    params = {"optim.lr": lr, "model.pooling": pooling} if number else {}
    value = (
        0.45 - 0.05 * abs(np.log10(lr) + 2.7) + 0.02 * (pooling == "gem") + rng.normal(0, 0.01) - 0.06 * (number == 0)
    )
    made: dict[str, Any] = {"number": number, "params": params, "curve": (value - 0.01, value), "cpu_seconds": 61.0}
    if number % 7 == 5:
        return TrialRecord(**made, state="pruned", reason="after 2 folds: below the median of the finished trials")
    if number % 11 == 9:
        return TrialRecord(number=number, params=params, state="failed", reason="The loss is not finite at step 12.")
    f1 = IntervalRecord(value=value, low=value - 0.05, high=value + 0.05)
    return TrialRecord(**made, state="finished", macro_f1=f1, nll=1.9 - value, step=240, weights="ema")


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
