"""Plots of a search: the score by trial, which settings mattered, and which values went with which scores.

`python -m ssl_mask.reports.tune_plots` draws them from a made-up search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_mask.reports.figures import COLOURS, SMALL, legend, new_figure, save_figure, short, whole_ticks
from ssl_mask.runs.trials import DEFAULT, Metric, TrialRecord

NAMES = {"macro_f1": "macro-F1", "nll": "log-loss"}


def write_history(path: Path, records: Sequence[TrialRecord], metric: Metric) -> None:
    save_figure(path, draw_history(records, metric))


def draw_history(records: Sequence[TrialRecord], metric: Metric) -> Any:
    """The score of every trial, and the best so far; pruned trials where they were when they were stopped."""
    figure, ((axis,),) = new_figure(1, 1, (8, 4.4))
    finished = [r for r in records if r.state == "finished"]
    numbers, values = [r.number for r in finished], [r.value(metric) for r in finished]
    axis.scatter(numbers, values, color=COLOURS[0], s=28, label="finished", zorder=3)
    pruned = [r for r in records if r.state == "pruned" and r.curve]
    axis.scatter([r.number for r in pruned], [r.curve[-1] for r in pruned], marker="x", color="0.5", label="pruned")
    best = (np.maximum if metric == "macro_f1" else np.minimum).accumulate(values)
    axis.step(numbers, best, where="post", color=COLOURS[1], label="best so far")
    for r in finished:
        if r.number == DEFAULT:
            axis.axhline(r.value(metric), color="0.35", ls=":", lw=1.5, label="the default")
    failed = [r.number for r in records if r.state == "failed"]
    bottom = axis.get_ylim()[0]
    axis.scatter(failed, [bottom] * len(failed), marker="v", color=COLOURS[3], label="failed")
    axis.set(title=f"{len(records)} trials", xlabel="trial", ylabel=f"{NAMES[metric]}, out-of-fold")
    whole_ticks(axis, 0, max(1, len(records) - 1))
    axis.grid(alpha=0.3)
    legend(axis, loc="best")
    return figure


def write_importance(path: Path, importance: Mapping[str, float]) -> None:
    save_figure(path, draw_importance(importance))


def draw_importance(importance: Mapping[str, float]) -> Any:
    """A bar per setting: its share of the score's variation."""
    figure, ((axis,),) = new_figure(1, 1, (7, 1.6 + 0.35 * max(len(importance), 2)))
    places = np.arange(len(importance))
    axis.barh(places, list(importance.values()), color=COLOURS[0], height=0.6)
    axis.set_yticks(places, [short(key, 36) for key in importance], fontsize=SMALL)
    axis.set_ylim(max(len(importance), 1) - 0.5, -0.5)
    axis.set(title="Which settings mattered", xlabel="share of the score's variation", xlim=(0, 1))
    if not importance:
        axis.text(0.5, 0, "too few trials have finished to tell", ha="center", va="center", color="0.4")
    return figure


def write_parallel(path: Path, records: Sequence[TrialRecord], logs: Sequence[str], metric: Metric) -> None:
    save_figure(path, draw_parallel(records, logs, metric))


def draw_parallel(records: Sequence[TrialRecord], logs: Sequence[str], metric: Metric) -> Any:
    """A vertical axis per setting and one for the score; a line per finished trial, coloured by its score.

    Args:
        logs: settings whose axis is logarithmic.
    """
    shown = [r for r in records if r.state == "finished" and r.params]
    keys = list(dict.fromkeys(k for r in shown for k in r.params))
    figure, ((axis,),) = new_figure(1, 1, (max(6.0, 1.7 * (len(keys) + 1)), 4.8))
    axis.axis("off")
    if not shown:
        axis.text(0.5, 0.5, "no trial has finished but the default", ha="center", va="center", color="0.4")
        return figure
    scores = np.asarray([r.value(metric) for r in shown])
    columns = [_heights([r.params[k] for r in shown], log=k in logs) for k in keys]
    lines = np.stack([*(heights for heights, _ in columns), _scaled(scores)[0]], axis=1)
    good = _scaled(scores)[0] if metric == "macro_f1" else 1 - _scaled(scores)[0]
    from matplotlib import colormaps

    for i in np.argsort(good):  # the best on top
        axis.plot(range(len(keys) + 1), lines[i], color=colormaps["viridis_r"](0.1 + 0.8 * good[i]), lw=1.6, alpha=0.8)
    marks = [*(ticks for _, ticks in columns), _number_ticks(scores, log=False)]
    for x, (name, ticks) in enumerate(zip([*keys, NAMES[metric]], marks, strict=True)):
        axis.plot([x, x], [0, 1], color="0.3", lw=1)
        axis.text(x, 1.06, short(name, 26), ha="center", va="bottom", fontsize=SMALL)
        for height, text in ticks:
            paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}  # lines run behind it
            axis.text(x - 0.03, height, short(text, 16), ha="right", va="center", fontsize=SMALL, bbox=paper)
    axis.set(xlim=(-0.6, len(keys) + 0.2), ylim=(-0.05, 1.15))
    return figure


Ticks = list[tuple[float, str]]


def _heights(values: Sequence[Any], *, log: bool) -> tuple[np.ndarray[Any, Any], Ticks]:
    """(n,) places of values between 0 and 1, and the marks of their axis."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        numbers = np.asarray(values, dtype=np.float64)
        return _scaled(np.log(numbers) if log else numbers)[0], _number_ticks(numbers, log=log)
    names = list(dict.fromkeys(sorted(map(str, values))))
    places = {name: i / max(len(names) - 1, 1) for i, name in enumerate(names)}
    return np.asarray([places[str(v)] for v in values]), [(place, name) for name, place in places.items()]


def _scaled(values: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], float, float]:
    low, high = float(values.min()), float(values.max())
    return (np.full(len(values), 0.5) if high == low else (values - low) / (high - low)), low, high


def _number_ticks(values: np.ndarray[Any, Any], *, log: bool) -> Ticks:
    """Marks at the lowest value, the middle and the highest."""
    _, low, high = _scaled(np.log(values) if log else values)
    if low == high:
        return [(0.5, f"{values[0]:.3g}")]
    return [
        (at, f"{np.exp(low + at * (high - low)) if log else low + at * (high - low):.3g}") for at in (0.0, 0.5, 1.0)
    ]


if __name__ == "__main__":
    from tempfile import mkdtemp

    from ssl_mask.reports import study_samples

    folder = Path(mkdtemp(prefix="sslmask-plots-"))
    asked, records, _, importance = study_samples.search()
    write_history(folder / "history.svg", records, asked.metric)
    write_importance(folder / "importance.svg", importance)
    write_parallel(folder / "parallel.svg", records, ["optim.lr"], asked.metric)
    print(folder)
