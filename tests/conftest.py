"""Data that tests share. The drawn demo set stands in for real photos; `mask18` is the real thing where it is there."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_rounds import series_config, write_answers
from tiny_runs import TINY

from ssl_mask.config import RunConfig, merge, resolve
from ssl_mask.demo_data.draw import draw_demo
from ssl_mask.files import write_text
from ssl_mask.reports import confusion_plot, fold_plots, plots, round_plots, tune_plots
from ssl_mask.runs.view import Run
from ssl_mask.workflows.pseudo import pseudo

HANDLERS = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests never touch the user's cache."""
    before = os.environ.get("SSLMASK_CACHE")
    os.environ["SSLMASK_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["SSLMASK_CACHE"]
    else:
        os.environ["SSLMASK_CACHE"] = before


@pytest.fixture(scope="session", autouse=True)
def nothing_left_here() -> Iterator[None]:
    """Tests write to folders of their own: cards of a test would be committed with the next change."""
    cards = Path(__file__).parents[1] / "data_cards"
    before = sorted(cards.iterdir())
    yield
    assert sorted(cards.iterdir()) == before, "a test has written to data_cards; name guard.cards in its settings"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Networks this small gain nothing from a second thread, and two that wait for each other cost a quarter more."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of commands that tests start
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def one_guarding_process() -> Iterator[None]:
    """To start others takes longer than to compare a few small images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssl_mask.guard.gate.cores", lambda: 1)
        yield


@pytest.fixture(autouse=True)
def same_signal_handlers() -> Iterator[None]:
    """A handler left behind is inherited by the process pools of later tests, and has hung them."""
    yield
    assert {number: signal.getsignal(number) for number in HANDLERS} == HANDLERS, "a signal handler was left behind"


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo data set of 12 persons. Read only."""
    return draw_demo(tmp_path_factory.mktemp("drawn") / "demo", persons=12, seed=0).root


@pytest.fixture
def faces(drawn: Path, tmp_path: Path) -> Path:
    """A demo data set that a test may damage."""
    return Path(shutil.copytree(drawn, tmp_path / "faces"))


@pytest.fixture
def tiny(drawn: Path, tmp_path: Path) -> Callable[..., RunConfig]:
    """Make a configuration that trains in seconds; keyword arguments are sections to change."""

    def make(**sections: Any) -> RunConfig:
        places = {"runs": str(tmp_path / "runs"), "guard": {"cards": str(tmp_path / "data_cards")}}
        base = merge(TINY, {**places, "data": {"root": str(drawn)}})
        return resolve([base, sections], has_gpu=lambda: False)

    return make


@pytest.fixture(scope="session")
def mask18() -> Path:
    """The real faces; see CONTRIBUTING.md for where they are looked for."""
    places = [os.environ.get("SSLMASK_MASK18", ""), str(Path(__file__).parents[2] / "shared" / "data" / "mask18")]
    for place in places:
        if place and (Path(place) / "train" / "train.csv").is_file():
            return Path(place)
    pytest.skip("the mask18 faces are not here (set SSLMASK_MASK18 to their folder)")


@pytest.fixture(autouse=True)
def no_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the plots of runs empty: they take longer than a small training. Tests of reports and marked ones draw."""
    if request.node.get_closest_marker("plots") is not None or "reports" in request.node.path.parts:
        return
    leave_plots_empty(monkeypatch)


@pytest.fixture(scope="module")
def no_plots_in_module() -> Iterator[None]:
    """The same for what a module makes once."""
    with pytest.MonkeyPatch.context() as patch:
        leave_plots_empty(patch)
        yield


def leave_plots_empty(patch: pytest.MonkeyPatch) -> None:
    def leave_empty(path: Path, *_: Any, **__: Any) -> None:
        write_text(path, "")

    drawn = {plots: ("curves", "consistency"), confusion_plot: ("confusion",), round_plots: ("selection", "rounds"),
             fold_plots: ("folds",), tune_plots: ("history", "importance", "parallel")}  # fmt: skip
    for module, names in drawn.items():
        for name in names:
            patch.setattr(module, f"write_{name}", leave_empty)


@pytest.fixture(scope="session")
def done(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished series of two rounds with an audit; its plots are empty. Read only."""
    work = tmp_path_factory.mktemp("series")
    answers = write_answers(drawn, work / "answers.csv")
    with pytest.MonkeyPatch.context() as patch:
        leave_plots_empty(patch)
        return pseudo(series_config(drawn, work / "runs"), audit_answers=answers, quiet=True)
