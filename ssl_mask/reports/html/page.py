"""A page as one file: templates filled, style and script inlined, and a policy that lets nothing else in.

The browser is told (Content-Security-Policy) to load nothing from anywhere and to run no style and no script but ours,
which it knows by their SHA-256. So even a name that got through all escaping could do nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ssl_mask.files import write_text
from ssl_mask.reports.html.album import Album
from ssl_mask.text import shown

_UNSAFE = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def render(template: str, *, style: str, script: str, data: Any, files: bool = False, **values: Any) -> str:
    """The text of a page.

    Args:
        template: the name of a template beside this file, which extends `base.html`.
        style: the names of CSS files there, with spaces between.
        script: the names of JS files there, with spaces between; they run in this order.
        data: what the scripts read, as JSON; all text in it that is shown must have been made by `shown`.
        files: images may also be read from this machine's disk.
        values: of the template. Text is escaped; `Markup` is not.
    """
    css, js = ("\n".join(map(_asset, names.split())) for names in (style, script))
    return environment().get_template(template).render(
        css=Markup(css), js=Markup(js), data=script_json(data), policy=policy(css, js, files=files), **values
    )  # fmt: skip


class TableCells(NamedTuple):
    """A table of texts."""

    label: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class WrittenPage(NamedTuple):
    """A page and where it is."""

    path: Path
    page: str
    images: int
    """That it shows."""
    gone: int
    """Images that it would show, but that cannot be read now."""

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.page.encode())


def write_page(path: Path, page: str, album: Album) -> WrittenPage:
    """Write a page whose images are those of an album. Raises StorageError."""
    write_text(path, page)
    return WrittenPage(path, page, album.images, len(album.gone))


def policy(css: str, js: str, *, files: bool = False) -> str:
    """The Content-Security-Policy of a page with this style and this script."""
    images = "img-src data: file:" if files else "img-src data:"
    only = f"style-src '{_digest(css)}'; script-src '{_digest(js)}'"
    return f"default-src 'none'; {images}; {only}; base-uri 'none'; form-action 'none'"


def script_json(content: Any) -> Markup:
    """JSON that can stand in a `<script>`: ASCII, and nothing in it can end the element or begin a comment."""
    return Markup(json.dumps(content, separators=(",", ":"), allow_nan=False).translate(_UNSAFE))


@cache
def environment() -> Environment:
    """Templates that escape all text, show names of strangers with `shown`, and fail at a name that is not given."""
    made = Environment(
        loader=PackageLoader("ssl_mask.reports.html"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.finalize = lambda value: shown(value) if type(value) is str else value
    return made


def _asset(name: str) -> str:
    return environment().loader.get_source(environment(), name)[0]  # type: ignore[union-attr]


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
