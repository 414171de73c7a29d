"""A series that is stopped or killed, at any moment, goes on to the very result it would have had."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_rounds import same_weights, series_config

from ssl_mask.errors import DataError, Interrupted
from ssl_mask.inference.run_predictor import RunPredictor
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.view import Run
from ssl_mask.training import fit
from ssl_mask.workflows import pseudo as workflow
from ssl_mask.workflows.pseudo import pseudo


@pytest.fixture(scope="module")
def whole(done: Run) -> RunDir:
    """The series as it is when nothing happens. Read only."""
    return RunDir(done.path)


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
    + [
        pytest.param(m, signal.SIGINT, marks=pytest.mark.slow)
        for m in ("in the training of round 1", "between selection and training")
    ],
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
        (run.path / ".pool.parquet.0123abcd.tmp").write_bytes(b"half")
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
