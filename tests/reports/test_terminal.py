"""Markdown pages in a terminal: rendered, complete, without the part for machines."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from ssl_mask.reports.terminal import print_page, show_page

PATH = "extra/be36c05cc521dbb125e1dd6a673b616b3dd8998a.jpg"
PAGE = f"""---
license: unknown
---

# Data card: test

**The verdict** of the card.

| kind | here | there |
| --- | --- | --- |
| near | {PATH} | {PATH} |
"""


@pytest.mark.parametrize("width", [80, 120])
def test_a_page_is_rendered_and_nothing_is_cut(width: int) -> None:
    out = io.StringIO()
    print_page(PAGE, Console(file=out, width=width, force_terminal=True, color_system=None))
    shown = out.getvalue()
    assert "license" not in shown and "---" not in shown and "|" not in shown and "**" not in shown
    assert "Data card: test" in shown and "The verdict of the card." in shown
    assert "…" not in shown and max(map(len, shown.splitlines())) <= width
    if width == 120:
        assert shown.count(PATH) == 2


def test_rules_inside_of_a_page_stay() -> None:
    out = io.StringIO()
    print_page("# Card\n\none\n\n---\n\ntwo\n", Console(file=out, width=80))
    assert "one" in out.getvalue() and "two" in out.getvalue()


def test_a_page_is_rendered_for_people_and_left_alone_for_programs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show_page(PAGE)
    assert capsys.readouterr().out == PAGE
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show_page(PAGE)
    shown = capsys.readouterr().out
    assert "license" not in shown and "**" not in shown and "Data card: test" in shown
