"""Plots of pseudo-labels: what is shown of a round, and of all rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_mask.reports import samples, study_samples
from ssl_mask.reports.figures import save_figure
from ssl_mask.reports.round_plots import draw_rounds, draw_selection


def labels(axis: Any) -> list[str]:
    return list(axis.get_legend_handles_labels()[1])


@pytest.mark.parametrize("classes", [2, 18, 100])
def test_a_selection_shows_each_class_with_its_threshold(classes: int, tmp_path: Path) -> None:
    record = study_samples.selection({"species": samples.one_factor(classes).joint_classes})
    figure = draw_selection(record, *study_samples.pool_confidence())
    save_figure(tmp_path / "selection.svg", figure)
    bars = figure.axes[2]
    counts = [row.selected for row in record.heads["species"].classes.values()]
    assert [round(p.get_width()) for p in bars.patches[classes:]] == counts
    names = [t.get_text() for t in bars.get_yticklabels()]
    assert names[0] == "species 00  (≥ 0.87)" and len(names) <= 30
    if classes <= 30:
        assert names[-1].endswith("(none selected)")
    assert (tmp_path / "selection.svg").stat().st_size < 150_000


def test_the_histogram_counts_the_images() -> None:
    confidence, selected = study_samples.pool_confidence()
    axis = draw_selection(study_samples.selection(), confidence, selected).axes[0]
    heights = [p.get_height() for p in axis.patches]
    assert sum(heights[:20]) == len(confidence)
    assert sum(heights[20:]) == selected.sum()


@pytest.mark.parametrize("last", [0, 1, 3])
def test_rounds_have_whole_ticks_and_the_best_is_marked(last: int, tmp_path: Path) -> None:
    figure = draw_rounds(study_samples.rounds(last))
    save_figure(tmp_path / "rounds.svg", figure)
    for axis in figure.axes:
        assert all(tick == round(tick) for tick in axis.get_xticks()), axis.get_title()
    best = min(last, 2)  # equal scores after it: the first of them
    assert f"best: round {best}" in figure.axes[0].get_title()


def test_rounds_show_precision_on_validation_and_of_the_audit() -> None:
    audited, alone = (
        draw_rounds(study_samples.rounds(2, {"a": 0.9, "b": 0.8}, audited=a)).axes[2] for a in (True, False)
    )
    val = ["a, on validation images", "b, on validation images"]
    assert labels(audited) == [val[0], "a, audited (true)", val[1], "b, audited (true)"]
    assert labels(alone) == val
    assert np.allclose(audited.lines[3].get_ydata(), 0.75)


def test_of_rounds_by_folds_it_is_said_that_scores_are_out_of_fold() -> None:
    axes = draw_rounds(study_samples.rounds(2, {"a": 0.9}), "Out-of-fold").axes
    assert axes[0].get_title() == "Out-of-fold scores, 95 % intervals; best: round 2"
    assert labels(axes[2])[0] == "a, on out-of-fold images"
    assert not any("alidation" in text for axis in axes for text in (axis.get_title(), *labels(axis)))


def test_the_mean_of_teachers_is_no_best_round() -> None:
    first, *later = study_samples.rounds(2)
    first = first.model_copy(
        update={"teachers": 3, "macro_f1": later[0].macro_f1.model_copy(update={"value": 0.9, "high": 1.0})}
    )
    assert "best: round 2" in draw_rounds([first, *later]).axes[0].get_title()
