"""Trackers never stop a training, and metrics.jsonl stays the truth. The trackers here are made up: no library."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from made_records import run_status
from rich.console import Console as RichConsole

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.errors import ConfigError, Interrupted
from ssl_mask.files import write_json
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.writer import RunWriter
from ssl_mask.training import fit
from ssl_mask.training.trackers import tracking
from ssl_mask.training.trackers.place import Opened, Place
from ssl_mask.training.trackers.tracking import Trackers, refuse_missing, values_of
from ssl_mask.workflows.compare import compare
from ssl_mask.workflows.factors import train_factors
from ssl_mask.workflows.folds import train_folds
from ssl_mask.workflows.pseudo import pseudo
from ssl_mask.workflows.pseudo_folds import pseudo_folds
from ssl_mask.workflows.train import train
from ssl_mask.workflows.tune import tune

LINE = {"kind": "train", "step": 1, "loss": 0.5, "terms": {}, "stats": {}, "lr": 0.1, "images_per_second": 1.0}


class MadeUp:
    """A tracker that keeps what it is told, and raises where it is told to."""

    def __init__(self, fails_at: str = "", error: BaseException | None = None, lines: int = 0) -> None:
        self.fails_at, self.error, self.lines = fails_at, error or OSError(28, "No space left on device"), lines
        self.told: list[Any] = []

    def _at(self, what: str, told: Any) -> None:
        if what == self.fails_at and sum(t[0] == "log" for t in self.told) >= self.lines:
            raise self.error
        self.told.append((what, told))

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self._at("config", values)

    def log(self, values: dict[str, float], step: int) -> None:
        self._at("log", (step, values))

    def opened(self, place: Place) -> Opened:
        self._at("start", place)

        def keep(card: Path, plots: Sequence[Path], step: int) -> None:
            self._at("keep", (card.read_text(), [plot.name for plot in plots], step))

        return Opened(self, keep, lambda: self._at("close", None))

    def of(self, what: str) -> list[Any]:
        return [told for kind, told in self.told if kind == what]


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put made-up trackers in the places of real ones."""

    def plant(**trackers: MadeUp) -> None:
        monkeypatch.setattr(tracking, "find_spec", lambda _: SimpleNamespace(origin="here"))
        for name, tracker in trackers.items():
            module = ModuleType(name)
            vars(module)["open_tracker"] = tracker.opened
            monkeypatch.setitem(sys.modules, f"ssl_mask.training.trackers.{name}", module)

    return plant


def a_run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "r")
    write_json(run.status_file, run_status(step=3).to_json())
    run.card.write_text("# card")
    return run


def started(run: RunDir, names: Sequence[str], *, step: int = 0) -> tuple[Trackers, RunWriter, Console]:
    console = Console()
    console.rich = RichConsole(record=True, width=500, quiet=False)
    trackers = Trackers(names, console)
    return trackers, trackers.start(RunWriter(run), RunConfig(), step=step), console


def test_a_line_becomes_names_and_numbers() -> None:
    line = {
        "kind": "train", "step": 7, "loss": 1.5, "terms": {"labels": 1.0, "ba:d<i>": 0.5},
        "stats": {"mask rate": 0.25, "shares": [0.5, 0.5]}, "lr": 0.1, "images_per_second": 9,
    }  # fmt: skip
    assert values_of(line) == {
        "train/loss": 1.5, "train/terms/labels": 1.0, "train/terms/ba_d_i_": 0.5, "train/stats/mask rate": 0.25,
        "train/lr": 0.1, "train/images_per_second": 9.0,
    }  # fmt: skip
    val = {"kind": "val", "step": 7, "weights": "ema", "macro_f1": 0.5, "heads": {"mask": 0.75}, "told": True}
    assert values_of(val) == {"val/ema/macro_f1": 0.5, "val/ema/heads/mask": 0.75}


STAGES = ["start", "config", "log", "keep", "close"]
ERRORS = [
    OSError(28, "No space left on device"),
    ImportError("no libfoo.so"),
    ConnectionError("no route"),
    SystemExit(1),
]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_one_that_fails_is_left_out_with_one_warning(
    tmp_path: Path, plant: Callable[..., None], stage: str, error: BaseException
) -> None:
    bad, good = MadeUp(stage, error, lines=1 if stage == "log" else 0), MadeUp()
    plant(wandb=bad, tensorboard=good)
    run = a_run(tmp_path)
    trackers, writer, console = started(run, ["wandb", "tensorboard"])
    for step in (1, 2, 3):
        writer.log(**{**LINE, "step": step})
    trackers.keep(run, lambda folder: [folder / "curves.png"])
    trackers.close()
    said = console.rich.export_text()
    assert said.count("The tracker wandb failed") == 1 and said.count("Note:") == 1
    assert (str(error)[:10] or type(error).__name__) in said
    assert [line["step"] for line in map(json.loads, run.metrics.read_text().splitlines())] == [1, 2, 3]
    assert [step for step, _ in good.of("log")] == [1, 2, 3] and good.of("keep") == [("# card", ["curves.png"], 3)]
    assert len(good.of("close")) == 1
    heard = {"start": 0, "config": 0, "log": 1, "keep": 3, "close": 3}[stage]
    assert len(bad.of("log")) == heard


def test_ctrl_c_in_a_tracker_is_no_failure_of_it(tmp_path: Path, plant: Callable[..., None]) -> None:
    plant(wandb=MadeUp("log", KeyboardInterrupt()))
    _, writer, _ = started(a_run(tmp_path), ["wandb"])
    with pytest.raises(KeyboardInterrupt):
        writer.log(**LINE)


