"""Plots of pseudo-labels: what one round believed, and how the rounds went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_mask.data.predictions import PredictionTable
from ssl_mask.reports.plots import figure


def write_selection(path: Path, record: Mapping[str, Any], pool: PredictionTable) -> None:
    """Confidences of the pool, calibration on validation, and how much of each class is believed.

    Args:
        record: the content of a round's `selection.json`.
        pool: its `pool.parquet`.
    """
    heads = record["heads"]
    columns = max(2, len(heads))
    with figure(path, 2, columns, (5.2 * columns, 8.5)) as axes:
        probs = pool.probs
        chosen = np.logical_or.reduce([v.astype(bool) for k, v in pool.more.items() if k.startswith("selected/")])
        bins = np.linspace(0, 1, 21)
        axes[0, 0].hist(probs.max(axis=1), bins=bins, color="0.8", label="pool")
        axes[0, 0].hist(probs[chosen].max(axis=1), bins=bins, alpha=0.7, label="something of it believed")
        axes[0, 0].set(title=f"Round {record['round']}: joint confidence", xlabel="confidence", ylabel="images")
        axes[0, 0].legend(fontsize=8)
        _reliability(axes[0, 1], record)
        for axis in axes[0, 2:]:
            axis.axis("off")
        for axis, (name, head) in zip(axes[1], heads.items(), strict=False):
            _classes(axis, name, head)
        for axis in axes[1, len(heads) :]:
            axis.axis("off")


def _reliability(axis: Any, record: Mapping[str, Any]) -> None:
    curve = record["reliability"]
    there = [i for i, count in enumerate(curve["images"]) if count]
    sizes = [12 + 200 * curve["images"][i] / max(record["validation"], 1) for i in there]
    axis.plot([0, 1], [0, 1], color="0.6", lw=1)
    axis.scatter([curve["confidence"][i] for i in there], [curve["accuracy"][i] for i in there], s=sizes)
    title = f"Calibration on validation (error {record['calibration_error']:.3f})"
    axis.set(title=title, xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))


def _classes(axis: Any, name: str, head: Mapping[str, Any]) -> None:
    labels = list(head["classes"])
    rows = [head["classes"][c] for c in labels]
    places = np.arange(len(labels))
    axis.barh(places, [r["predicted"] for r in rows], color="0.85", label="predicted")
    axis.barh(places, [r["selected"] for r in rows], height=0.5, label="believed")
    shown = ["never" if r["threshold"] is None else f"≥ {r['threshold']:.2f}" for r in rows]
    axis.set_yticks(places, [f"{c}  ({s})" for c, s in zip(labels, shown, strict=True)], fontsize=8)
    axis.invert_yaxis()
    right = "-" if head["val_precision"] is None else f"{head['val_precision']:.1%}"
    axis.set(title=f"{name}: {right} of it right on validation", xlabel="images")
    axis.legend(fontsize=8)


def write_rounds(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Validation scores with their intervals, and how much was believed and how right it was, by round."""
    numbers = [r["round"] for r in rows]
    later = [r for r in rows if r["round"] > 0]
    with figure(path, 1, 2, (12.5, 4.2)) as axes:
        for i, key in enumerate(("macro_f1", "accuracy")):
            values = np.asarray([[r[key][k] for k in ("value", "low", "high")] for r in rows])
            spread = np.abs(values[:, 1:] - values[:, :1]).T
            axes[0, 0].errorbar(numbers, values[:, 0], yerr=spread, fmt=f"C{i}o-", capsize=3, label=key)
        axes[0, 0].set(title="Validation (95 % intervals by group)", xlabel="round", xticks=numbers, ylim=(0, 1))
        axes[0, 0].legend(fontsize=8)
        rounds = [r["round"] for r in later]
        axes[0, 1].plot(rounds, [r["selected"] / r["pool"] for r in later], "0.5", marker="o", label="share believed")
        flipped = [r["flipped"] / r["pool"] for r in later]
        axes[0, 1].plot(rounds, flipped, "0.5", marker="x", ls=":", label="share whose class flipped")
        same = _gaps([r["agreement"] for r in later])
        axes[0, 1].plot(rounds, same, "0.2", marker="x", label="labels that stayed the same")
        for i, name in enumerate(later[0]["heads"] if later else ()):
            live = [r["heads"][name]["val_precision"] for r in later]
            axes[0, 1].plot(rounds, _gaps(live), f"C{i}o--", label=f"{name}: right on validation")
            true = [(r.get("audit") or {}).get("factors", {}).get(name, {}).get("precision") for r in later]
            if any(t is not None for t in true):
                axes[0, 1].plot(rounds, _gaps(true), f"C{i}s-", label=f"{name}: really right (audit)")
        axes[0, 1].set(title="What was believed", xlabel="round", xticks=rounds, ylim=(0, 1.02))
        if later:
            axes[0, 1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _gaps(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if v is None else v for v in values]
