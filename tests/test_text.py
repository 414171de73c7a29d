"""Names of strangers in each kind of output, against its readers: a Markdown parser, csv, an XML parser."""

from __future__ import annotations

import csv
import io
import string
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console as RichConsole

from ssl_mask.console import Console
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.reports.confusion_plot import draw_confusion
from ssl_mask.reports.figures import save_figure
from ssl_mask.reports.tables import Cells, markdown, terminal
from ssl_mask.text import code, csv_text, md, md_table, shown

HOSTILE = [
    "a|b", "a`b", "``", "`", "<script>alert(1)</script>", "[red]x[/red]", "[x](http://a.b)", "**bold**", "_it_",
    "a_b_c", "$x$ and $y$", r"a\|b", "a\\", "&lt;", "~~gone~~", "https://a.b", "= 1", "a\nb", "a\rb", ":cat:",
    "\x1b[31mred", "\u202eback", "café", "日本　語", "\x00",
]  # fmt: skip
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.text(
    st.sampled_from("\\|`*_<>&[]()$~!#:/\n\r\t\"', " + string.ascii_lowercase[:3]), min_size=1, max_size=12
)
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def cells_of(page: str) -> list[list[tuple[str, str]]]:
    """(kind of its inline tokens, text) of each cell of a page's only table, without the header."""
    tokens = PARSER.parse(page)
    assert tokens[0].type == "table_open" and tokens[-1].type == "table_close"
    inline = [t.children or [] for t in tokens if t.type == "inline"]
    found = [("+".join(sorted({t.type for t in c})), "".join(t.content for t in c)) for c in inline]
    return [found[i : i + 2] for i in range(2, len(found), 2)]


def seen(name: str) -> str:
    """As a table shows a name: printable, spaces as one, none at the ends."""
    return " ".join(shown(name).split())


@given(NAMES, NAMES)
def test_names_stay_text_and_stay_in_their_cell(first: str, second: str) -> None:
    for kind, written in (("text", md), ("code_inline", code)):
        page = md_table(("a", "b"), [(written(first), written(second)), ("x", "y")])
        (cells, last) = cells_of(page)
        assert [c[1] for c in last] == ["x", "y"]
        for cell, name in zip(cells, (first, second), strict=True):
            if "\\" not in name or kind == "text":  # a code span in a table cannot show a backslash before a bar
                assert cell[1].strip() == seen(name)
            assert cell[0] in {kind, ""}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_code_span_is_not_left(name: str) -> None:
    (inline,) = (t for t in PARSER.parse(f"of {code(name)} images") if t.type == "inline")
    assert [t.type for t in inline.children or []] == ["text", "code_inline", "text"]
    assert (inline.children or [])[1].content == shown(name)


@given(st.lists(st.lists(NAMES | st.just(""), min_size=2, max_size=2), max_size=4))
def test_csv_gives_back_equal_cells(rows: list[list[str]]) -> None:
    assert list(csv.reader(io.StringIO(csv_text(rows), newline=""))) == rows


def test_plain_csv_is_as_the_library_writes_it() -> None:
    rows = [["path", "n"], ["a,b", 1], ['say "x"', 2.5], ["a\nb", None]]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    assert csv_text(rows) == out.getvalue()
    assert csv_text([["a\rb", "c"]]) == '"a\rb",c\n'


def test_tables_of_both_kinds_show_names_as_they_are() -> None:
    rows = tuple((name, "1") for name in HOSTILE)
    assert [row[0][1].strip() for row in cells_of(markdown(Cells(("class", "n"), rows)))] == [seen(n) for n in HOSTILE]
    out = io.StringIO()
    RichConsole(file=out, width=200, color_system=None).print(terminal(Cells(("[b]class", "n"), rows), "[i]:cat:"))
    text = out.getvalue()
    assert "[i]:cat:" in text and "[b]class" in text
    assert all(shown(name) in text for name in HOSTILE)


def test_a_message_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Console().say("[red]a\x1b[31m\r.jpg :cat: caf\udce9")
    Console().warn("b\x07 [link=x]: c\nd\u202e")
    assert capsys.readouterr().out == "[red]a\ufffd[31m\ufffd.jpg :cat: caf\ufffd\nNote: b\ufffd [link=x]: c\nd\ufffd\n"


@pytest.mark.plots
@pytest.mark.parametrize("name", ["$x$ and $y$", r"a\$b", "a\x1b\x00b", "<b>&", "^$_$", "a\nb"])
def test_class_names_in_plots_are_text(tmp_path: Path, name: str) -> None:
    schema = LabelSchema((Factor(name, (name, "other")),))
    labels = np.array([0, 1, 0, 1])
    save_figure(tmp_path / "a.svg", draw_confusion(labels, labels, schema))
    texts = [t.text for t in ElementTree.parse(tmp_path / "a.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert shown(name) in texts
