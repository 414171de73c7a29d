"""`sslmask runs`: a table that fits the terminal without cutting a word."""

from __future__ import annotations

import pytest

from ssl_mask.cli.runs import ALWAYS, COLUMNS, table

STARTED = "2026-11-25 18:00"
ROWS = [
    ("rounds", "0.4861", "transductive-test", "interrupted", "0.5012", "120/300", "ema@120", STARTED, "ab12cd34"),
    ("study/seed-0-labels-only", "0.4700", "clean", "finished", "0.5112", "300/300", "live@300", STARTED, "ab12cd34"),
    ("train-001", "", "not-checked", "running", "", "0/300", "", STARTED, ""),
]  # fmt: skip


@pytest.mark.parametrize(("width", "columns"), [(80, 4), (100, 6), (120, 7), (200, 9)])
def test_columns_that_do_not_fit_are_left_out_and_nothing_is_cut(width: int, columns: int) -> None:
    lines = table(ROWS, width).splitlines()
    assert len(lines) == 1 + len(ROWS) and max(map(len, lines)) <= width
    for line, cells in zip(lines, (COLUMNS, *ROWS), strict=True):
        assert line.split("  ")[0].strip() == cells[0]
        for n, cell in enumerate(cells):
            assert (cell in line) == (n < columns) or not cell
    starts = {line.index(row[2]) for line, row in zip(lines, (COLUMNS, *ROWS), strict=True)}
    assert len(starts) == 1


def test_a_name_that_is_too_long_has_a_line_of_its_own() -> None:
    name = "a-very-long-name-of-a-study-of-many-seeds/seed-0-labels-only"
    lines = table([(name, *ROWS[0][1:])], 80).splitlines()
    assert lines[2] == name and lines[3].split() == list(ROWS[0][1:ALWAYS])
    assert max(map(len, lines)) <= 80
