"""Our own Markdown (cards, tables of cards) as HTML: the page says what the card says, word for word."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from markdown_it import MarkdownIt
from markupsafe import Markup


class Card(NamedTuple):
    """A card's page in parts."""

    verdict: str
    """Markdown between the title and the first section."""
    sections: dict[str, str]
    """Title -> Markdown."""


def split_card(text: str) -> Card:
    """A card's Markdown by its sections."""
    first, *rest = f"\n{text}".split("\n## ")
    _, _, verdict = first.strip().partition("\n")
    parts = (section.partition("\n") for section in rest)
    return Card(verdict.strip(), {title.strip(): body.strip() for title, _, body in parts})


def to_html(markdown: str) -> Markup:
    """Markdown of `ssl_mask.text.md` and ours as HTML. HTML in it is text, links and images are not made."""
    return Markup(_reader().render(markdown))


@cache
def _reader() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