def test_plots_that_cannot_be_drawn_stop_nothing(tmp_path: Path, plant: Callable[..., None]) -> None:
    def fail(_: Path) -> Sequence[Path]:
        raise OSError(28, "No space left on device")

    plant(wandb=MadeUp())
    trackers, _, console = started(run := a_run(tmp_path), ["wandb"])
    trackers.keep(run, fail)
    assert "No space left" in console.rich.export_text()


def test_the_settings_are_told_once_and_have_simple_types(tmp_path: Path, plant: Callable[..., None]) -> None:
    tracker = MadeUp()
    plant(wandb=tracker)
    started(run := a_run(tmp_path), ["wandb"])
    (settings,) = tracker.of("config")
    assert settings["optim.lr"] == 1e-3 and settings["data.root"] == "." and settings["train.steps"] == "None"
    assert {type(value) for value in settings.values()} <= {bool, int, float, str}
    started(run, ["wandb"], step=3)
    assert len(tracker.of("config")) == 1 and [place.step for place in tracker.of("start")] == [0, 3]


def test_a_process_without_a_run_has_no_trackers(plant: Callable[..., None]) -> None:
    tracker = MadeUp()
    plant(wandb=tracker)
    writer = RunWriter(None)
    assert Trackers(["wandb"], Console(quiet=True)).start(writer, RunConfig(), step=0) is writer
    assert tracker.told == []


def test_a_run_keeps_its_id_when_it_is_resumed_or_moved(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    first = Place(run, 0).id
    run.update(step=5, status="interrupted")
    moved = RunDir(run.path.rename(tmp_path / "moved"))
    assert Place(moved, 5).id == first
    other = RunDir(tmp_path / "other")
    write_json(other.status_file, run_status(started="2026-11-26T18:00:01+0000").to_json())
    assert Place(other, 0).id != Place(moved, 5).id


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow", "trackio"])
def test_a_missing_library_is_refused_before_anything_is_read(
    name: str, tiny: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = {"nothing": None, "a folder of that name": SimpleNamespace(origin=None)}
    for spec in found.values():
        monkeypatch.setattr(tracking, "find_spec", lambda _, spec=spec: spec)
        with pytest.raises(ConfigError, match=f"train.trackers: {name} is not installed") as refused:
            train(tiny(train={"trackers": name}, data={"root": "nowhere"}), quiet=True)
        assert refused.value.hint == f'Install it: pip install "sslmask[{name}]"'
    assert not (tmp_path / "runs").exists()
    monkeypatch.undo()
    refuse_missing([])


STUDIES: dict[str, Callable[[RunConfig], object]] = {
    "folds": partial(train_folds, folds=2, quiet=True),
    "factors": partial(train_factors, quiet=True),
    "seeds": partial(compare, quiet=True),
    "rounds": partial(pseudo, quiet=True),
    "rounds by folds": partial(pseudo_folds, folds=2, quiet=True),
    "trials": partial(tune, quiet=True),
}


@pytest.mark.parametrize("kind", STUDIES)
def test_a_study_with_a_missing_library_leaves_no_folder(
    kind: str, tiny: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = {"factors": {"age": {"train": {"trackers": "wandb"}}}} if kind == "factors" else {}
    monkeypatch.setattr(tracking, "find_spec", lambda _: None)
    config = tiny(train={} if own else {"trackers": "wandb"}, data={"unlabeled": ["extra"]}, **own)
    with pytest.raises(ConfigError, match="wandb is not installed"):
        STUDIES[kind](config)
    assert not (tmp_path / "runs").exists()


def lines_of(run: RunDir) -> list[dict[str, Any]]:
    """metrics.jsonl without what differs from run to run."""
    clock = {"images_per_second", "cpu_seconds"}
    return [{key: value for key, value in line.items() if key not in clock} for line in run.records()]


def test_a_training_is_the_same_with_trackers_that_fail(
    tiny: Callable[..., RunConfig], plant: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = train(tiny(name="plain"), quiet=True)
    good, bad = MadeUp(), MadeUp("log", lines=2)
    plant(wandb=bad, mlflow=good)
    told = train(tiny(name="told", train={"trackers": ["wandb", "mlflow"]}))
    assert plain is not None and told is not None
    assert capsys.readouterr().out.count("The tracker wandb failed") == 1
    assert lines_of(told.dir) == lines_of(plain.dir)
    assert told.status.status == "finished" and told.scores == plain.scores
    records = told.dir.records()
    assert good.of("log") == [(record["step"], values_of(record)) for record in records]
    ((card, plots, step),) = good.of("keep")
    assert (card, plots, step) == (told.dir.card.read_text(), ["curves.png", "confusion.png"], 6)
    assert [what for what, _ in good.told][-1] == "close"


def test_trackers_end_when_a_training_is_interrupted_and_go_on_with_it(
    tiny: Callable[..., RunConfig], plant: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = MadeUp()
    plant(mlflow=tracker)
    config = tiny(name="r", train={"trackers": "mlflow", "save_every": 1})
    original = fit.log_step

    def stop_after_four(session: Any, run: RunWriter, step: int, *rest: Any) -> str:
        said = original(session, run, step, *rest)
        if step == 4:
            raise KeyboardInterrupt
        return said

    monkeypatch.setattr(fit, "log_step", stop_after_four)
    with pytest.raises(Interrupted):
        train(config, quiet=True)
    assert [what for what, _ in tracker.told][-1] == "close" and tracker.of("keep") == []
    monkeypatch.setattr(fit, "log_step", original)
    train(config, resume="r", quiet=True)
    first, second = tracker.of("start")
    assert (first.step, second.step) == (0, 3) and first.id == second.id  # step 4 was not saved any more
    steps = [step for step, values in tracker.of("log") if "train/loss" in values]
    assert steps == [1, 2, 3, 4, 4, 5, 6] and len(tracker.of("close")) == 2
