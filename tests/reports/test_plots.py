"""Curves over the steps: whole ticks, the best step marked, and a small file whatever the length of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ssl_mask.reports import samples
from ssl_mask.reports.figures import save_figure
from ssl_mask.reports.plots import draw_consistency, draw_curves

LIMIT = 150_000
"""Bytes of an SVG."""


def marked(axis: Any) -> list[float]:
    """Where an axis has a vertical line."""
    return [
        float(line.get_xdata()[0]) for line in axis.lines if len(set(line.get_xdata())) == 1 and line.get_ls() == ":"
    ]


@pytest.mark.parametrize(("evaluations", "every"), [(1, 1), (2, 5), (20, 25), (200, 25)])
def test_curves_have_whole_ticks_and_mark_the_best_step(evaluations: int, every: int, tmp_path: Path) -> None:
    records = samples.metrics(evaluations, every)
    figure = draw_curves(records)
    save_figure(tmp_path / "curves.svg", figure)
    highest, best = -1.0, 0
    for record in records:
        if record["kind"] == "val" and record["macro_f1"] > highest:
            highest, best = record["macro_f1"], record["step"]
    for axis in figure.axes:
        assert marked(axis) == [best], axis.get_title()
        assert all(tick == round(tick) for tick in axis.get_xticks()), axis.get_title()
        low, high = axis.get_xlim()
        assert any(low <= tick <= high for tick in axis.get_xticks())
    assert f"best macro-F1 {highest:.4f} at step {best}" in figure.axes[1].get_title()
    assert (tmp_path / "curves.svg").stat().st_size < LIMIT


def test_few_points_are_shown_and_many_are_averaged() -> None:
    few, many = (draw_curves(samples.metrics(n, 25)).axes[0].lines[0] for n in (2, 400))
    assert few.get_marker() == "o" and len(few.get_xdata()) == 10
    assert many.get_marker() == "None" and len(many.get_xdata()) == 250
    losses = [r["terms"]["colour"] for r in samples.metrics(400, 25) if r["kind"] == "train"]
    assert many.get_ydata()[0] == pytest.approx(sum(losses[:8]) / 8)


def test_a_negative_term_is_not_cut_off() -> None:
    records = samples.metrics(2, 5)
    for record in records:
        if record["kind"] == "train":
            record["terms"]["extra"] = -0.5
    low, _ = draw_curves(records).axes[0].get_ylim()
    assert low < -0.5


def test_a_run_without_an_evaluation_can_be_drawn(tmp_path: Path) -> None:
    for records in ([], [r for r in samples.metrics(1, 2) if r["kind"] == "train"]):
        save_figure(tmp_path / "curves.svg", draw_curves(records))


@pytest.mark.parametrize("classes", [2, 100])
def test_consistency_of_one_head(classes: int, tmp_path: Path) -> None:
    heads = {"species": samples.one_factor(classes).joint_classes}
    figure = draw_consistency(samples.metrics(4, 5, heads), heads)
    save_figure(tmp_path / "consistency.svg", figure)
    bars = figure.axes[2]
    assert len(figure.axes) == 3
    assert len(bars.patches) == 2 * classes
    assert len(bars.get_yticks()) <= 30
    assert (tmp_path / "consistency.svg").stat().st_size < LIMIT


def test_consistency_of_three_heads(tmp_path: Path) -> None:
    figure = draw_consistency(samples.metrics(), samples.head_classes())
    save_figure(tmp_path / "consistency.svg", figure)
    assert len(figure.axes) == 9
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels[:3] == ["selected, unlabeled", "selected, validation", "precision of these"]
    assert (tmp_path / "consistency.svg").stat().st_size < LIMIT


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        save_figure(tmp_path / name, draw_curves(samples.metrics(2, 5)))
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
