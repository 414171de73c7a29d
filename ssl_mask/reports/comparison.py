"""Semi-supervised runs against the supervised baseline: were the unlabeled images worth anything?

`python -m ssl_mask.reports.comparison` shows a made-up comparison.
"""

from __future__ import annotations

from typing import Literal

from rich.table import Table

from ssl_mask.reports.reference import reference_sentence
from ssl_mask.reports.tables import Cells, filled, markdown, terminal
from ssl_mask.runs.comparison import ComparisonRecord, DifferenceRecord, IntervalRecord, ScoreRecord, SeedRecord
from ssl_mask.text import md

WITH = "training with unlabeled images"
NOTE = (
    "Scores are of validation, at the best evaluation of each run. The last column is the best that the run with "
    "unlabeled images had reached after as much CPU time as its baseline took in all."
)


def comparison_card(name: str, result: ComparisonRecord) -> str:
    """Markdown of a study's result."""
    return f"# Study {md(name)}\n\n{comparison_text(result)}\n"


def comparison_text(result: ComparisonRecord) -> str:
    """What the unlabeled images were worth: a verdict with its interval, and a table with a row per seed."""
    parts = [markdown(comparison_cells(result)), NOTE]
    if result.reference is not None:
        parts.append(f"Reference: {reference_sentence(result.reference, WITH)}")
    if result.difference is not None:
        verdict, figures = verdict_of(result.difference)
        parts.insert(0, f"**{verdict}** {figures}")
    return "\n\n".join(parts)


def comparison_table(result: ComparisonRecord) -> Table:
    """The table for a terminal."""
    return terminal(comparison_cells(result), "With unlabeled images and without (validation)")


def comparison_cells(result: ComparisonRecord) -> Cells:
    """A row per seed."""
    header = (
        "seed", "baseline\nmacro-F1", "with\nunlabeled\nmacro-F1", "baseline\naccuracy", "with\nunlabeled\naccuracy",
        "CPU s", "macro-F1\nat equal\nCPU time",
    )  # fmt: skip
    return filled(header, [_cells(row) for row in result.rows])


def _cells(row: SeedRecord) -> list[str]:
    baseline, ours = row.labels_only, row.ours
    seconds = [f"{run.cpu_seconds:.0f}" for run in (baseline, ours) if run is not None]
    return [
        str(row.seed), _score(baseline, "macro_f1"), _score(ours, "macro_f1"), _score(baseline, "accuracy"),
        _score(ours, "accuracy"), " / ".join(seconds), _score(row.ours_at_equal_cpu, "macro_f1"),
    ]  # fmt: skip


def _score(scores: ScoreRecord | None, key: Literal["macro_f1", "accuracy"]) -> str:
    return "" if scores is None else f"{getattr(scores, key):.4f}"


def verdict_of(difference: DifferenceRecord) -> tuple[str, str]:
    """Whether the unlabeled images helped, in a few words, and the figures that say so."""
    f1, accuracy = difference.macro_f1, difference.accuracy
    if f1.low > 0:
        verdict = "The unlabeled images helped."
    elif f1.high < 0:
        verdict = "The unlabeled images made it worse."
    else:
        verdict = "No difference can be shown: the interval of macro-F1 includes 0."
    return verdict, (
        f"With unlabeled images minus the supervised baseline: macro-F1 {_signed(f1)}, accuracy {_signed(accuracy)} "
        "(95 % intervals, paired, by group; equal numbers of optimizer steps)."
    )


def _signed(interval: IntervalRecord) -> str:
    return f"{interval.value:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"


if __name__ == "__main__":
    from rich.console import Console

    from ssl_mask.reports import study_samples

    print(comparison_card("made-up", study_samples.comparison()))
    Console(highlight=False).print(comparison_table(study_samples.comparison()))
