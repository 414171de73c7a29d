"""`sslmask tune` as a whole, with a formula in place of trainings; the slow tests train."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_searches import SPACE, made_trial
from tiny_runs import TINY

from ssl_mask.config import RunConfig, resolve
from ssl_mask.errors import ConfigError, TrainingError
from ssl_mask.evaluation.folds import Point
from ssl_mask.runs.folds import FoldsSettings, FoldStudy
from ssl_mask.runs.study import Study
from ssl_mask.runs.trials import TrialStudy, TuneSettings
from ssl_mask.tuning.space import changed
from ssl_mask.workflows import tune_folds
from ssl_mask.workflows.tune import tune

Calls = list[str]


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(SPACE))
    return path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Folders in which a study of folds would have been trained."""
    seen: Calls = []

    def noted(folds: Any, *given: Any) -> Any:
        seen.append("/".join(folds.path.parts[-3:] if "confirm" in folds.path.parts else folds.path.parts[-2:]))
        return made_trial(folds, *given)

    monkeypatch.setattr(tune_folds, "train_trial", noted)
    return seen


def text_of(folder: Path) -> dict[str, str]:
    """What a search leaves, without its name and without the line breaks that depend on its length."""
    names = ("verdict.json", "best.yaml", "trials.csv", "tune_card.md")
    return {
        n: " ".join((folder / n).read_text().replace(folder.name, "NAME").replace("\n#", "").split()) for n in names
    }


def test_a_search_ends_with_a_verdict_on_other_splits(
    tiny: Callable[..., RunConfig], space: Path, calls: Calls
) -> None:
    config = tiny(data={"split_seed": 3})
    search = tune(config, space=space, trials=9, repeats=2, quiet=True)
    winner = search.verdict.winner
    names = [f"split-{seed}/{who}" for seed in (5, 6) for who in ("default", f"trial-{winner:03d}")]
    assert calls == [f"trials/{n:03d}" for n in range(9)] + [f"confirm/{n}" for n in names]
    assert winner > 0 and search.verdict.recommended and [s.split_seed for s in search.verdict.splits] == [5, 6]
    assert search.path.name == "tune-001" and {p.name for p in (search.path / "plots").iterdir()} == {
        "history.svg", "importance.svg", "parallel.svg",
    }  # fmt: skip
    best = resolve([yaml.safe_load(search.best.read_text())], has_gpu=lambda: False)
    assert {k: v for k, v in changed(config, search.verdict.params).model_dump().items() if k != "runs"} == {
        k: v for k, v in best.model_dump().items() if k != "runs"
    }


