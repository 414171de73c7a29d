"""A study of factor models in words: how well each factor is told, and how well all together.

`python -m ssl_mask.reports.factors` shows a made-up one.
"""

from __future__ import annotations

from rich.table import Table

from ssl_mask.reports.study_card import leakage_note, score_note
from ssl_mask.reports.tables import Cells, markdown, terminal
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.factors import FactorsRecord, PriorRecord
from ssl_mask.runs.folds import FoldsSettings
from ssl_mask.text import md


def factors_card(name: str, record: FactorsRecord, *, folds: FoldsSettings | None) -> str:
    """Markdown of a finished study."""
    notes = [leakage_note(record.leakage, record.leakage_reason)]
    if folds is None:
        notes.append(
            "**Optimistic**: each model was selected on the same images. Only images that were not used for training "
            "or selection give an unbiased score (`sslmask evaluate`)."
        )
    if not record.grouped:
        notes.append("**Intervals too narrow**: the data name no groups (persons), so each image counts by itself.")
    parts = [
        f"# Study {md(name)}: factor models",
        score_note(record, unseen=folds is not None),
        "\n".join(f"- {note}" for note in notes),
        "## Factors",
        markdown(factors_cells(record)),
        "The probability of a joint class is the product of those of its factors.",
        *([prior_sentence(record.prior)] if record.prior is not None else []),
        f"Training took {record.cpu_seconds:.0f} CPU seconds.",
    ]
    return "\n\n".join(parts) + "\n"


def factors_table(record: FactorsRecord) -> Table:
    """The table for a terminal."""
    return terminal(factors_cells(record), "Factors")


def factors_cells(record: FactorsRecord) -> Cells:
    """A row per factor, and one for the joint classes."""
    rows = [
        (name, interval_text(part.macro_f1), f"{part.accuracy:.4f}", f"{part.nll:.3f}", str(len(part.checkpoints)))
        for name, part in record.parts.items()
    ]
    runs = sum(len(part.checkpoints) for part in record.parts.values())
    joint = ("joint", interval_text(record.macro_f1), f"{record.accuracy.value:.4f}", f"{record.nll:.3f}", str(runs))
    return Cells(("factor", "macro-F1 (95 % interval)", "accuracy", "log-loss", "runs"), (*rows, joint))


def score_sentence(record: FactorsRecord, folds: FoldsSettings | None) -> str:
    """The joint score and what it was measured on."""
    what = "validation" if folds is None else "out-of-fold"
    return (
        f"{what} macro-F1 {interval_text(record.macro_f1)}, accuracy {record.accuracy.value:.4f} of the joint classes, "
        f"on {record.images} images of {record.groups} groups"
    )


def prior_sentence(prior: PriorRecord) -> str:
    """What was decided on the correction by the joint prior, with the figures that decided it."""
    figures = (
        f"macro-F1 {prior.macro_f1.value:+.4f} (95 % interval {prior.macro_f1.low:+.4f} to {prior.macro_f1.high:+.4f}),"
        f" log-loss {prior.nll_plain:.4f} -> {prior.nll_corrected:.4f}"
    )
    if prior.used:
        return f"The product is corrected by the joint prior: on out-of-fold predictions that changes {figures}."
    return (
        "The product is not corrected by the joint prior: no gain is shown. On out-of-fold predictions it would change "
        f"{figures}."
    )


def interval_text(score: IntervalRecord) -> str:
    return f"{score.value:.4f} ({score.low:.3f} to {score.high:.3f})"


if __name__ == "__main__":
    from ssl_mask.reports import study_samples

    print(factors_card("study-002", study_samples.factor_models(), folds=FoldsSettings(folds=5)))
