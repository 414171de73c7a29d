"""A series that is stopped or killed, at any moment, goes on to the very result it would have had."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_rounds import SETTINGS, same_weights, series_config

from ssl_mask.errors import DataError, Interrupted
from ssl_mask.inference.predictor import RunPredictor
from ssl_mask.runs.run import Run, RunDir
from ssl_mask.training import fit
from ssl_mask.workflows import pseudo as workflow
from ssl_mask.workflows.pseudo import pseudo


@pytest.fixture(scope="module")
def whole(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The series as it is when nothing happens. Read only."""
    return RunDir(pseudo(series_config(drawn, tmp_path_factory.mktemp("whole")), quiet=True).path)


def after(function: Callable[..., Any], when: Callable[..., bool], number: int) -> Callable[..., Any]:
    """The function, followed by a real signal to this process when its arguments are such."""

    def call(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        if when(*arguments):
            signal.raise_signal(number)
        return result

    return call


MOMENTS: dict[str, tuple[Any, str, Callable[..., bool]]] = {
    "in the training of round 1": (
        fit,
        "log_step",
        lambda _, run, step, *__: step == 3 and run.run.path.name == "01",
    ),
    "before the pool's table": (RunPredictor, "probs", lambda *_: True),
    "between selection and training": (workflow, "select_round", lambda _, number, *__: number == 1),
    "between training and report": (workflow, "train", lambda config: config.name == "01"),
    "before the best is published": (workflow, "report_round", lambda _, __, number, *___: number == 1),
}


def terminated(frame_number: int, _: Any) -> None:
    """What `main` does on SIGTERM outside of training."""
    raise Interrupted("Terminated; nothing was left half-written.", signal_number=frame_number)


@pytest.mark.parametrize(
    ("moment", "number"),
    [(m, signal.SIGTERM) for m in MOMENTS]
    + [(m, signal.SIGINT) for m in ("in the training of round 1", "between selection and training")],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    whole: RunDir, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, number: int
) -> None:
    module, name, when = MOMENTS[moment]
    # As in a terminal: a job that a script puts into the background is born with SIGINT ignored.
    handlers = {signal.SIGTERM: terminated, signal.SIGINT: signal.default_int_handler}
    before = {n: signal.signal(n, handler) for n, handler in handlers.items()}
    try:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, after(getattr(module, name), when, number))
            with pytest.raises(Interrupted) as stopped:
                pseudo(series_config(drawn, tmp_path), quiet=True)
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
    series = RunDir(tmp_path / "pseudo-001")
    assert stopped.value.exit_code == 128 + number
    assert stopped.value.hint == f"Continue with: sslmask pseudo --resume {series.path}"
    assert series.status().status == "interrupted"
    kept = contents(series.round(0))
    done = pseudo(series_config(drawn, tmp_path), resume="pseudo-001", quiet=True)
    assert contents(series.round(0)) == kept
    assert_same_series(done, whole)


def contents(run: RunDir) -> dict[Path, tuple[bytes, int]]:
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in run.path.rglob("*") if p.is_file()}


def assert_same_series(done: Run, whole: RunDir) -> None:
    series = RunDir(done.path)
    assert done.status.status == "finished"
    assert done.status.best_round == whole.status().best_round
    for number in range(1 + done.config.pseudo.rounds):
        own, other = series.round(number), whole.round(number)
        assert same_weights(own, other)
        assert own.validation.read_bytes() == other.validation.read_bytes()
        if number:
            assert own.pseudo_labels.read_bytes() == other.pseudo_labels.read_bytes()
            assert own.pool.read_bytes() == other.pool.read_bytes()
    assert same_weights(series, whole)


def test_what_is_left_of_a_round_before_its_first_save_is_made_anew(whole: RunDir, drawn: Path, tmp_path: Path) -> None:
    """Killed before the first checkpoint: a status, a configuration, half a plot. The selection is kept."""
    series = RunDir(Path(shutil.copytree(whole.path, tmp_path / "copy")))
    for number in (1, 2):
        run = series.round(number)
        shutil.rmtree(run.path / "checkpoints")
        run.update(status="running")
        run.card.unlink()
        (run.path / ".pool.parquet.1234.tmp").write_bytes(b"half")
    kept = contents(series.round(1))[series.round(1).pseudo_labels]
    series.round(2).pseudo_labels.unlink()  # and round 2 in the middle of its selection
    done = pseudo(series_config(drawn, tmp_path), resume="copy", quiet=True)
    assert contents(series.round(1))[series.round(1).pseudo_labels] == kept
    assert not list(series.path.rglob("*.tmp"))
    for number in range(3):
        assert same_weights(series.round(number), whole.round(number))
    assert done.status.status == "finished"


