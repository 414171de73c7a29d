"""How training went: validation scores and losses by step, with the step whose weights predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssl_mask.reports.html.charts import Chart, Line, axis, shares
from ssl_mask.reports.plots import WEIGHTS
from ssl_mask.runs.run import RunDir

MOST_POINTS = 200
"""Of a curve; longer ones are thinned."""
Evaluations = list[dict[str, Any]]


def curve_charts(runs: Sequence[RunDir], title: str = "") -> list[Chart]:
    """Macro-F1 and log-loss of validation, and the training loss; nothing of runs that have no evaluation.

    Args:
        runs: one, or those of a study that have the same steps: then each is thin, and their mean is thick.
        title: in front of what is drawn.
    """
    records = [run.records() for run in runs]
    evaluations = [[r for r in own if r["kind"] == "val"] for own in records]
    if not all(evaluations):
        return []
    best = [run.status().best for run in runs]
    chosen = [(b.step, b.weights) for b in best if b is not None]
    charts = [
        _validation(evaluations, chosen, key, f"{title}{words}")
        for key, words in (("macro_f1", "macro-F1 on validation"), ("nll", "log-loss on validation"))
        if all(key in r for own in evaluations for r in own)
    ]
    return [*charts, *_training(records[0] if len(records) == 1 else [], title)]


def _validation(runs: Sequence[Evaluations], chosen: Sequence[tuple[int, str]], key: str, title: str) -> Chart:
    lines: list[Line] = []
    if len(runs) > 1:
        weights = chosen[0][1] if chosen else "live"
        lines += [Line("each run", _points(own, weights, key), "thin", dots=False) for own in runs]
    for style, (weights, (words, _)) in zip(("c0", "c1"), WEIGHTS.items(), strict=True):
        if points := _mean([_points(own, weights, key) for own in runs]):
            lines.append(Line(words if len(runs) == 1 else f"mean, {words}", points, style))
    marks = sorted({step for step, _ in chosen})
    values = [y for line in lines for _, y in line.points]
    says = f"{title}, from {lines[-1].points[0][1]:.3f} to {lines[-1].points[-1][1]:.3f}"
    if len(marks) == 1:
        says += f"; the weights of step {marks[0]} predict"
    steps = [x for line in lines for x, _ in line.points]
    y = shares("macro-F1", min(values), max(values)) if key == "macro_f1" else axis(0, max(values) * 1.05, "log-loss")
    named = [(float(step), f"step {step}") for step in marks] if len(marks) == 1 else []
    return Chart(
        title[:1].upper() + title[1:], f"{says}.", axis(*_range(steps), "step", whole=True), y, lines, marks=named
    )


def _training(records: Sequence[Mapping[str, Any]], title: str) -> list[Chart]:
    """Every term of the loss of a single run."""
    train = [r for r in records if r["kind"] == "train"]
    if not train:
        return []
    lines = [
        Line(name, _thinned([(r["step"], r["terms"][name]) for r in train if name in r["terms"]]), f"c{i % 6}", False)
        for i, name in enumerate(train[0]["terms"])
    ]
    top = max((y for line in lines for _, y in line.points), default=1.0)
    steps = _range([r["step"] for r in train])
    x, y = axis(*steps, "step", whole=True), axis(0, max(top, 1e-6) * 1.05, "loss")
    return [Chart(f"{title}Training loss", "The terms of the training loss by step.", x, y, lines)]


def _points(evaluations: Evaluations, weights: str, key: str) -> list[tuple[float, float]]:
    return _thinned([(r["step"], float(r[key])) for r in evaluations if r["weights"] == weights])


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    every = -(-len(points) // MOST_POINTS) if points else 1
    return [*points[:-1:every], *points[-1:]]


def _mean(runs: Sequence[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The mean at the steps that all runs have."""
    found = [dict(points) for points in runs]
    steps = sorted(set[float].intersection(*(set(own) for own in found)))
    return [(step, float(np.mean([own[step] for own in found]))) for step in steps]


def _range(steps: Sequence[float]) -> tuple[float, float]:
    low, high = min(steps), max(steps)
    return (low, high) if high > low else (low - 1, high + 1)
