"""`sslmask runs`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import Json, command
from ssl_mask.cli.output import answering
from ssl_mask.errors import InputError
from ssl_mask.text import shown

if TYPE_CHECKING:
    from pathlib import Path

    from ssl_mask.runs.records import RunStatus

app = typer.Typer(add_completion=False)


@command(app, "sslmask runs", "sslmask runs --runs elsewhere --json")
@takes("runs", files=False)
def runs(given: Given, as_json: Json = False) -> None:
    """List the runs with their scores."""
    with answering(as_json) as answer:
        folder = given.alone().runs
        statuses, damaged = read_runs(folder)
        answer({
            "runs": [{**s.to_json(), "name": n, "path": str(folder / n)} for n, s in statuses.items()],
            "damaged": [{"name": n, "path": str(folder / n), "error": why} for n, why in damaged.items()],
        })  # fmt: skip
        if as_json:
            return
        if not statuses and not damaged:
            print(f"No runs in {folder.absolute()}. Make one: sslmask train")
        if statuses:
            width = shutil.get_terminal_size().columns
            print(table([row(name, status) for name, status in statuses.items()], width))
        for why in damaged.values():
            print(shown(f"damaged: {why}"))


def read_runs(folder: Path) -> tuple[dict[str, RunStatus], dict[str, str]]:
    """Name -> status of all runs in a folder, and name -> what is wrong of those whose status cannot be read."""
    from ssl_mask.runs.run import list_runs

    statuses: dict[str, RunStatus] = {}
    damaged: dict[str, str] = {}
    for run in list_runs(folder):
        name = run.path.relative_to(folder).as_posix()
        try:
            statuses[name] = run.status()
        except InputError as error:
            damaged[name] = error.problem
    return statuses, damaged


COLUMNS = ("run", "val macro-F1", "leakage", "status", "val accuracy", "steps", "weights", "started", "data")
"""Most important first: those at the end are left out where the terminal is narrow."""
ALWAYS = 4
"""A score is never shown without its leakage status."""


def table(rows: Sequence[Sequence[str]], width: int) -> str:
    """The columns that fit into `width` characters, as text. Where not even the first few do, a name gets a line."""
    lines = [COLUMNS, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def fits(count: int) -> bool:
        return sum(widths[:count]) + 2 * (count - 1) <= width

    shown = max((n for n in range(ALWAYS, len(COLUMNS) + 1) if fits(n)), default=ALWAYS)
    return "\n".join(
        (f"{name.ljust(widths[0])}  " if fits(ALWAYS) else f"{name}\n    ")
        + "  ".join(map(str.ljust, cells[: shown - 1], widths[1:shown])).rstrip()
        for name, *cells in lines
    )


def row(name: str, run: RunStatus) -> tuple[str, ...]:
    best = run.best
    f1, accuracy = (f"{best.macro_f1:.4f}", f"{best.accuracy:.4f}") if best else ("", "")
    steps = f"{run.step}/{'?' if run.steps is None else run.steps}"
    weights = f"{best.weights}@{best.step}" if best else ""
    data = run.data.content_hash[:8] if run.data else ""
    cells = name, f1, run.leakage, run.status, accuracy, steps, weights, run.started[:16].replace("T", " "), data
    return tuple(map(shown, cells))
