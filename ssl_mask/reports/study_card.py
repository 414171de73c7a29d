"""The card of a study of folds: how good its models are on groups that they have not seen, and how it is used.

`python -m ssl_mask.reports.study_card` shows the card of a made-up study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ssl_mask.data.predictions import PredictionTable
from ssl_mask.reports.reference import reference_note
from ssl_mask.reports.run_card import LEAKAGE, WEIGHTS, class_section, duration
from ssl_mask.reports.tables import filled, markdown
from ssl_mask.runs.factors import FactorsRecord
from ssl_mask.runs.folds import FoldsRecord
from ssl_mask.runs.records import LeakageStatus
from ssl_mask.text import code, md

Evaluations = Sequence[Mapping[str, Any]]


def study_card(name: str, record: FoldsRecord, oof: PredictionTable, folds: Mapping[str, Evaluations]) -> str:
    """Markdown.

    Args:
        name: path of the study, for people and commands.
        oof: its out-of-fold predictions.
        folds: name of each run -> its evaluations, as in `metrics.jsonl`.
    """
    parts = [
        f"# Study {md(name)}",
        *_verdict(record),
        "## Out-of-fold scores",
        _scores(record),
        "## Classes (out of fold)",
        class_section(oof, "out-of-fold images"),
        "## Folds",
        _folds(record, folds),
        f"Each fold at its own best step has macro-F1 {record.macro_f1_own_best:.4f}, pooled. That is optimistic: each "
        f"step was chosen on the images that it is scored on. Curves: `plots/folds.svg`.",
        "## Use it",
        _use(name, record),
    ]
    return "\n\n".join(parts) + "\n"


def score_note(record: FoldsRecord | FactorsRecord, *, unseen: bool = True) -> str:
    """The score of a study and what it was measured on.

    Args:
        unseen: each image was predicted by models that have not seen its group; else by those validated on it.
    """
    f1, of = record.macro_f1, f" of {record.groups} groups" if record.grouped else ""
    whose = f" Each image was predicted by a model that has not seen {'its group' if record.grouped else 'it'}."
    return (
        f"**{'Out-of-fold' if unseen else 'Validation'} macro-F1 {f1.value:.4f}** (95 % interval {f1.low:.3f} to "
        f"{f1.high:.3f}), accuracy {record.accuracy.value:.4f}, on {record.images} images{of}.{whose if unseen else ''}"
    )


def leakage_note(leakage: LeakageStatus, reason: str) -> str:
    """What the status of a study means."""
    meaning = LEAKAGE[leakage].replace("this run", "one of its runs").replace("This run", "One of its runs")
    return f"**Leakage: {leakage}**{f' ({md(reason)})' if reason else ''}. {meaning}"


def _verdict(record: FoldsRecord) -> list[str]:
    notes = [
        leakage_note(record.leakage, record.leakage_reason),
        f"**Slightly optimistic**: one step ({record.step}, {WEIGHTS[record.weights]}) was chosen for all folds "
        "together, on the mean of their validation curves.",
    ]
    if record.reference is not None:
        notes.append(reference_note(record.reference, "this study"))
    if not record.grouped:
        notes.append("**Interval too narrow**: the data name no groups (persons), so each image counts by itself.")
    return [score_note(record), "\n".join(f"- {note}" for note in notes)]


def _scores(record: FoldsRecord) -> str:
    names = {"macro-F1": record.macro_f1, "accuracy": record.accuracy}
    rows = [(n, f"{i.value:.4f}", f"{i.low:.3f} to {i.high:.3f}") for n, i in names.items()]
    if len(record.factors) > 1:
        rows += [(f"accuracy, {name}", f"{value:.4f}", "") for name, value in record.factors.items()]
    rows += [
        ("log-loss, cross-fitted", f"{record.nll:.3f}", ""),
        ("calibration error, cross-fitted", f"{record.ece:.3f}", ""),
        ("calibration error without temperatures", f"{record.ece_raw:.3f}", ""),
    ]
    table = markdown(filled(("score", "value", f"95 % interval by {'group' if record.grouped else 'image'}"), rows))
    return (
        f"{table}\n\nCross-fitted: temperatures were fitted on the other folds. The models predict with those of all."
    )


def _folds(record: FoldsRecord, folds: Mapping[str, Evaluations]) -> str:
    rows: list[tuple[str, ...]] = []
    for name in record.members:
        own = record.own_best[name]
        at = next(r for r in folds[name] if (r["step"], r["weights"]) == (record.step, record.weights))
        rows.append(
            (name, f"{at['macro_f1']:.4f}", f"{own.macro_f1:.4f}", f"{own.step}, {WEIGHTS[own.weights]}")
        )  # fmt: skip
    return markdown(filled(("run", f"macro-F1 at step {record.step}", "at its own best step", "own best step"), rows))


def _use(name: str, record: FoldsRecord) -> str:
    temperatures = ", ".join(f"{md(head)} {value:.2f}" for head, value in record.temperatures.items())
    return (
        f"`sslmask predict --run {name}` averages the calibrated probabilities of its {len(record.members)} models "
        f"(temperatures: {temperatures}). {code('oof.parquet')} holds the out-of-fold predictions. Training took "
        f"{duration(record.cpu_seconds)} of CPU time."
    )


if __name__ == "__main__":
    from ssl_mask.reports import samples, study_samples

    print(study_card("runs/study-001", study_samples.folds()[0], samples.predictions(), study_samples.folds()[1]))
