"""What the page of `sslmask demo --app` says of a run and of a photo, as HTML; names of strangers are escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from ssl_mask.guard.provenance import Provenance
from ssl_mask.guard.status import Mark
from ssl_mask.text import shown

MOST = 5
"""Classes that are shown."""


def run_words(name: str, photos: int, groups: int | None, mark: Mark, usual: str) -> str:
    """The run in a paragraph.

    Args:
        photos: that it was trained on. groups: of so many persons (groups); None: they are not known.
        usual: why nothing can be told of unusual photos; "" where it can.
    """
    persons = "" if groups is None else f" of {groups} persons (groups)"
    said = [
        f"<b>{_text(name)}</b> was trained on {photos} photos{persons}.",
        f"Leakage of its score: <b>{mark.status}</b>{f' ({_text(mark.reason)})' if mark.reason else ''}.",
    ]
    if usual:
        said.append(f"How unusual a photo is cannot be told: {_text(usual)}")
    return _paragraphs(" ".join(said))


def answer_words(
    joint: Mapping[str, float], factors: Mapping[str, Mapping[str, float]], seen: Provenance, p: float | None,
    rate: float,
) -> str:  # fmt: skip
    """A photo in a few sentences: its class, whether the run has seen it, and how unusual it is.

    Args:
        joint, factors: class -> probability, the likeliest first.
        p: share of photos of known classes that are as unusual; None: nothing is said.
        rate: from which p on a photo is usual.
    """
    first = next(iter(joint))
    said = [f"<b>{_text(first)}</b>: {percent(joint[first])} sure."]
    if len(factors) > 1:
        each = (
            f"{_text(name)} {_text(next(iter(own)))} {percent(next(iter(own.values())))}"
            for name, own in factors.items()
        )
        said[0] += f" Each by itself: {', '.join(each)}."
    if p is not None and p <= rate:
        said.append(
            f"⚠ <b>Unlike anything in training</b>: of photos of known classes that were not trained on, {percent(p)} "
            "are as unusual. Do not rely on the answer."
        )
    elif p is not None:
        said.append(
            f"Not unusual: {percent(p)} of photos of known classes that were not trained on are as unusual or more."
        )
    return _paragraphs(*said, _seen(seen))


def neighbour_words(cosine: float, labels: tuple[str, ...], group: str) -> str:
    """The line below a training photo."""
    return f"{cosine:.2f} · {shown('/'.join(labels))}" + (f" · {shown(group)}" if group else "")


def problem_words(problem: str, hint: str) -> str:
    """An error, for the page."""
    return _paragraphs(f"⚠ <b>{_text(problem)}</b>", _text(hint))


def percent(share: float) -> str:
    """`97 %`; never 0 or 100 %: an estimate is not certain."""
    if share < 0.01:
        return "below 1 %"
    return "above 99 %" if share > 0.99 else f"{share:.0%}".replace("%", " %")


def _seen(seen: Provenance) -> str:
    for found, words in (
        (seen.overlap, "The run has seen this photo"),
        (seen.review, "The run may have seen this photo"),
    ):
        if found:
            return (
                f"⚠ <b>{words}</b>: {_text(next(iter(found.values())))}. What it says here tells nothing of new photos."
            )
    if seen.status == "not-checked":
        return f"Whether the run has seen this photo was not checked ({_text('; '.join(seen.why))})."
    return "The run has not seen this photo; whether it has seen this person cannot be known."


def _paragraphs(*texts: str) -> str:
    return "".join(f"<p>{text}</p>" for text in texts if text)


def _text(text: str) -> str:
    return escape(shown(text))
