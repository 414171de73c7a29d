"""A search on one page: what its winner is worth, its trials, and which settings mattered.

`python -m ssl_mask.reports.tune_card` shows a made-up search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from ssl_mask.reports.tables import Cells, filled, markdown, terminal
from ssl_mask.runs.trials import DEFAULT, Metric, TrialRecord, TuneSettings, VerdictRecord
from ssl_mask.text import code, csv_text, md

SHOWN = 10
"""Trials in the table of the terminal."""


def sentences(verdict: VerdictRecord) -> tuple[str, str]:
    """The verdict in a few words, and the figures that say so."""
    gain, confirmed = verdict.search_gain, verdict.confirmed
    if verdict.winner == DEFAULT:
        return "Keep the default: no trial was better.", ""
    if gain is None:
        return f"Not recommended: {verdict.reason}.", f"Trial {verdict.winner} was the best of the others."
    search = f"In the search, trial {verdict.winner} was {gain:+.4f} macro-F1 better than the default"
    if confirmed is None:
        return (
            f"Not recommended: {verdict.reason}.",
            f"{search}; the best of many trials always looks better than it is.",
        )
    figures = (
        f"{search}; on {splits(len(verdict.splits))} {confirmed.value:+.4f} "
        f"(95 % interval {confirmed.low:+.4f} to {confirmed.high:+.4f}, paired, by {unit(verdict)}). {luck(verdict)}"
    )
    if verdict.recommended:
        return f"Recommended: trial {verdict.winner} is better than the default on other splits, too.", figures
    if confirmed.high < 0:
        return f"Keep the default: on other splits trial {verdict.winner} is worse.", figures
    return "Keep the default: no gain can be shown, the interval includes 0.", figures


def splits(count: int) -> str:
    return "another split" if count == 1 else f"{count} other splits"


def unit(verdict: VerdictRecord) -> str:
    return "group" if verdict.grouped else "image"


def luck(verdict: VerdictRecord) -> str:
    """How much of the gain in the search was luck."""
    gain, confirmed = verdict.search_gain, verdict.confirmed
    if confirmed is None or gain is None or gain <= 0:
        return ""
    share = min(max(1 - confirmed.value / gain, 0.0), 1.0)
    if share == 0:
        return "None of the gain was luck."
    return f"So {share:.0%} of the gain in the search was luck."


def ranked(records: Sequence[TrialRecord], metric: Metric) -> list[TrialRecord]:
    """Finished trials first, the best one on top; then pruned and failed ones by number."""
    sign = -1 if metric == "macro_f1" else 1
    finished = sorted((r for r in records if r.state == "finished"), key=lambda r: (sign * r.value(metric), r.number))
    return [*finished, *(r for r in records if r.state == "pruned"), *(r for r in records if r.state == "failed")]


def trials_cells(records: Sequence[TrialRecord], metric: Metric) -> Cells:
    """A row per trial."""
    keys = list(dict.fromkeys(k for r in records for k in r.params))
    header = ("trial", "state", *keys, "macro-F1", "95 %\ninterval", "log-loss", "step", "CPU s", "why")
    return filled(header, [_row(r, keys) for r in ranked(records, metric)])


def _row(record: TrialRecord, keys: Sequence[str]) -> list[str]:
    f1 = record.macro_f1
    return [
        f"{record.number} (default)" if record.number == DEFAULT else str(record.number),
        record.state,
        *(figure(record.params[k]) if k in record.params else "" for k in keys),
        "" if f1 is None else f"{f1.value:.4f}",
        "" if f1 is None else f"{f1.low:.3f} to {f1.high:.3f}",
        "" if record.nll is None else f"{record.nll:.4f}",
        "" if record.step is None else f"{record.step} ({record.weights})",
        f"{record.cpu_seconds:.0f}" if record.cpu_seconds else "",
        record.reason,
    ]


def figure(value: Any) -> str:
    """A setting's value: numbers with as many digits as tell them apart."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def trials_table(records: Sequence[TrialRecord], metric: Metric) -> Table:
    """The best trials, and how many others there are, for a terminal; it has no room for a column per setting."""
    best = [r for r in ranked(records, metric) if r.macro_f1 is not None and r.nll is not None][:SHOWN]
    rows = [
        (
            str(r.number),
            ", ".join(f"{k.split('.')[-1]} {figure(v)}" for k, v in r.params.items()) or "the default",
            f"{r.macro_f1.value:.4f}" if r.macro_f1 else "",
            f"{r.nll:.4f}",
        )
        for r in best
    ]
    left = len(records) - len(rows)
    title = "Trials, out-of-fold" + (f" ({left} more in trials.csv)" if left else "")
    return terminal(Cells(("trial", "settings", "macro-F1", "log-loss"), tuple(rows)), title, words=2)


