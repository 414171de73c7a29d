"""The card of rounds of pseudo-labels by folds: what each round was worth out of fold, and which one predicts."""

from __future__ import annotations

from ssl_mask.reports.round_table import round_markdown
from ssl_mask.reports.study_card import leakage_note
from ssl_mask.runs.rounds import RoundsRecord, RoundStudy
from ssl_mask.text import md


def rounds_card(whole: RoundStudy, record: RoundsRecord) -> str:
    """Markdown."""
    asked, best = whole.settings(), record.best_round
    f1 = next(row.macro_f1 for row in record.rounds if row.round == best)
    score = (
        f"**Out-of-fold macro-F1 {f1.value:.4f}** (95 % interval {f1.low:.3f} to {f1.high:.3f}): round {best}, "
        f"which was chosen of {len(record.rounds)} on this score."
    )
    honest = (
        f"Each round is a study of {asked.folds} folds. The run of a fold learned from teachers that have not seen its "
        "validation images, with thresholds from the other folds, so the scores of the rounds can be compared. Counts "
        "of pseudo-labels are means over the runs of a round."
    )
    use = f"`sslmask predict --run {whole.path}` averages the {asked.folds * asked.repeats} models of round {best}."
    if whole.round(best).refit.card.is_file():
        use += (
            f" `--run {whole.round(best).refit.path}` is one model on all labels and pseudo-labels of all teachers. It "
            "has no validation of its own, and its expected score is the out-of-fold score."
        )
    state = [] if record.finished else ["Not all rounds are finished."]
    parts = [
        f"# Study {md(str(whole.path))}", *state, score,
        f"- {leakage_note(record.leakage, record.leakage_reason)}", honest,
        "## Rounds", round_markdown(record.rounds, "Out-of-fold", record.stopped), "## Use it", use,
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"