def test_a_begun_round_is_not_continued_on_edited_pseudo_labels(whole: RunDir, drawn: Path, tmp_path: Path) -> None:
    series = RunDir(Path(shutil.copytree(whole.path, tmp_path / "copy")))
    run = series.round(2)
    config = run.config_file.read_text().replace(str(whole.path), str(series.path))
    run.config_file.write_text(config)
    run.card.unlink()
    lines = run.pseudo_labels.read_text().splitlines()
    run.pseudo_labels.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(DataError, match=r"pseudo-labels .* is not what"):
        pseudo(series_config(drawn, tmp_path), resume="copy", quiet=True)


def test_two_processes_do_not_work_on_one_series(whole: RunDir, drawn: Path) -> None:
    with whole.locked(), pytest.raises(DataError, match="Another process"):
        pseudo(series_config(drawn, whole.path.parent), resume="pseudo-001", quiet=True)


# ---- kill -9 ----

KILLS = 20


def start(work: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ssl_mask", "pseudo", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (work / "errors.txt").open("w") as errors:
        return subprocess.Popen(command, cwd=work, env=environment, stdout=subprocess.DEVNULL, stderr=errors)


def finish(work: Path, process: subprocess.Popen[bytes]) -> None:
    assert process.wait(timeout=300) == 0, (work / "errors.txt").read_text()[-3000:]


@pytest.mark.slow
def test_killed_twenty_times(drawn: Path, tmp_path: Path) -> None:
    """kill -9 at seeded moments; between two kills at least one step is saved, so that it ends at all."""
    settings = SETTINGS | {"data": {**SETTINGS["data"], "root": str(drawn)}, "pseudo": {"rounds": 3, "rule": "top_k"}}
    settings["train"] = {**SETTINGS["train"], "steps": 240, "eval_every": 60, "save_every": 10}
    works = [tmp_path / n for n in ("whole", "killed")]
    for work in works:
        work.mkdir()
        (work / "series.yaml").write_text(yaml.safe_dump(settings))
    words = ["--config", "series.yaml", "--name", "s"]
    finish(works[0], start(works[0], *words))
    series = RunDir(works[1] / "runs/s")
    moments, kept = random.Random(0), dict[Path, tuple[bytes, int]]()
    kills = 0
    while True:
        process = start(works[1], *(["--resume", "s"] if series.status_file.is_file() else words))
        if kills == KILLS:
            break
        wait_for_a_save(series, process)
        time.sleep(moments.uniform(0, 0.5))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        now = finished(series)
        assert {p: now.get(p) for p in kept} == kept
        kept = now
    finish(works[1], process)
    assert kills >= KILLS / 2
    assert {p: finished(series).get(p) for p in kept} == kept
    assert_same_series(Run(series), RunDir(works[0] / "runs/s"))


def wait_for_a_save(series: RunDir, process: subprocess.Popen[bytes]) -> None:
    """Until a state of training, or a selection, is newer than now."""
    began = time.time()
    while process.poll() is None:
        saved = [*series.rounds.glob("*/checkpoints/last.state"), *series.rounds.glob("*/pseudo_labels.csv")]
        if any(p.stat().st_mtime > began for p in saved if p.exists()):
            return
        time.sleep(0.02)


def finished(series: RunDir) -> dict[Path, tuple[bytes, int]]:
    """The files of the finished rounds. The plot of a selection is drawn after its round has ended."""
    found: dict[Path, tuple[bytes, int]] = {}
    for path in sorted(series.rounds.glob("*")):
        run = RunDir(path)
        if run.status_file.is_file() and run.status().status == "finished" and run.card.is_file():
            found |= contents(run)
    return found
