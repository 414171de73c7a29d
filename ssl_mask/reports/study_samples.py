"""Made-up studies, for `python -m ssl_mask.reports.…` and for tests: rounds, folds, factor models, seeds, a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.reports.samples import head_classes, metrics
from ssl_mask.runs.comparison import ComparisonRecord, IntervalRecord
from ssl_mask.runs.factors import FactorsRecord
from ssl_mask.runs.folds import FoldsRecord
from ssl_mask.runs.records import RoundSummary
from ssl_mask.runs.selected import SelectionRecord
from ssl_mask.runs.trials import TrialRecord, TuneSettings, VerdictRecord


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


def factor_models() -> FactorsRecord:
    """`oof.json` of a study of two factors by five folds."""

    def part(value: float) -> dict[str, Any]:
        score = {"value": value, "low": value - 0.05, "high": value + 0.04}
        runs = {f"fold-{k}": "0" * 64 for k in range(5)}
        return {"macro_f1": score, "accuracy": value, "nll": 1 - value, "checkpoints": runs, "table_sha256": "0" * 64}

    gain = {"value": 0.004, "low": -0.006, "high": 0.013}
    content = {
        "schema": [{"name": "hue", "classes": ["red", "blue"]}, {"name": "shape", "classes": ["disc", "box"]}],
        "submission": {"id_column": "image", "answer_columns": ["hue", "shape"], "answers": "names"},
        "parts": {"hue": part(0.93), "shape": part(0.71)},
        "prior": {"ratio": [1.2, 0.8, 0.8, 1.2], "used": False, "macro_f1": gain, "nll_plain": 0.9,
                  "nll_corrected": 0.88},
        "counts": [30, 20, 20, 30], "images": 100, "groups": 50, "grouped": True,
        **{key: part(0.66)["macro_f1"] for key in ("macro_f1", "accuracy")},
        "nll": 0.9, "ece": 0.05, "cpu_seconds": 800, "leakage": "clean", "leakage_reason": "nothing is shared",
        "oof_sha256": "0" * 64,
    }  # fmt: skip
    return FactorsRecord.model_validate(content)


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
    space = {"optim.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "model.pooling": ["own", "gem"]}
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
    lr, pooling = float(10 ** rng.uniform(-4, -2)), ("own", "gem")[int(rng.integers(2))]
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
