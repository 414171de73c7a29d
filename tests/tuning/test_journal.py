"""The journal: the same trials whatever happens to the processes that work on them. Nothing trains here."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_searches import formula, outcome, scored, search

from ssl_mask.config import RunConfig
from ssl_mask.errors import ConfigError, DataError, InputError, ModelError, StorageError, TrainingError
from ssl_mask.runs.trials import TrialRecord
from ssl_mask.tuning import engines
from ssl_mask.tuning.engines import run_here
from ssl_mask.tuning.journal import Journal, why_prune
from ssl_mask.tuning.trial import Objective, Outcome, Report, run_trial

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "WAIT_SECONDS", 0.02)


def work_on(journal: Journal, objective: Objective = scored) -> list[TrialRecord]:
    run_here(journal.next_trial, lambda n: run_trial(journal, n, objective), lambda: None)
    return journal.ended()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[TrialRecord]:
    """Of 16 trials: the default, ten at random, then five that TPE asks."""
    return work_on(search(tmp_path_factory.mktemp("search") / "tune-001", 16))


def test_the_first_trial_is_the_default_and_the_last_ones_learn(undisturbed: list[TrialRecord]) -> None:
    assert [r.number for r in undisturbed] == list(range(16))
    assert undisturbed[0].params == {} and undisturbed[0].macro_f1 is not None
    assert undisturbed[0].macro_f1.value == pytest.approx(formula({}))
    finished = {r.number: r.macro_f1.value for r in undisturbed if r.macro_f1 is not None}
    early = [v for n, v in finished.items() if n <= 10]
    assert max(v for n, v in finished.items() if n > 10) > np.median(early)
    for r in undisturbed[1:]:
        assert r.params.keys() == {"optim.lr", "train.batch_size", "model.pooling", "model.freeze_norm"}
        assert 1e-4 <= r.params["optim.lr"] <= 1e-1 and r.params["train.batch_size"] % 8 == 0
        assert isinstance(r.params["model.freeze_norm"], bool)


def test_a_trial_below_the_median_of_the_finished_ones_is_pruned(undisturbed: list[TrialRecord]) -> None:
    """By a slow look at all records, in their order."""
    for r in undisturbed[1:]:
        before = [e for e in undisturbed[: r.number] if e.state == "finished"]
        curve = [formula(r.params) + d for d in (0.01, -0.01, 0)]
        cut = [n for n in (1, 2, 3) if len(before) >= 5 and curve[n - 1] < np.median([e.curve[n - 1] for e in before])]
        assert (r.state, len(r.curve)) == (("pruned", cut[0]) if cut else ("finished", 3))
    assert {r.state for r in undisturbed} == {"finished", "pruned"}


def test_lower_is_better_for_the_log_loss_and_few_trials_prune_nothing() -> None:
    others = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert why_prune(0.29, others, "macro_f1", 1).startswith("after 1 fold: 0.2900, the median")
    assert why_prune(0.3, others, "macro_f1", 1) == why_prune(0.3, others, "nll", 1) == ""
    assert why_prune(0.31, others, "nll", 2).startswith("after 2 folds")
    assert why_prune(0.0, others[:4], "macro_f1", 1) == ""


def kill_me(number: int, params: Mapping[str, Any], report: Report) -> Outcome:
    """An objective that is killed in its second fold, where the trial's number is a multiple of 3."""
    if number % 3 == 0:
        report(1, formula(params) + 0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return scored(number, params, report)


def in_a_process(journal: Journal, objective: Objective) -> Any:
    process = FORK.Process(target=work_on, args=(journal, objective))
    process.start()
    return process


def same(first: list[TrialRecord], second: list[TrialRecord]) -> bool:
    return [r.to_json() for r in first] == [r.to_json() for r in second]


def test_a_search_that_was_killed_asks_the_same_trials(tmp_path: Path, undisturbed: list[TrialRecord]) -> None:
    folder, kills = tmp_path / "tune-001", 0
    while (process := in_a_process(search(folder, 16), kill_me)).join() or process.exitcode:
        assert process.exitcode == -signal.SIGKILL
        left, kills = search(folder, 16), kills + 1
        number = left.next_trial()
        assert isinstance(number, int) and number % 3 == 0 and not left.has_ended(number)
        before = left.params(number)
        assert run_trial(left, number, scored)  # goes on with its parameters
        assert left.ended()[number].params == before
    assert kills >= 3
    assert same(search(folder, 16).ended(), undisturbed)


def test_a_line_that_a_kill_has_torn_is_dropped(tmp_path: Path, undisturbed: list[TrialRecord]) -> None:
    folder = tmp_path / "tune-001"
    journal = search(folder, 16)
    for _ in range(3):
        number = journal.next_trial()
        assert isinstance(number, int) and run_trial(journal, number, scored)
    with journal.study.journal.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"x","study_')
    assert same(work_on(search(folder, 16)), undisturbed)
    assert all(json.loads(line) for line in journal.study.journal.read_text().splitlines())


def test_several_processes_share_the_trials_and_each_is_done_once(tmp_path: Path) -> None:
    folder, log = tmp_path / "tune-001", tmp_path / "log"

    def noted(number: int, params: Mapping[str, Any], report: Report) -> Outcome:
        with log.open("a") as lines:
            lines.write(f"{number}\n")
        return scored(number, params, report)

    search(folder, 12).trials()
    processes = [in_a_process(search(folder, 12), noted) for _ in range(3)]
    for process in processes:
        process.join()
    assert [p.exitcode for p in processes] == [0, 0, 0]
    assert sorted(map(int, log.read_text().split())) == list(range(12))
    assert [r.number for r in search(folder, 12).ended()] == list(range(12))


def test_a_trial_of_another_process_is_left_to_it(tmp_path: Path) -> None:
    journal = search(tmp_path / "tune-001", 1)
    assert journal.next_trial() == 0
    with journal.study.holding(journal.study.trial(0)) as free:
        assert free
        other = search(tmp_path / "tune-001", 1)
        assert other.next_trial() == "wait" and not run_trial(other, 0, scored)
    assert other.next_trial(mine={0}) == "wait"
    assert other.next_trial() == 0 and run_trial(other, 0, scored)
    assert other.next_trial() == "done"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TrainingError("The loss is not finite at step 3.", hint="x"), "The loss is not finite at step 3."),
        (ModelError("No backbone 'x'."), "No backbone 'x'."),
        (ConfigError("The configuration has a problem:\n  a: b"), "The configuration has a problem: a: b"),
        (MemoryError(), "out of memory"),
        (RuntimeError("CUDA out of memory. Tried\nmore"), "out of memory: CUDA out of memory. Tried"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "out of memory: DefaultCPUAllocator"),
    ],
)
def test_a_trial_that_fails_is_listed_and_the_search_goes_on(tmp_path: Path, error: Exception, reason: str) -> None:
    def fails(number: int, params: Mapping[str, Any], report: Report) -> Outcome:
        if number == 1:
            raise error
        return scored(number, params, report)

    records = work_on(search(tmp_path / "tune-001", 3), fails)
    assert [r.state for r in records] == ["finished", "failed", "finished"]
    assert records[1].reason.startswith(reason)


