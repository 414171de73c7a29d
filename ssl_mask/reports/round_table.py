"""Rounds of pseudo-labels as tables: the scores, the pseudo-labels behind them, and the classes of one selection.

`python -m ssl_mask.reports.round_table` shows them with made-up rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from ssl_mask.reports.tables import Cells, filled, markdown, terminal
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.records import AuditShares, HeadSummary, RoundSummary
from ssl_mask.runs.selected import SelectionRecord
from ssl_mask.text import md

MANY_CLASSES = 30
"""Of more classes the table shows those that are predicted most."""
SOURCES = {"class": "this class", "pooled": "all classes", "none": ""}
"""Where a selection record's threshold comes from: its `source` in words. Other sources are names of rules."""


def round_tables(rows: Sequence[RoundSummary], scored: str = "Validation") -> tuple[Table, ...]:
    """For a terminal: the scores, and the pseudo-labels once there are some. Both fit into 80 columns.

    Args:
        scored: on which images; `Out-of-fold` of folds.
    """
    tables = [terminal(score_cells(rows), f"{scored} scores by round (95 % intervals by group)", words=2)]
    if rows[1:]:
        tables.append(terminal(label_cells(rows), label_title(rows, scored), words=2))
    return tuple(tables)


def round_markdown(rows: Sequence[RoundSummary], scored: str = "Validation", stopped: str = "") -> str:
    """The same for the run card.

    Args:
        stopped: a sentence: why there are fewer rounds than were asked for.
    """
    parts = [f"**Stopped early**: {md(stopped)}"] if stopped else []
    parts.append(markdown(score_cells(rows)))
    if rows[1:]:
        parts += [f"{md(label_title(rows, scored))}:", markdown(label_cells(rows))]
    return "\n\n".join(parts)


def score_cells(rows: Sequence[RoundSummary]) -> Cells:
    """A row per round."""
    header = ("round", "trained on", "macro-F1", "95 %", "accuracy", "95 %", "CPU s")
    return filled(header, [_score_row(row) for row in rows])


def _score_row(row: RoundSummary) -> tuple[str, ...]:
    scores = [text for i in (row.macro_f1, row.accuracy) for text in (f"{i.value:.4f}", _range(i))]
    return str(row.round), row.taught_by or "+ pseudo-labels", *scores, f"{row.cpu_seconds:.0f}"


def label_title(rows: Sequence[RoundSummary], scored: str) -> str:
    pools = dict.fromkeys(str(row.pool) for row in rows if row.pool is not None)
    audited = ", audit: true labels" if any(row.audit is not None for row in rows) else ""
    return f"Pseudo-labels for {' or '.join(pools)} images (val: {scored.lower()} images{audited})"


def label_cells(rows: Sequence[RoundSummary]) -> Cells:
    """Per round of pseudo-labels a row for all labels together and one per head; one row alone if there is one head."""
    header = (
        "round", "labels", "selected", "precision\n(val)", "precision\n(audit)", "recall\n(audit)",
        "same as\nbefore", "class\nchanged",
    )  # fmt: skip
    return filled(header, [cells for row in rows for cells in _label_rows(row)])


def _label_rows(row: RoundSummary) -> list[tuple[str, ...]]:
    heads, audit = row.heads or {}, row.audit
    if not heads:
        return []
    changed = str(row.flipped) if row.round > 1 else ""  # in round 1 there is nothing to differ from
    images = str(row.selected)
    whole = _audited(audit.labels if audit is not None else None)
    if len(heads) == 1:
        ((name, head),) = heads.items()
        return [(str(row.round), name, images, _share(head.val_precision), *whole, _share(row.agreement), changed)]
    lines: list[tuple[str, ...]] = [(str(row.round), "any", images, "", *whole, _share(row.agreement), changed)]
    for name, head in heads.items():
        lines.append(_head_row(name, head, audit.factors.get(name) if audit is not None else None))
    return lines


def _head_row(name: str, head: HeadSummary, audited: AuditShares | None) -> tuple[str, ...]:
    return "", name, str(head.selected), _share(head.val_precision), *_audited(audited), "", ""


def _audited(shares: AuditShares | None) -> tuple[str, str]:
    return ("", "") if shares is None else (_share(shares.precision), _share(shares.recall))


def class_table(record: SelectionRecord) -> Table:
    """A row per class of one round: predicted, selected, from which confidence on, and on how much evidence."""
    header = ("head", "class", "predicted", "selected", "threshold", "threshold\nfrom", "val. images\nbehind it")
    rows: list[tuple[str, ...]] = []
    for name, head in record.heads.items():
        most = sorted(head.classes.items(), key=lambda item: -item[1].predicted)[:MANY_CLASSES]
        shown = {label for label, _ in most}
        for label, row in ((k, v) for k, v in head.classes.items() if k in shown):
            limit = "" if row.threshold is None else f"{row.threshold:.3f}"
            source = SOURCES.get(row.source, row.source)
            rows.append((name, label, str(row.predicted), str(row.selected), limit or "none", source, str(row.support)))
    title = f"Round {record.round}: images selected per class"
    if any(len(head.classes) > MANY_CLASSES for head in record.heads.values()):
        title += f" ({MANY_CLASSES} classes that are predicted most; all are in selection.json)"
    return terminal(filled(header, rows), title, words=2)


def _range(interval: IntervalRecord) -> str:
    return f"{interval.low:.3f}-{interval.high:.3f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    from rich.console import Console

    from ssl_mask.reports import study_samples

    print(round_markdown(study_samples.rounds()))
    for table in (class_table(study_samples.selection()), *round_tables(study_samples.rounds())):
        Console(highlight=False).print(table)
