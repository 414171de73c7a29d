"""What `--run` may name: runs, studies of folds and of seeds, `latest`. Runs are made by hand, nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_records import best_score, run_status

from ssl_mask.config import RunConfig
from ssl_mask.errors import DataError
from ssl_mask.files import write_json
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source, find_source, list_sources, run_source
from ssl_mask.runs.study import Kind, Study, create_study


def made(path: Path, updated: float, *, evaluated: bool = True) -> RunDir:
    run = RunDir(path)
    write_json(run.status_file, run_status(status="finished", updated=updated, best=best_score()).to_json())
    if evaluated:
        run.best.parent.mkdir()
        run.best.touch()
    return run


def study_of(path: Path, kind: Kind, settings: dict[str, Any], members: list[str], updated: float) -> Study:
    study = create_study(path, "uda" if kind == "seeds" else "train", kind, RunConfig(), settings)
    for number, name in enumerate(members):
        made(path / name, updated + number)
    return study


def folds(path: Path, updated: float = 1.0, *, finished: bool = True) -> Study:
    names = ["fold-0", "fold-1", "repeat-1-fold-0", "repeat-1-fold-1"]
    study = study_of(path, "folds", {"folds": 2, "repeats": 2, "refit": True}, [*names, "refit"], updated)
    if finished:
        (path / "oof.json").touch()
    return study


def seeds(path: Path, updated: float = 1.0, *, finished: bool = True) -> Study:
    names = ["seed-3-labels-only", "seed-3", "seed-5-labels-only", "seed-5"]
    study = study_of(path, "seeds", {"seeds": [3, 5], "baseline": True}, names, updated)
    if finished:
        study.comparison.touch()
    return study


def names(source: Source) -> list[str]:
    return [member.path.name for member in source.members]


def test_a_run_is_one_member_and_its_validation(tmp_path: Path) -> None:
    run = made(tmp_path / "one", 1.0)
    source = find_source("one", tmp_path)
    assert source == find_source(run.path, Path("nowhere")) == run_source(run)
    assert (source.kind, source.name, source.members, source.tables) == ("run", "one", (run,), (run.validation,))
    assert source.predictions("test") == run.path / "predictions" / "test"


def test_a_study_of_folds_is_all_its_folds_without_the_refit(tmp_path: Path) -> None:
    folds(tmp_path / "s")
    source = find_source("s", tmp_path)
    assert (source.kind, source.path) == ("folds", tmp_path / "s")
    assert names(source) == ["fold-0", "fold-1", "repeat-1-fold-0", "repeat-1-fold-1"]
    assert source.tables == (tmp_path / "s" / "oof.parquet",)
    assert [part.kind for part in source.parts] == ["run"] * 4
    assert find_source("s/refit", tmp_path).kind == "run"


def test_a_study_of_seeds_is_its_runs_without_the_baselines(tmp_path: Path) -> None:
    seeds(tmp_path / "s")
    source = find_source("s", tmp_path)
    assert source.kind == "seeds" and names(source) == ["seed-3", "seed-5"]
    assert source.tables == tuple(tmp_path / "s" / name / "validation.parquet" for name in ("seed-3", "seed-5"))


@pytest.mark.parametrize(("make", "verb"), [(folds, "train"), (seeds, "uda")])
def test_an_unfinished_study_says_how_to_finish_it(tmp_path: Path, make: Any, verb: str) -> None:
    make(tmp_path / "s", finished=False)
    with pytest.raises(DataError, match="s is not finished: not all of its runs are trained") as refused:
        find_source("s", tmp_path)
    assert refused.value.hint == f"Finish it: sslmask {verb} --resume {tmp_path / 's'}"


def test_a_search_does_not_predict_but_its_trials_do(tmp_path: Path) -> None:
    study_of(tmp_path / "t", "trials", {}, [], 1.0)
    folds(tmp_path / "t" / "trials" / "000")
    with pytest.raises(DataError, match="t is a search: its trials do not predict together") as refused:
        find_source("t", tmp_path)
    assert f"--run {tmp_path}/t/trials/000" in refused.value.hint
    assert find_source("t/trials/000", tmp_path).kind == "folds"


def test_a_run_of_rounds_is_a_run(tmp_path: Path) -> None:
    run = made(tmp_path / "p", 1.0)
    create_study(run.rounds, "pseudo", "rounds", RunConfig(), {"rounds": 1})
    made(run.rounds / "00", 2.0)
    assert find_source("p", tmp_path) == run_source(run)
    assert find_source("p/rounds/00", tmp_path).path == run.rounds / "00"


def test_latest_is_the_run_or_finished_study_that_was_changed_last(tmp_path: Path) -> None:
    made(tmp_path / "old", 10.0)
    folds(tmp_path / "f", 20.0)
    assert find_source("latest", tmp_path).path == tmp_path / "f"
    seeds(tmp_path / "begun", 30.0, finished=False)  # nor do its runs count
    assert find_source("latest", tmp_path).path == tmp_path / "f"
    made(tmp_path / "blank", 50.0, evaluated=False)
    assert find_source("latest", tmp_path).path == tmp_path / "f"
    seeds(tmp_path / "s", 24.0)  # as late as the study of folds has its refit, and later
    assert find_source("latest", tmp_path).path == tmp_path / "s"
    made(tmp_path / "group" / "new", 40.0)  # in a folder that is no study
    assert find_source("latest", tmp_path).path == tmp_path / "group" / "new"
    assert [s.name for s in list_sources(tmp_path)] == ["new", "old", "f", "s"]


def test_nothing_there_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No run with a checkpoint"):
        find_source("latest", tmp_path)
    folds(tmp_path / "study-001")
    with pytest.raises(DataError, match="No run 'stduy-001'") as refused:
        find_source("stduy-001", tmp_path)
    assert "'study-001'" in refused.value.hint