@pytest.mark.parametrize("error", [DataError("changed"), StorageError("full"), RuntimeError("a mistake of ours")])
def test_what_would_stop_every_trial_stops_the_search(tmp_path: Path, error: Exception) -> None:
    def stops(*_: Any) -> Outcome:
        raise error

    journal = search(tmp_path / "tune-001", 3)
    with pytest.raises(type(error)):
        work_on(journal, stops)
    assert len(work_on(search(tmp_path / "tune-001", 3))) == 3


def test_a_default_outside_of_the_space_is_tried_too(tmp_path: Path) -> None:
    base = RunConfig.model_validate({"optim": {"lr": 0.5}})
    journal = search(tmp_path / "tune-001", 13, base)
    assert journal.start == {}
    records = work_on(journal)
    assert records[0].state == "finished" and records[12].params["optim.lr"] <= 0.1


def test_another_seed_asks_other_trials(tmp_path: Path, undisturbed: list[TrialRecord]) -> None:
    records = work_on(search(tmp_path / "tune-001", 3, RunConfig(seed=1)))
    assert records[1].params != undisturbed[1].params


def test_importance_finds_what_matters(tmp_path: Path) -> None:
    def by_rate_alone(number: int, params: Mapping[str, Any], report: Report) -> Outcome:  # noqa: ARG001
        return outcome(0.5 + np.log10(params.get("optim.lr", 1e-3)) / 10)

    journal = search(tmp_path / "tune-001", 20)
    assert journal.importance() == {}
    work_on(journal, by_rate_alone)
    shares = journal.importance()
    assert sum(shares.values()) == pytest.approx(1) and next(iter(shares)) == "optim.lr" and shares["optim.lr"] > 0.8


def test_a_damaged_journal_is_one_error(tmp_path: Path) -> None:
    journal = search(tmp_path / "tune-001", 1)
    journal.study.journal.write_text("{}\nno journal\nat all\n")
    with pytest.raises(DataError, match=r"journal\.log is damaged"):
        journal.trials()


def test_without_optuna_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(InputError, match="A search needs Optuna") as refused:
        search(tmp_path / "tune-001", 1).trials()
    assert refused.value.hint == 'Install it: pip install "sslmask[tune]"'
