"""Training the runs of a study: what is on the disk decides what is done next. Runs are made by hand here."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from made_studies import NAMES, make_run, make_study

from ssl_mask import devices
from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.errors import DataError, Interrupted
from ssl_mask.runs.study import Study
from ssl_mask.studies.members import Train, Trainer, at_work, train_member


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make_study(tmp_path)


def trained(study: Study, train: Train | None = None) -> list[tuple[Any, ...]]:
    """Train its members; returns what was trained, and what was resumed."""
    calls: list[tuple[Any, ...]] = []
    accelerator, console = devices.make_accelerator("fp32"), Console(quiet=True)

    def finish(config: RunConfig, *, resume: Path | None, quiet: bool) -> None:
        run = study.run(str(config.name))
        assert quiet
        calls.append((config.name, config.seed, resume and resume.name, sorted(p.name for p in run.path.glob("*"))))
        if resume is None:
            make_run(run, status="finished", saved=True, card=True)
        else:
            run.update(status="finished")
            run.card.write_text("card")

    trainer = Trainer(train or finish, accelerator, console, quiet=True)
    with at_work(study, accelerator):
        done = [train_member(study, study.member(RunConfig(), name, seed=i), trainer) for i, name in enumerate(NAMES)]
    assert sum(done) == len(calls)
    return calls


def test_what_is_finished_is_left_alone_and_what_is_begun_is_resumed(study: Study) -> None:
    make_run(study.run("a"), status="finished", saved=True, card=True)
    make_run(study.run("b"), status="interrupted", saved=True)
    assert [study.state(n) for n in NAMES] == ["finished", "begun", "new"]
    left = ["checkpoints", "config.yaml", "run.json"]
    assert trained(study) == [("b", 1, "b", left), ("c", 2, None, [])]
    assert [study.state(n) for n in NAMES] == ["finished"] * 3
    assert trained(study) == []


def test_what_was_killed_before_its_first_save_is_made_anew_but_for_its_selection(study: Study) -> None:
    make_run(study.run("a"))
    make_run(study.run("b"))
    (study.run("b").path / ".half.tmp").write_text("half")
    for path in (study.run("b").pseudo_labels, study.run("b").pool, study.run("b").selection):
        path.write_text("selected")
    assert [study.state(n) for n in ("a", "b")] == ["new", "new"]
    kept = ["pool.parquet", "pseudo_labels.csv", "selection.json"]
    assert [call[3] for call in trained(study)] == [[], kept, []]


@pytest.mark.parametrize(
    ("raised", "code"),
    [(KeyboardInterrupt(), 130), (Interrupted("Stopped at step 3.", signal_number=signal.SIGTERM, hint="old"), 143)],
)
def test_an_interruption_says_how_to_go_on(study: Study, raised: BaseException, code: int) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise raised

    with pytest.raises(Interrupted) as stopped:
        trained(study, stop)
    assert stopped.value.exit_code == code
    assert stopped.value.hint == f"Continue with: sslmask uda --resume {study.path}"


def test_a_study_is_held_while_its_runs_are_trained(study: Study) -> None:
    held = pytest.raises(DataError, match="Another process is working on")
    with at_work(study, devices.make_accelerator("fp32")), held, study.locked():
        pass
    with study.locked():
        pass
