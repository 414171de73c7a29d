"""A report as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ssl_mask.evaluation.label_doubts import Doubt
from ssl_mask.evaluation.metrics import Interval
from ssl_mask.reports.html.album import Album, Picture
from ssl_mask.reports.html.charts import Axis, Chart, Whisker, shares
from ssl_mask.reports.html.conditions import SAMPLE, Bin, Measure
from ssl_mask.reports.html.heat import looked_of
from ssl_mask.reports.html.page import TableCells, render
from ssl_mask.reports.html.report import mistakes
from ssl_mask.reports.html.report.cards import ELSEWHERE
from ssl_mask.reports.html.report.report import (
    DOUBTS,
    Looks,
    Report,
    conditions_of,
    fill_cells,
    worst_pictures,
)
from ssl_mask.reports.html.report.words import to_html
from ssl_mask.reports.html.subject import picture_of
from ssl_mask.reports.score_table import class_cells
from ssl_mask.runs.environment import code_version
from ssl_mask.text import shown

TITLES = {
    "score": "How good is it?", "confusion": "What is confused with what", "worst": "Worst images",
    "labels": "Labels to check", "groups": "Mistakes by group", "conditions": "Dark, blurred, small images",
    "calibration": "Can its confidence be trusted?", "curves": "Training curves",
    "compare": "Images that changed sides", "rounds": "Pseudo-label rounds", "leakage": "Leakage", "made": "Made with",
}  # fmt: skip
KINDS = {
    "run": "Run", "folds": "Study of folds", "rounds": "Study of pseudo-label rounds", "seeds": "Study of seeds",
    "factors": "Study of factor models", "gallery": "Gallery",
}  # fmt: skip
MOST_CLASSES, GROUPS, CHANGED = 200, 20, 24
"""Rows of the table of classes and of groups; images that changed sides."""


def report_html(report: Report, album: Album) -> str:
    """The text of the page. Decodes the images that it shows, and a sample for what accuracy depends on."""
    subject, looks = report.subject, report.looks
    values: dict[str, Any] = {
        "name": subject.name, "what": KINDS[subject.source.kind], "path": str(subject.source.path),
        "version": code_version(), "grouped": subject.grouped, "unit": "group" if subject.grouped else "image",
        "verdict": to_html(report.card.verdict), "steps": report.steps, "versus": report.versus, "signed": signed,
        "score_rows": [], "short": [], "matrices": None, "curves": report.curves, "settings": report.settings,
        "preset": report.config.preset, **_looks(report, album),
    }  # fmt: skip
    values |= {"changed": _changed(report, album), **_rounds(report, album), "leakage": _leakage(report, album)}
    values["details"] = [(t, to_html(body)) for t, body in report.card.sections.items() if t not in ELSEWHERE]
    if looks is not None:
        fill_cells(album, subject)
    values["notices"] = notices(album, report)
    there = {
        "score": True, "leakage": True, "made": True, "curves": report.curves, "compare": report.versus,
        "rounds": values["rounds"], **dict.fromkeys(("confusion", "worst", "labels", "calibration"), looks),
        "groups": values.get("groups"), "conditions": values.get("conditions"),
    }  # fmt: skip
    factors = [{"name": f.name, "classes": f.classes} for f in subject.schema.factors]
    data = {"factors": factors, "pictures": album.pictures, "copies": album.copies, "grouped": subject.grouped}
    return render(
        "report.html", style="report.css", script="images.js report.js", data=shown_names(data), titles=TITLES,
        contents=[(key, title) for key, title in TITLES.items() if there[key]], **values,
    )  # fmt: skip


def shown_names(data: dict[str, Any]) -> dict[str, Any]:
    """The names of factors and classes as they may be shown; pictures have made theirs so."""
    factors = [{"name": shown(f["name"]), "classes": [*map(shown, f["classes"])]} for f in data["factors"]]
    return {**data, "factors": factors}


def notices(album: Album, report: Report) -> list[str]:
    """What is not as it was, said once."""
    found = []
    if album.gone:
        found.append(
            f"{len(album.gone)} of the images that belong here cannot be read now, such as {min(album.gone)} in "
            f"{report.subject.root}. If the data set has moved: sslmask report --data FOLDER"
        )
    if album.changed:
        found.append(f"{len(album.changed)} images have changed since, such as {min(album.changed)}.")
    return found


def signed(interval: Interval) -> str:
    return f"{interval.value:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"


def _looks(report: Report, album: Album) -> dict[str, Any]:
    """The sections that show predictions."""
    subject, looks = report.subject, report.looks
    if looks is None:
        return {}
    names = subject.schema.joint_classes
    measured = conditions_of(subject, album)
    low, high = min(s.low for s in looks.score_rows), max(s.high for s in looks.score_rows)
    scale = shares("", low, high)
    return {
        "score_rows": looks.score_rows, "strip_low": scale.low, "strip_high": scale.high,
        "short": in_short(report, looks),
        "matrices": looks.matrices, "confusions": looks.confusions, "classes": class_table(looks),
        "too_many": len(names) if len(names) > mistakes.MOST_CLASSES else 0,
        "worst": album.add_all(worst_pictures(report, looks)), "wrong": looks.wrong,
        "looked": looked_of(report.explained),
        "doubts": _doubts(report, looks, album), "doubts_total": len(looks.doubts),
        "concentration": mistakes.concentration(looks.groups), "groups": group_table(looks) if looks.groups else None,
        "conditions": [condition_chart(m, bins) for m, bins in measured],
        "sampled": SAMPLE if len(looks.table) > SAMPLE else 0, "calibration": looks.calibration,
    }  # fmt: skip


def in_short(report: Report, looks: Looks) -> list[tuple[str, str]]:
    """The answers of the first day, each with the section that shows it."""
    found = []
    if looks.weakest is not None:
        found.append((f"The weakest factor is {looks.weakest[0]}: {looks.weakest[1]:.0%} right.", "confusion"))
    if looks.confusions:
        c = looks.confusions[0]
        of = f", {c.groups} groups" if report.subject.grouped else ""
        found.append((f"Most often {c.names[0]} is taken for {c.names[1]}: {c.images} of its {c.of} images{of}.",
                      "confusion"))  # fmt: skip
    if looks.groups:
        found.append((mistakes.concentration(looks.groups), "groups"))
    if looks.doubts:
        found.append((f"{len(looks.doubts)} labels are less probable than another class.", "labels"))
    found.append((f"Leakage: {report.leakage.status} ({report.leakage.reason}).", "leakage"))
    return found


def class_table(looks: Looks) -> TableCells:
    """F1 of each class with its interval; of many classes the worst."""
    rows = looks.classes
    if len(rows) <= MOST_CLASSES:
        return TableCells("F1 of each class", *class_cells(rows))
    present = sorted((name for name in rows if rows[name][1]), key=lambda name: rows[name][0])[:MOST_CLASSES]
    label = f"The {MOST_CLASSES} classes with the lowest F1"
    return TableCells(label, *class_cells({name: rows[name] for name in present}))


def group_table(looks: Looks) -> TableCells:
    """The groups with the most mistakes."""
    rows = [(g.group, f"{g.wrong} of {g.images}", f"{g.loss:.2f}", g.most) for g in looks.groups[:GROUPS] if g.wrong]
    return TableCells("Groups with the most mistakes", ("group", "wrong", "mean loss", "most frequent mistake"), rows)


def condition_chart(what: Measure, bins: Sequence[Bin]) -> Chart:
    """Accuracy of each bin with its interval."""
    whiskers = [
        Whisker(i + 0.5, *b.accuracy, f"{b.low:.1f} to {b.high:.1f}: {b.accuracy.value:.3f} of {b.images} images")
        for i, b in enumerate(bins)
    ]
    digits = 0 if max(abs(b.high) for b in bins) >= 20 else 1
    ticks = tuple((i + 0.5, f"{b.low:.{digits}f}–{b.high:.{digits}f}") for i, b in enumerate(bins))
    says = "; ".join(w.says for w in whiskers)
    y = shares("accuracy", min(b.accuracy.low for b in bins), max(b.accuracy.high for b in bins))
    return Chart(what.title, f"Accuracy by {what.title.lower()}: {says}.", Axis(0, len(bins), ticks, what.unit), y,
                 whiskers=whiskers)  # fmt: skip


def _doubts(report: Report, looks: Looks, album: Album) -> list[dict[str, Any]]:
    classes = {f.name: f.classes for f in report.subject.schema.factors}
    return [
        {
            "who": who(report, looks, d),
            "factor": d.factor, "label": classes[d.factor][d.label], "suggested": classes[d.factor][d.suggested],
            "p_label": d.p_label, "p_suggested": d.p_suggested, "images": len(d.rows),
            "numbers": album.add_all([picture_of(report.subject, row) for row in d.rows[:8]]),
        }
        for d in looks.doubts[:DOUBTS]
    ]  # fmt: skip


def who(report: Report, looks: Looks, doubt: Doubt) -> str:
    """Whose label is doubted: a group, or an image."""
    judged_together = report.subject.grouped and len(doubt.rows) > 1
    return doubt.group if judged_together else str(looks.table.path[doubt.rows[0]])


def _changed(report: Report, album: Album) -> list[dict[str, Any]]:
    names = report.subject.schema.joint_classes

    def pictures(rows: Sequence[int], theirs: dict[int, int], name: str) -> list[Picture]:
        return [picture_of(report.subject, row, f"{name}: {names[theirs[row]]}") for row in rows[:CHANGED]]

    return [
        {
            "name": v.name, "gained_total": len(v.gained), "lost_total": len(v.lost),
            "gained": album.add_all(pictures(v.gained, v.theirs, v.name)),
            "lost": album.add_all(pictures(v.lost, v.theirs, v.name)),
        }
        for v in report.versus
    ]  # fmt: skip


def _rounds(report: Report, album: Album) -> dict[str, Any]:
    sections = report.card.sections
    words = next((sections[t] for t in ("Rounds", "Rounds of pseudo-labels") if t in sections), None)
    found = report.examples
    if words is None or found is None:
        return {"rounds": None if words is None else to_html(words), "examples": None}
    parts = [
        ("Selected, the most confident", found.surest), ("Selected, the least confident", found.barely),
        ("Rejected, the most confident", found.rejected),
    ]  # fmt: skip
    examples = {
        "round": found.round, "selected": found.selected, "pool": found.pool,
        "parts": [(title, album.add_all(pictures)) for title, pictures in parts if pictures],
    }  # fmt: skip
    return {"rounds": to_html(words), "examples": examples}


def _leakage(report: Report, album: Album) -> dict[str, Any]:
    found = report.guarded
    base = {"status": report.leakage.status, "reason": report.leakage.reason, "checked": found is not None}
    if found is None:
        return {**base, "warnings": (), "kinds": None, "left_out": (), "pairs": [], "total": 0}
    pairs = [(words, album.add_all([*pair])) for words, *pair in found.shown]
    rows = [(k.first, k.second, k.kind, str(k.pairs)) for k in found.kinds]
    kinds = TableCells("Pairs that the guard found", ("pool", "and pool", "kind", "pairs"), rows) if rows else None
    left_out = sorted(found.left_out.items())
    return {**base, "warnings": found.warnings, "kinds": kinds, "left_out": left_out, "pairs": pairs,
            "total": found.total}  # fmt: skip
