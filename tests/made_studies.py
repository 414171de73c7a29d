"""A study whose runs are made by hand: nothing trains, what is on the disk is written there."""

from __future__ import annotations

from pathlib import Path

from ssl_mask.config import RunConfig
from ssl_mask.runs.create import begin_run
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import Study, create_study

NAMES = ("a", "b", "c")


def make_study(folder: Path) -> Study:
    """An empty one, `folder/runs/s`."""
    return create_study(folder / "runs/s", "uda", "seeds", RunConfig(runs=folder / "runs"), {"seeds": [0]})


def make_run(run: RunDir, *, status: str = "running", saved: bool = False, card: bool = False) -> None:
    begin_run(run, RunConfig(), "train")
    run.update(status=status)
    run.last.parent.mkdir()
    if saved:
        run.last.write_text("state")
    if card:
        run.card.write_text("card")
