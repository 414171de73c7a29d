"""A study of several runs: what is on the disk decides what is done next. No training here: a run is made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_studies import NAMES, make_run, make_study

from ssl_mask.config import RunConfig
from ssl_mask.errors import DataError, InputError
from ssl_mask.runs.create import begin_run
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import Study, create_study, find_study, resumed_study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make_study(tmp_path)


def members(study: Study) -> list[RunConfig]:
    return [study.member(RunConfig(), name, seed=i) for i, name in enumerate(NAMES)]


def test_a_member_has_the_configuration_of_the_study_and_its_own_changes(study: Study) -> None:
    made = study.member(RunConfig(seed=7), "seed-3", seed=3, init_from="x")
    assert (made.name, made.runs, made.seed, made.init_from) == ("seed-3", study.path, 3, "x")
    assert made == RunConfig(name="seed-3", runs=study.path, seed=3, init_from="x")


def test_a_run_whose_card_is_missing_is_not_finished(study: Study) -> None:
    """Killed between its last step and its report."""
    make_run(study.run("a"), status="finished", saved=True)
    assert study.state("a") == "begun"


def test_a_study_is_found_by_name_by_path_and_inside_its_run(study: Study, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert find_study("s", runs) == find_study(study.path, Path("nowhere")) == study
    assert find_study("nothing", runs) is None
    inside = RunDir(runs / "p")
    rounds = create_study(inside.rounds, "pseudo", "rounds", RunConfig(), {})
    assert find_study("p", runs) is None  # killed before it was a run: it cannot be resumed
    begin_run(inside, RunConfig(), "pseudo")
    assert find_study("p", runs) == rounds
    assert (rounds.home, study.home) == (inside.path, study.path)
    make_run(runs_alone := RunDir(runs / "alone"))
    assert find_study(runs_alone.name, runs) is None


def test_only_the_verb_that_made_a_study_resumes_it(study: Study, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert resumed_study("s", runs, "uda") == study
    with pytest.raises(InputError, match="s is a study that sslmask uda made") as refused:
        resumed_study("s", runs, "pseudo")
    assert refused.value.hint == "Continue with: sslmask uda --resume s"
    with pytest.raises(InputError, match="nothing is not a study"):
        resumed_study("nothing", runs, "uda")


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"verb": "uda", "settings": {}})])
def test_a_damaged_record_is_one_error(study: Study, text: str) -> None:
    study.record_file.write_text(text)
    with pytest.raises(DataError, match=r"study\.json is damaged"):
        study.record()


def test_one_process_works_on_a_study(study: Study) -> None:
    with study.locked(), pytest.raises(DataError, match="Another process"), study.locked():
        pass
    with study.locked():
        pass
