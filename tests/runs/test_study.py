"""A study of several runs: what is on the disk decides what is done next. No training here: a run is made by hand."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ssl_mask.config import RunConfig
from ssl_mask.errors import DataError, InputError, Interrupted
from ssl_mask.runs.create import begin_run
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import State, Study, create_study, find_study, resumed_study, train_members

NAMES = ("a", "b", "c")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return create_study(tmp_path / "runs/s", "uda", "seeds", RunConfig(runs=tmp_path / "runs"), {"seeds": [0]})


def members(study: Study) -> list[RunConfig]:
    return [study.member(RunConfig(), name, seed=i) for i, name in enumerate(NAMES)]


def make(run: RunDir, *, status: str = "running", saved: bool = False, card: bool = False) -> None:
    begin_run(run, RunConfig(), "train")
    run.update(status=status)
    run.last.parent.mkdir()
    if saved:
        run.last.write_text("state")
    if card:
        run.card.write_text("card")


def here(decide: Callable[[], State]) -> State:
    """One process."""
    return decide()


def trained(study: Study, train: Callable[[RunConfig, Path | None], object] | None = None) -> list[tuple[Any, ...]]:
    """Train its members; returns what was trained, and what was resumed."""
    calls: list[tuple[Any, ...]] = []

    def finish(config: RunConfig, begun: Path | None) -> None:
        run = study.run(str(config.name))
        calls.append((config.name, config.seed, begun and begun.name, sorted(p.name for p in run.path.glob("*"))))
        if begun is None:
            make(run, status="finished", saved=True, card=True)
        else:
            run.update(status="finished")
            run.card.write_text("card")

    train_members(study, members(study), train or finish, here)
    return calls


def test_a_member_has_the_configuration_of_the_study_and_its_own_changes(study: Study) -> None:
    made = study.member(RunConfig(seed=7), "seed-3", seed=3, init_from="x")
    assert (made.name, made.runs, made.seed, made.init_from) == ("seed-3", study.path, 3, "x")
    assert made == RunConfig(name="seed-3", runs=study.path, seed=3, init_from="x")


def test_what_is_finished_is_left_alone_and_what_is_begun_is_resumed(study: Study) -> None:
    make(study.run("a"), status="finished", saved=True, card=True)
    make(study.run("b"), status="interrupted", saved=True)
    assert [study.state(n) for n in NAMES] == ["finished", "begun", "new"]
    left = ["checkpoints", "config.yaml", "run.json"]
    assert trained(study) == [("b", 1, "b", left), ("c", 2, None, [])]
    assert [study.state(n) for n in NAMES] == ["finished"] * 3
    assert trained(study) == []


def test_a_run_whose_card_is_missing_is_not_finished(study: Study) -> None:
    """Killed between its last step and its report."""
    make(study.run("a"), status="finished", saved=True)
    assert study.state("a") == "begun"


def test_what_was_killed_before_its_first_save_is_made_anew_but_for_its_selection(study: Study) -> None:
    make(study.run("a"))
    make(study.run("b"))
    (study.run("b").path / ".half.tmp").write_text("half")
    for path in (study.run("b").pseudo_labels, study.run("b").pool, study.run("b").selection):
        path.write_text("selected")
    assert [study.state(n) for n in ("a", "b")] == ["new", "new"]
    kept = ["pool.parquet", "pseudo_labels.csv", "selection.json"]
    assert [call[3] for call in trained(study)] == [[], kept, []]


def test_members_may_be_made_one_after_another(study: Study) -> None:
    """As rounds are: each is made when the one before is finished, and the last may never be made."""
    events: list[str] = []

    def one_by_one() -> Iterator[RunConfig]:
        for config in members(study)[:2]:
            events.append(f"make {config.name}")
            yield config
            events.append(f"after {config.name}")

    train_members(study, one_by_one(), lambda config, _: events.append(f"train {config.name}"), here)
    assert events == ["make a", "train a", "after a", "make b", "train b", "after b"]


@pytest.mark.parametrize(
    ("raised", "code"),
    [(KeyboardInterrupt(), 130), (Interrupted("Stopped at step 3.", signal_number=signal.SIGTERM, hint="old"), 143)],
)
def test_an_interruption_says_how_to_go_on(study: Study, raised: BaseException, code: int) -> None:
    def stop(*_: Any) -> None:
        raise raised

    with pytest.raises(Interrupted) as stopped:
        trained(study, stop)
    assert stopped.value.exit_code == code
    assert stopped.value.hint == f"Continue with: sslmask uda --resume {study.path}"


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
    make(runs_alone := RunDir(runs / "alone"))
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
