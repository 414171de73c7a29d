"""`sslmask runs`: a table that fits the terminal without cutting a word."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from made_records import best_score, data_record, run_status
from typer.testing import CliRunner

from ssl_mask.cli.runs import app
from ssl_mask.cli.runs_table import ALWAYS, COLUMNS, table
from ssl_mask.config import RunConfig
from ssl_mask.data.manifest import Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.files import write_json
from ssl_mask.runs.folds import FoldsRecord
from ssl_mask.runs.gallery import GalleryDir, GalleryPart, GalleryRecord
from ssl_mask.runs.listing import list_entries
from ssl_mask.runs.seal import sealed
from ssl_mask.runs.study import Kind, create_study

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


def test_listing_costs_little_beside_reading_the_records(tmp_path: Path) -> None:
    record = run_status(status="finished", best=best_score(), data=data_record()).to_json()
    text = json.dumps(record)
    for number in range(300):
        (tmp_path / f"{number:04}").mkdir()
        (tmp_path / f"{number:04}" / "run.json").write_text(text)

    def floor() -> list[Any]:
        return [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*/run.json"))]

    entries = [*list_entries(tmp_path)]
    assert len(entries) == 300 and all(entry.run for entry in entries)
    assert cpu_seconds(lambda: [*list_entries(tmp_path)]) < 20 * cpu_seconds(floor)  # 7 when this was written


def cpu_seconds(work: Callable[[], object]) -> float:
    """The least of three: what else the machine does only adds."""

    def once() -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    return min(once() for _ in range(3))


# ---- studies ----


def run_at(path: Path, **fields: Any) -> None:
    fields = {"status": "finished", "best": best_score(), "leakage": "photos-clean"} | fields
    write_json(path / "run.json", run_status(**fields).to_json())


def study_at(path: Path, kind: Kind, settings: dict[str, Any]) -> Path:
    return create_study(path, "train", kind, RunConfig(), settings).path


def folds_at(path: Path, *, finished: bool = True, repeats: int = 1, refit: bool = False) -> Path:
    study_at(path, "folds", {"folds": 2, "repeats": repeats, "refit": refit})
    if finished:
        interval = {"value": 0.4712, "low": 0.4, "high": 0.5}
        record = FoldsRecord.model_validate({
            "members": ["fold-0", "fold-1"], "step": 4, "weights": "ema", "curves": [], "own_best": {},
            "temperatures": {}, "images": 4, "groups": 2, "grouped": True, "macro_f1": interval,
            "accuracy": {**interval, "value": 0.6}, "factors": {}, "macro_f1_own_best": 0.5, "nll": 1, "ece": 0.1,
            "ece_raw": 0.2, "cpu_seconds": 1, "leakage": "transductive-val", "leakage_reason": "", "oof_sha256": "",
        })  # fmt: skip
        write_json(path / "oof.json", record.to_json())
    return path


def listed(folder: Path, *words: str) -> list[list[str]]:
    """Name (with its indent), macro-F1, leakage and status of each line."""
    done = CliRunner().invoke(app, ["--runs", str(folder), *words], env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    header, *lines = done.output.splitlines()
    starts = [header.index(name) for name in COLUMNS[:5]]
    return [[line[a:b].rstrip() for a, b in pairwise(starts)] for line in lines]


def test_a_study_is_one_line_and_all_adds_what_it_is_made_of(tmp_path: Path) -> None:
    folds = folds_at(tmp_path / "s", refit=True)
    for name in ("fold-0", "fold-1", "refit"):
        run_at(folds / name)
    run_at(tmp_path / "alone")
    study, alone = ["s", "0.4712 OOF", "transductive-val", "finished 3/3"], ["alone", "0.5000"]
    assert [row[:2] for row in listed(tmp_path)] == [alone, study[:2]]
    assert listed(tmp_path)[1] == study
    names = [row[0] for row in listed(tmp_path, "--all")]
    assert names == ["alone", "s", "  fold-0", "  fold-1", "  refit"]


def test_an_unfinished_study_says_how_far_it_is(tmp_path: Path) -> None:
    study_at(tmp_path / "blank", "folds", {"folds": 5})
    folds = folds_at(tmp_path / "s", finished=False, repeats=2)
    run_at(folds / "fold-0")
    run_at(folds / "fold-1", status="interrupted", leakage="transductive-val")
    assert listed(tmp_path) == [
        ["blank", "", "not-checked", "not begun 0/5"], ["s", "", "transductive-val", "interrupted 1/4"]
    ]  # fmt: skip


def test_seeds_have_their_mean_without_baselines(tmp_path: Path) -> None:
    study = study_at(tmp_path / "s", "seeds", {"seeds": [0, 7], "baseline": True})
    for name, score in (("seed-0", 0.2), ("seed-7", 0.4), ("seed-0-labels-only", 0.9), ("seed-7-labels-only", 0.9)):
        run_at(study / name, best=best_score(macro_f1=score))
    assert listed(tmp_path) == [["s", "0.3000 mean", "photos-clean", "finished 4/4"]]


def test_studies_in_studies_are_counted_and_listed(tmp_path: Path) -> None:
    """Two factors, one of them trained; trials of which one has ended; the rounds of a run."""
    factors = study_at(tmp_path / "f", "factors", {"parts": {"kind": "kind", "cover": "cover"}, "labels_sha256": ""})
    for name, finished in (("kind", True), ("cover", False)):
        part = folds_at(factors / name, finished=finished)
        for fold in (0, 1):
            run_at(part / f"fold-{fold}", status="finished" if finished or not fold else "running")
    search = {"space": {}, "space_file": "", "trials": 3, "folds": 2}
    trials = study_at(tmp_path / "t", "trials", search)
    interval = {"value": 0.3, "low": 0.2, "high": 0.4}
    for number, state in ((0, {"state": "finished", "macro_f1": interval, "nll": 1}), (1, {"state": "pruned"})):
        folds_at(trials / "trials" / f"{number:03d}", finished=not number)
        write_json(trials / "trials" / f"{number:03d}" / "trial.json", {"number": number, "params": {}, **state})
    run_at(tmp_path / "p")
    study_at(tmp_path / "p" / "rounds", "rounds", {"rounds": 1})
    run_at(tmp_path / "p" / "rounds" / "00")
    assert listed(tmp_path) == [
        ["f", "", "photos-clean", "running 1/2"],
        ["p", "0.5000", "photos-clean", "finished"],
        ["t", "0.3000 best", "transductive-val", "running 2/3"],
    ]
    folds = ["    fold-0", "    fold-1"]
    names = [row[0] for row in listed(tmp_path, "--all")]
    assert names == ["f", "  cover", *folds, "  kind", *folds, "p", "  00", "t", "  000", "  001"]


def test_json_has_every_run_and_every_study(tmp_path: Path) -> None:
    folds = folds_at(tmp_path / "s")
    for name in ("fold-0", "fold-1"):
        run_at(folds / name)
    (folds / "fold-1" / "run.json").write_text("{")
    found = json.loads(CliRunner().invoke(app, ["--runs", str(tmp_path), "--json"]).stdout)
    assert [r["name"] for r in found["runs"]] == ["s/fold-0"]
    assert found["studies"] == [] and {d["name"] for d in found["damaged"]} == {"s", "s/fold-1"}
    run_at(folds / "fold-1")
    found = json.loads(CliRunner().invoke(app, ["--runs", str(tmp_path), "--json"]).stdout)
    (study,) = found["studies"]
    assert study["path"] == str(folds) and (study["kind"], study["macro_f1"], study["done"]) == ("folds", 0.4712, 2)
    assert [r["name"] for r in found["runs"]] == ["s/fold-0", "s/fold-1"]


# ---- galleries ----


def gallery_at(path: Path, source: Path, *added: str) -> GalleryDir:
    """A gallery of two classes and those that were added, of which only gallery.json is there."""
    parts = [
        GalleryPart(number=i, name=name, classes=(name,) if name else (), images=5, data="", code="1", checked=True,
                    leakage="clean", leakage_reason="", marks={})
        for i, name in enumerate(("", *added))
    ]  # fmt: skip
    record = GalleryRecord.model_validate({
        "source": str(source), "members": [{"run": str(source), "checkpoint_sha256": "0" * 64, "width": 4}],
        "base": LabelSchema((Factor("kind", ("a", "b")),)), "base_submission": Submission("id", ("kind",), "names"),
        "k": 3, "temperature": 0.1, "parts": parts, "images": 5 * len(parts), "rows_sha256": "0" * 64,
        "seen_file": None, "validation_sha256": None, "leakage": "photos-clean",
    })  # fmt: skip
    write_json(path / "gallery.json", sealed(record.to_json()))
    return GalleryDir(path)


def test_galleries_have_a_table_of_their_own(tmp_path: Path) -> None:
    folds = folds_at(tmp_path / "s")
    for name in ("fold-0", "fold-1"):
        run_at(folds / name)
    gallery_at(tmp_path / "near", folds, "c", "d")
    gallery_at(tmp_path / "one", folds / "fold-0")
    gallery_at(tmp_path / "other", Path("/elsewhere/s"))
    done = CliRunner().invoke(app, ["--runs", str(tmp_path)], env={"COLUMNS": "80"})
    assert done.exit_code == 0 and max(map(len, done.output.splitlines())) <= 80
    runs, galleries = done.output.rstrip("\n").split("\n\n")
    assert runs.splitlines()[1].startswith("s  ")
    assert [line.split() for line in galleries.splitlines()] == [
        ["gallery", "images", "classes", "leakage", "embedded", "by"],
        ["near", "15", "4", "photos-clean", "s"],
        ["one", "5", "2", "photos-clean", "s/fold-0"],
        ["other", "5", "2", "photos-clean", "/elsewhere/s"],
    ]
    found = json.loads(CliRunner().invoke(app, ["--runs", str(tmp_path), "--json"]).stdout)
    assert [r["name"] for r in found["runs"]] == ["s/fold-0", "s/fold-1"] and len(found["studies"]) == 1
    assert found["galleries"][0] == {
        "name": "near", "path": str(tmp_path / "near"), "kind": "gallery", "source": str(folds), "images": 15,
        "classes": 4, "leakage": "photos-clean",
    }  # fmt: skip


def test_a_damaged_gallery_is_one_line_and_a_gallery_may_be_alone(tmp_path: Path) -> None:
    good = gallery_at(tmp_path / "good", tmp_path / "gone")
    changed = gallery_at(tmp_path / "changed", tmp_path / "gone").best
    changed.write_text(changed.read_text().replace('"k": 3', '"k": 4'))
    done = CliRunner().invoke(app, ["--runs", str(tmp_path)], env={"COLUMNS": "80"})
    header, row, *damaged = done.output.splitlines()
    assert header.split()[0] == "gallery" and row.split() == ["good", "5", "2", "photos-clean", "gone"]
    assert damaged == [f"damaged: {changed} has changed since it was written."]
    found = json.loads(CliRunner().invoke(app, ["--runs", str(tmp_path), "--json"]).stdout)
    assert [g["path"] for g in found["galleries"]] == [str(good.path)]
    assert [d["name"] for d in found["damaged"]] == ["changed"]
