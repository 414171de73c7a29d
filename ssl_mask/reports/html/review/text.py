"""The ranking of doubtful labels for a terminal, as Markdown."""

from __future__ import annotations

from ssl_mask.reports.html.review.review import Question, Review
from ssl_mask.text import md, md_table

LINES = 50


def review_text(review: Review) -> str:
    """The most doubtful labels, and how to correct them."""
    parts = [f"# Labels of {md(review.subject.name)} to review", in_words(review)]
    asked = review.cleanlab is not None
    if review.questions:
        header = ("", "image or group", "factor", "label", "predicted", "images", *(("cleanlab",) if asked else ()))
        rows = [_row(i, q, review) for i, q in enumerate(review.questions[:LINES], start=1)]
        parts.append(md_table(header, rows))
        if len(review.questions) > LINES:
            parts.append(f"{len(review.questions) - LINES} more are on the page: sslmask review")
    return "\n\n".join(parts) + "\n"


def in_words(review: Review) -> str:
    """How many labels are doubted, of whom."""
    questions = review.questions
    if not questions:
        return f"The predictions contradict none of the labels of {len(review.table)} images."
    confident = sum(q.doubt.confident for q in questions)
    groups = len({q.doubt.group for q in questions})
    of = f" of {groups} groups" if review.subject.grouped else ""
    return (
        f"{len(questions)} labels{of} are less probable than another class; in {confident} of these cases the other "
        "class is as probable as it usually is where it is the label. These are doubts, not errors."
    )


def _row(place: int, question: Question, review: Review) -> tuple[str, ...]:
    d = question.doubt
    classes = next(f.classes for f in review.subject.schema.factors if f.name == d.factor)
    ranked = () if review.cleanlab is None else ("" if question.cleanlab is None else str(question.cleanlab),)
    return (
        str(place), md(question.name), md(d.factor), f"{md(classes[d.label])} ({d.p_label:.2f})",
        f"{md(classes[d.suggested])} ({d.p_suggested:.2f})", str(len(d.rows)), *ranked,
    )  # fmt: skip
