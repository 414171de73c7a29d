"""`sslmask runs`: a table that fits the terminal without cutting a word."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from made_records import best_score, data_record, run_status
from typer.testing import CliRunner

from ssl_mask.cli.runs import ALWAYS, COLUMNS, app, read_runs, table
from ssl_mask.files import write_json

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


# ---- what is in the folder ----

DAMAGED = {
    "empty": "", "list": "[]", "object": "{}", "null": "null", "number": "7", "text": '"run"', "torn": '{"verb": "tr',
    "deep": "[" * 100_000, "markup": '{"verb": "[bold red]x[/]"}', "control": '{"verb": "\\u001b[2J\\n"}',
    "binary": "\0\1\2", "huge": '{"step": 1' + "0" * 5000 + "}", "nan": '{"updated": NaN}', "twice": '{"a": 1, "a": 1}',
}  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_run_is_one_line_and_the_others_are_listed(tmp_path: Path, content: str) -> None:
    write_json(tmp_path / "good" / "run.json", run_status(status="finished", best=best_score()).to_json())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text(content)
    done = CliRunner().invoke(app, ["--runs", str(tmp_path)])
    assert done.exit_code == 0
    header, good, *bad = done.output.splitlines()
    assert header.startswith("run ") and good.startswith("good  0.5000")
    assert len(bad) == 1 and bad[0].startswith("damaged: ") and str(tmp_path / "bad" / "run.json") in bad[0]
    assert bad[0].isprintable()
    listed = json.loads(CliRunner().invoke(app, ["--runs", str(tmp_path), "--json"]).stdout)
    assert [r["name"] for r in listed["runs"]] == ["good"] and [r["name"] for r in listed["damaged"]] == ["bad"]


def test_what_a_record_says_moves_no_cursor(tmp_path: Path) -> None:
    write_json(tmp_path / "one" / "run.json", run_status(started="2026\x1b[2J\r\n").to_json())
    done = CliRunner().invoke(app, ["--runs", str(tmp_path)], env={"COLUMNS": "200"})
    assert len(done.output.splitlines()) == 2 and "2026\ufffd[2J\ufffd\ufffd" in done.output


def test_a_thousand_runs_are_read_in_a_second(tmp_path: Path) -> None:
    record = run_status(status="finished", best=best_score(), data=data_record()).to_json()
    text = json.dumps(record)
    for number in range(1000):
        (tmp_path / f"{number:04}").mkdir()
        (tmp_path / f"{number:04}" / "run.json").write_text(text)
    read_runs(tmp_path)
    began = time.process_time()
    statuses, damaged = read_runs(tmp_path)
    assert len(statuses) == 1000 and not damaged and time.process_time() - began < 1.0
