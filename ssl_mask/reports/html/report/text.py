"""A report in short, as Markdown: the same facts for a terminal."""

from __future__ import annotations

from ssl_mask.evaluation.label_doubts import Doubt
from ssl_mask.reports.html.report.page import in_short, signed, who
from ssl_mask.reports.html.report.report import Looks, Report
from ssl_mask.reports.html.report.score_rows import ScoreRow
from ssl_mask.text import code, md, md_table

LINES = 8
"""Rows of each table."""


def report_text(report: Report) -> str:
    """What the page says, without its images and its charts."""
    parts = [f"# {md(report.subject.name)}", report.card.verdict]
    parts += [
        f"**Against {md(v.name)}: {v.verdict}.** Macro-F1 {signed(v.macro_f1)}, accuracy {signed(v.accuracy)}, paired, "
        f"on {v.images} images; {len(v.gained)} are right only here, {len(v.lost)} only there."
        for v in report.versus
    ]
    if report.looks is not None:
        parts += _looks(report, report.looks)
    for title in ("Rounds", "Rounds of pseudo-labels"):
        if title in report.card.sections:
            parts += [f"## {title}", report.card.sections[title]]
    parts += ["## What to do next", "\n".join(f"- {step.why} {code(step.command)}" for step in report.steps)]
    return "\n\n".join(parts) + "\n"


def _looks(report: Report, looks: Looks) -> list[str]:
    parts: list[str] = []
    if len(looks.score_rows) > 1:
        parts.append(md_table(("what", "macro-F1", "95 %"), map(_score_row, looks.score_rows)))
    parts += ["## In short", "\n".join(f"- {md(text)}" for text, _ in in_short(report, looks))]
    if looks.confusions:
        rows = [(*map(md, c.names), f"{c.images} of {c.of}", str(c.groups)) for c in looks.confusions[:LINES]]
        parts += ["## Most frequent confusions", md_table(("true", "predicted", "images", "groups"), rows)]
    if looks.groups and looks.wrong:
        groups = [(md(g.group), f"{g.wrong} of {g.images}", f"{g.loss:.2f}", md(g.most)) for g in looks.groups[:LINES]]
        parts += ["## Mistakes by group", md_table(("group", "wrong", "loss", "most frequent"), groups)]
    elif looks.worst:
        parts += ["## Worst images", "\n".join(f"- {code(str(looks.table.path[i]))}" for i in looks.worst[:LINES])]
    if looks.doubts:
        header = ("image or group", "factor", "label", "predicted", "images")
        parts += ["## Labels to check", md_table(header, [_doubt(report, looks, d) for d in looks.doubts[:LINES]])]
    return parts


def _score_row(row: ScoreRow) -> tuple[str, ...]:
    return md(row.name), f"{row.value:.4f}", f"{row.low:.3f} to {row.high:.3f}"


def _doubt(report: Report, looks: Looks, doubt: Doubt) -> tuple[str, ...]:
    classes = next(f.classes for f in report.subject.schema.factors if f.name == doubt.factor)
    return (
        md(who(report, looks, doubt)), md(doubt.factor), f"{md(classes[doubt.label])} ({doubt.p_label:.2f})",
        f"{md(classes[doubt.suggested])} ({doubt.p_suggested:.2f})", str(len(doubt.rows)),
    )  # fmt: skip