def test_the_same_command_goes_on_and_a_finished_search_is_left_alone(
    tiny: Callable[..., RunConfig], space: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tune(tiny(name="whole"), space=space, trials=8, confirm=1, quiet=True)
    expected, count = text_of(whole.path), len(calls)

    def killed(folds: Any, *given: Any) -> Any:
        if len(calls) in {count + 3, count + 9}:
            calls.append("killed")
            raise SystemExit
        return original(folds, *given)

    original = tune_folds.train_trial
    monkeypatch.setattr(tune_folds, "train_trial", killed)
    for _ in range(2):
        with pytest.raises(SystemExit):
            tune(tiny(), space=space, trials=8, confirm=1, quiet=True)
    again = tune(tiny(), space=space, trials=8, confirm=1, quiet=True)
    assert again.path.name == "tune-001"
    assert text_of(again.path) == expected
    done = len(calls)
    assert tune(tiny(), resume="tune-001", quiet=True).verdict == again.verdict and len(calls) == done
    assert tune(tiny(name="whole"), space=space, trials=8, confirm=1, quiet=True).verdict == whole.verdict
    assert len(calls) == done
    other = tune(tiny(), space=space, trials=2, confirm=0, quiet=True)
    assert other.path.name != "tune-001" and not other.verdict.recommended


def test_a_search_may_go_on_longer_but_not_shorter(tiny: Callable[..., RunConfig], space: Path, calls: Calls) -> None:
    short = tune(tiny(name="a"), space=space, trials=4, confirm=1, quiet=True)
    longer = tune(tiny(), resume="a", trials=9, quiet=True)
    assert calls.count("trials/003") == 1 and calls.count("trials/008") == 1
    assert longer.study.settings().trials == 9 and short.path == longer.path
    with pytest.raises(ConfigError, match="has 9 trials, not 3"):
        tune(tiny(), resume="a", trials=3, quiet=True)


def test_all_trials_failing_is_one_error(
    tiny: Callable[..., RunConfig], space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise TrainingError("The loss is not finite at step 3.")

    monkeypatch.setattr(tune_folds, "train_trial", fails)
    with pytest.raises(TrainingError, match=r"All 3 trials of .* failed. The first: The loss is not finite at step 3"):
        tune(tiny(), space=space, trials=3, quiet=True)


def test_a_winner_that_fails_on_another_split_is_not_recommended(
    tiny: Callable[..., RunConfig], space: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = tune_folds.train_trial

    def fails_there(folds: Any, *given: Any) -> Any:
        if "confirm" in folds.path.parts and folds.path.name != "default":
            raise TrainingError("The loss is not finite at step 3.")
        return original(folds, *given)

    monkeypatch.setattr(tune_folds, "train_trial", fails_there)
    verdict = tune(tiny(), space=space, trials=6, quiet=True).verdict
    assert not verdict.recommended and "failed on split seed 1: The loss is not finite" in verdict.reason
    assert len(calls) == 7


def test_what_is_wrong_is_said_before_anything_is_written(tiny: Callable[..., RunConfig], space: Path) -> None:
    space.write_text("optim.lrr: [1, 2]")
    with pytest.raises(ConfigError, match=r"optim\.lrr: no such setting"):
        tune(tiny(name="x"), space=space, quiet=True)
    space.write_text("optim.lr: [0.1, 0.2]")
    with pytest.raises(ConfigError, match="A search needs a space"):
        tune(tiny(name="x"), quiet=True)
    assert not (tiny().runs / "x").exists()


def test_a_trial_that_was_killed_between_its_end_and_its_record_reports_all_folds(
    tiny: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds, parts = FoldStudy(Study(tmp_path / "000")), FoldsSettings(folds=3)
    asked = TuneSettings(space=SPACE, space_file="space.yaml", trials=1, folds=3, metric="nll")
    made = made_trial(folds, tiny(), asked, parts)
    curves = {f"fold-{k}": [Point(2, "live", 0.3, 1.0 + k), Point(4, "live", 0.4, 2.0 + k)] for k in range(3)}
    monkeypatch.setattr(tune_folds, "curve_of", lambda run: curves[run.name])
    told: list[tuple[int, float]] = []
    record = tune_folds.train_trial(folds, tiny(), asked, parts, lambda n, value: told.append((n, value)))
    assert record == made and told == [(1, 2.0), (2, 2.5), (3, 3.0)]  # log-loss where the mean macro-F1 is best


# ---- with trainings ----

TRAINED = {"optim.lr": {"low": 1e-3, "high": 1e-1, "log": True}, "model.pooling": ["own", "gem"]}


def started(work: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ssl_mask", "tune", *words]
    with (work / "log.txt").open("ab") as log:
        return subprocess.Popen(command, cwd=work, stdout=log, stderr=log, start_new_session=True)


@pytest.fixture
def work(drawn: Path, tmp_path: Path) -> Path:
    """A folder with a data set of 12 persons, tiny settings and a space."""
    settings = {**TINY, "data": {"root": str(drawn)}, "train": {**TINY["train"], "steps": 4, "eval_every": 2}}
    (tmp_path / "sslmask.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(TRAINED))
    return tmp_path


def trials_of(folder: Path) -> list[dict[str, Any]]:
    """The records of a search's trials, but for CPU time."""
    count = len(list(folder.glob("trials/*/trial.json")))
    study = TrialStudy(Study(folder))
    return [{**study.record(n).to_json(), "cpu_seconds": 0} for n in range(count)]


def oof_of(folder: Path) -> list[bytes]:
    return [p.read_bytes() for p in sorted(folder.glob("trials/*/oof.parquet"))]


SMALL = ("--space", "space.yaml", "--trials", "2", "--folds", "2", "--confirm", "0", "-q")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_search_has_the_same_trials_and_ray_executes_the_same_ones(work: Path) -> None:
    assert started(work, *SMALL, "--name", "whole").wait() == 0, (work / "log.txt").read_text()
    killed = started(work, *SMALL, "--name", "killed")
    while not list(work.glob("runs/killed/trials/001/fold-0/run.json")):
        assert killed.poll() is None
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert started(work, *SMALL, "--name", "killed").wait() == 0
    assert started(work, *SMALL, "--name", "ray", "--engine", "ray").wait() == 0, (work / "log.txt").read_text()
    expected = trials_of(work / "runs/whole")
    assert [t["state"] for t in expected] == ["finished"] * 2
    for name in ("killed", "ray"):
        assert trials_of(work / "runs" / name) == expected
        assert oof_of(work / "runs" / name) == oof_of(work / "runs/whole")
    assert not list(work.glob("runs/whole/trials/*/*/checkpoints/last.state"))
    assert json.loads((work / "runs/ray/verdict.json").read_text())["recommended"] is False