def trials_csv(records: Sequence[TrialRecord], keys: Sequence[str]) -> str:
    """All trials by number, a column per setting."""
    header = (
        "number",
        "state",
        *keys,
        "macro_f1",
        "low",
        "high",
        "nll",
        "step",
        "weights",
        "folds",
        "cpu_seconds",
        "reason",
    )
    rows = [
        (
            r.number, r.state, *(r.params.get(k, "") for k in keys),
            *((r.macro_f1.value, r.macro_f1.low, r.macro_f1.high) if r.macro_f1 else ("", "", "")),
            "" if r.nll is None else r.nll, "" if r.step is None else r.step, r.weights or "", len(r.curve),
            r.cpu_seconds, r.reason,
        )
        for r in records
    ]  # fmt: skip
    return csv_text([header, *(tuple(map(str, row)) for row in rows)])


def tune_card(
    path: str,
    asked: TuneSettings,
    records: Sequence[TrialRecord],
    verdict: VerdictRecord,
    importance: Mapping[str, float],
) -> str:
    """Markdown of a search.

    Args:
        path: of its folder.
        importance: setting -> share of the metric's variation.
    """
    words, figures = sentences(verdict)
    counts = {s: sum(r.state == s for r in records) for s in ("finished", "pruned", "failed")}
    parts = [
        f"# Search {md(path)}",
        f"**{md(words)}** {md(figures)}".strip(),
        f"{len(records)} trials over {md(asked.space_file)}: {counts['finished']} finished, {counts['pruned']} pruned, "
        f"{counts['failed']} failed. Each is a study of {asked.folds} folds"
        + (f" on {asked.repeats} splits" if asked.repeats > 1 else "")
        + "; scores are pooled out-of-fold, at the common step. To use the winner: "
        + code(f"sslmask train --folds 5 -c {path}/best.yaml"),
        *_splits(verdict),
        "## Trials",
        markdown(trials_cells(records, asked.metric)),
        "## Which settings mattered",
        _importance(importance),
        "![Score by trial](plots/history.svg)\n![Importance](plots/importance.svg)\n"
        "![Settings and scores](plots/parallel.svg)",
    ]
    return "\n\n".join(parts) + "\n"


def _splits(verdict: VerdictRecord) -> list[str]:
    if not verdict.splits:
        return []
    rows = [
        (str(s.split_seed), f"{s.default:.4f}", f"{s.winner:.4f}", f"{s.winner - s.default:+.4f}")
        for s in verdict.splits
    ]
    header = ("split seed", "default", f"trial {verdict.winner}", "difference")
    return ["## On other splits (macro-F1, out-of-fold)", markdown(Cells(header, tuple(rows)))]


def _importance(importance: Mapping[str, float]) -> str:
    if not importance:
        return "Too few trials have finished to tell."
    rows = tuple((key, f"{share:.0%}") for key, share in importance.items())
    note = "Share of the score's variation over the space that a setting explains (PED-ANOVA, arXiv 2304.10255)."
    return f"{markdown(Cells(('setting', 'share'), rows))}\n\n{note}"


if __name__ == "__main__":
    from ssl_mask.reports import study_samples

    print(tune_card("runs/tune-001", *study_samples.search()))
