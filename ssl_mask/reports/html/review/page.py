"""The page on which doubtful labels are reviewed, as one HTML file."""

from __future__ import annotations

from typing import Any

from ssl_mask.data.corrections import note_columns
from ssl_mask.data.names import plain
from ssl_mask.reports.html.advice import train_corrected
from ssl_mask.reports.html.album import Album
from ssl_mask.reports.html.page import render
from ssl_mask.reports.html.review.review import Question, Review
from ssl_mask.reports.html.review.text import in_words
from ssl_mask.reports.html.subject import picture_of
from ssl_mask.runs.environment import code_version
from ssl_mask.text import shown

IMAGES, OTHERS = 12, 6
"""Most images of a question, and most further ones of its group."""


def review_html(review: Review, album: Album) -> str:
    """The text of the page. Decodes the images that it shows; questions whose images have no room are left out."""
    subject = review.subject
    asked = questions_of(review, album)
    factors = [
        {
            "name": shown(f.name), "raw": plain(f.name), "classes": [*map(shown, f.classes)],
            "rawClasses": [*map(plain, f.classes)],
        }
        for f in subject.schema.factors
    ]  # fmt: skip
    data = {
        "digest": review.digest, "factors": factors, "notes": note_columns(subject.schema), "questions": asked,
        "pictures": [_caption(picture) for picture in album.pictures], "copies": album.copies,
        "earlier": review.earlier,
    }  # fmt: skip
    return render(
        "review.html", style="report.css review.css", script="images.js review.js", data=data, name=subject.name,
        path=str(subject.source.path), version=code_version(), words=in_words(review), notices=_notices(review, album),
        asked=len(asked), total=len(review.questions), factors=[f.name for f in subject.schema.factors],
        notes=note_columns(subject.schema), train=train_corrected(subject.reading),
        source="" if review.source is None else str(review.source),
    )  # fmt: skip


def questions_of(review: Review, album: Album) -> list[dict[str, Any]]:
    """For the page's script: f(actor), l(abel) and s(uggested) class, their probabilities, k(ind of target) and its
    n(ame) as it is and w(ritten for people), x: images, o: others of the group, m: images judged, sure, c: place in
    cleanlab's list."""
    names = [f.name for f in review.subject.schema.factors]
    found: list[dict[str, Any]] = []
    for question in review.questions:
        images = album.add_all([picture_of(review.subject, row) for row in question.doubt.rows[:IMAGES]])
        if not images:
            break  # the page is full
        others = album.add_all([picture_of(review.subject, row) for row in question.others[:OTHERS]])
        found.append(_record(question, names, images, others))
    return found


def _record(question: Question, names: list[str], images: list[int], others: list[int]) -> dict[str, Any]:
    d = question.doubt
    record: dict[str, Any] = {
        "f": names.index(d.factor), "l": d.label, "s": d.suggested, "pl": round(d.p_label, 3),
        "ps": round(d.p_suggested, 3), "k": question.target, "n": question.name, "w": shown(question.name),
        "x": images, "o": others, "m": len(d.rows), "sure": d.confident,
    }  # fmt: skip
    return record if question.cleanlab is None else {**record, "c": question.cleanlab}


def _caption(picture: dict[str, Any]) -> dict[str, Any]:
    """What the script shows of a picture: its name, its small copy, and its own file where that is linked."""
    return {key: picture[key] for key in ("n", "s", "t", "u") if key in picture}


def _notices(review: Review, album: Album) -> list[str]:
    found = []
    if album.gone:
        found.append(
            f"{len(album.gone)} images cannot be read now, such as {min(album.gone)} in {review.subject.root}. If the "
            "data set has moved: sslmask review --data FOLDER"
        )
    if album.changed:
        found.append(
            f"{len(album.changed)} images have changed since they were predicted, such as {min(album.changed)}."
        )
    return found
