"""The allow file: which pairs its rows mean, and what is wrong with a row."""

from __future__ import annotations

from pathlib import Path

import pytest
from handmade import findings, pair, record, sha

from ssl_mask.errors import DataError
from ssl_mask.guard.allow import Allowed, allowed_pairs, read_allow

TRAIN = record("train", "train", "a.jpg@1", "b.jpg@2")
TEST = record("test", "test", "x.jpg@3", "y.jpg@2")
COPY, GROUP = pair(TEST, "x.jpg", TRAIN, "a.jpg"), pair(TEST, "y.jpg", TRAIN, "b.jpg", "group", 0.0)
FOUND = findings(TEST, TRAIN, pairs=(COPY, GROUP))


def table(folder: Path, *lines: str) -> Path:
    path = folder / "allow.csv"
    path.write_text("\n".join(["first,second,reason", *lines]) + "\n")
    return path


@pytest.mark.parametrize("names", [("x.jpg", "a.jpg"), ("a.jpg", "x.jpg"), (sha("x.jpg"), "a.jpg"),
                                   (sha("a.jpg"), sha("x.jpg"))])  # fmt: skip
def test_a_row_names_a_pair_by_path_or_digest_in_either_order(tmp_path: Path, names: tuple[str, str]) -> None:
    rows = read_allow(table(tmp_path, f"{names[0]},{names[1]},the logo only"))
    assert allowed_pairs(FOUND, rows) == ({COPY: "the logo only"}, [])


def test_the_examples_of_a_group_allow_the_group() -> None:
    assert allowed_pairs(FOUND, [Allowed("y.jpg", "b.jpg", "twins", "allow.csv:2")]) == ({GROUP: "twins"}, [])


def test_a_row_that_nothing_needs_is_named() -> None:
    reasons, unused = allowed_pairs(FOUND, [Allowed("x.jpg", "b.jpg", "why not", "allow.csv:7")])
    assert reasons == {}
    assert len(unused) == 1 and "allow.csv:7" in unused[0] and "remove the row" in unused[0]


def test_unknown_images_are_an_error() -> None:
    with pytest.raises(DataError, match=r"allow.csv:9: z.jpg is no image"):
        allowed_pairs(FOUND, [Allowed("x.jpg", "z.jpg", "typo", "allow.csv:9")])


@pytest.mark.parametrize(("line", "message"), [("x.jpg,a.jpg,", r"allow.csv:3: no reason"), ("x.jpg,,because", "needs"),
                                               (",a.jpg,because", "allow.csv:3")])  # fmt: skip
def test_half_a_row_is_an_error_that_names_it(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_allow(table(tmp_path, "x.jpg,a.jpg,fine", line))


def test_a_table_without_the_columns(tmp_path: Path) -> None:
    (tmp_path / "allow.csv").write_text("first,second\na,b\n")
    with pytest.raises(DataError, match="no column 'reason'"):
        read_allow(tmp_path / "allow.csv")
