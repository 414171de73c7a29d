"""What a table of corrections may say beside labels: exclude, who, why; and names that look like formulas."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_checks import SCHEMA, corrected, manifest

from ssl_mask.data.corrections import apply_corrections, note_columns, read_corrections
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.text import csv_text, from_inert, inert


def test_excluded_images_are_in_no_row_and_say_why(tmp_path: Path) -> None:
    made = corrected(tmp_path, "path,exclude,reviewer,reason\nc.jpg,yes,Kim,two faces\n")
    assert [r.path for r in made.rows] == ["a.jpg", "b.jpg", "d.jpg"]
    assert made.excluded == {"c.jpg": f"excluded at {tmp_path / 'fix.csv'}:2 by Kim: two faces"}
    assert made.where("train").excluded == made.excluded


def test_a_group_is_excluded_but_for_an_image_that_says_no(tmp_path: Path) -> None:
    made = corrected(tmp_path, "group,path,exclude\nx,,Yes\n,b.jpg,no\n")
    assert [r.path for r in made.rows] == ["b.jpg", "c.jpg", "d.jpg"]  # d.jpg is of x too, but a test image
    assert list(made.excluded) == ["a.jpg"]


def test_who_and_why_change_nothing_and_a_confirmed_label_neither(tmp_path: Path) -> None:
    made = corrected(tmp_path, "path,shape,reviewer,reason\na.jpg,disc,Kim,sure\nc.jpg,,Kim,not sure\n")
    assert made.rows == manifest().rows  # also the label that a.jpg is trained with
    assert made.excluded == {}


def test_an_unknown_word_under_exclude_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"fix\.csv:2: exclude is 'maybe'"):
        corrected(tmp_path, "path,exclude\na.jpg,maybe\n")


def test_a_factor_keeps_its_column(tmp_path: Path) -> None:
    schema = LabelSchema((Factor("reason", ("fall", "jump")),))
    (tmp_path / "fix.csv").write_text("path,reason\na.jpg,jump\n")
    (said,) = read_corrections(tmp_path / "fix.csv", schema).values()
    assert said.labels == {0: 1} and said.reason == ""
    assert note_columns(schema) == ["exclude", "reviewer"]


def test_names_that_look_like_formulas_come_back(tmp_path: Path) -> None:
    names = ["=1+1.jpg", "'=x.jpg", '@a,"b"\n.jpg', "-3", "+cmd|' /C calc'!A0"]
    rows = tuple(Row(name, "g", "train", "t", (0, 0)) for name in names)
    table = tmp_path / "fix.csv"
    table.write_text(csv_text([["path", "hue"], *([inert(name), "blue"] for name in names)]))
    base = manifest()
    made = apply_corrections(Manifest(Path(), "table", SCHEMA, rows, True, base.submission), table)
    assert [r.labels for r in made.rows] == [(0, 1)] * len(names)
    cells = [row[0] for row in csv.reader(io.StringIO(table.read_text(), newline=""))]
    assert [c[0] for c in cells[1:]] == ["'", "'", "'", "-", "'"]


@given(st.text())
def test_what_is_made_inert_is_read_back(text: str) -> None:
    assert from_inert(inert(text)) == text
    assert inert(text)[:1] not in {"=", "@", "＝", "＠"}
