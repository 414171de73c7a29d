"""The comparison with the supervised baseline: its verdict follows the interval, and no column is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ssl_mask.reports import study_samples
from ssl_mask.reports.comparison import comparison_cells, comparison_table, comparison_text, verdict_of
from ssl_mask.runs.comparison import IntervalRecord


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.05, "helped"), (-0.05, -0.01, "made it worse"), (-0.01, 0.05, "No difference"), (0.0, 0.1, "No diff")],
)
def test_the_verdict_follows_the_interval(low: float, high: float, verdict: str) -> None:
    difference = study_samples.comparison().difference
    assert difference is not None
    f1 = IntervalRecord(value=(low + high) / 2, low=low, high=high)
    words, figures = verdict_of(difference.model_copy(update={"macro_f1": f1}))
    assert verdict in words
    assert f"({low:+.4f} to {high:+.4f})" in figures


def test_a_row_per_seed_in_card_and_terminal() -> None:
    result = study_samples.comparison()
    cells = comparison_cells(result)
    assert cells.rows[0] == ("0", "0.4140", "0.4540", "0.6750", "0.7020", "3120 / 8612", "0.4210")
    assert cells.rows[1][-1] == ""  # nothing was reached in the baseline's time
    text = comparison_text(result)
    assert text.startswith("**The unlabeled images helped.** ")
    out = io.StringIO()
    Console(file=out, width=80).print(comparison_table(result))
    assert "…" not in out.getvalue()
    for row in cells.rows:
        assert f"| {' | '.join(row)} |" in text
        assert any(all(cell in line for cell in row) for line in out.getvalue().splitlines())


def test_without_a_baseline_there_is_no_verdict() -> None:
    result = study_samples.comparison(baseline=False)
    assert comparison_cells(result).header == (
        "seed",
        "with\nunlabeled\nmacro-F1",
        "with\nunlabeled\naccuracy",
        "CPU s",
    )
    assert comparison_text(result).startswith("| seed |")
