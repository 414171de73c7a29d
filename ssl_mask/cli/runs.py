"""`sslmask runs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssl_mask.cli.options import RunsFolder

if TYPE_CHECKING:
    from ssl_mask.runs.records import RunStatus


def runs(
    runs: RunsFolder = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """List the runs with their scores."""
    from ssl_mask.runs.run import list_runs

    found = {r.path: r.status() for r in list_runs(runs)}
    names = {path: path.relative_to(runs).as_posix() for path in found}
    if as_json:
        records = [{**status.to_json(), "name": names[path], "path": str(path)} for path, status in found.items()]
        typer.echo(json.dumps(records, indent=2))
    elif not found:
        typer.echo(f"No runs in {runs.absolute()}. Make one: sslmask train")
    else:
        _table({names[path]: status for path, status in found.items()})


def _table(found: dict[str, RunStatus]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    # A score never stands without its mark, however narrow the terminal is.
    kept = [Column(name, no_wrap=True) for name in ("run", "val macro-F1", "leakage")]
    table = Table(*kept, "status", "steps", "val accuracy", "weights", "data", "started")
    for name, run in found.items():
        best = run.best
        f1, accuracy = (f"{best.macro_f1:.4f}", f"{best.accuracy:.4f}") if best else ("", "")
        weights = f"{best.weights}@{best.step}" if best else ""
        data = run.data.content_hash[:8] if run.data else ""
        steps = f"{run.step}/{'?' if run.steps is None else run.steps}"
        table.add_row(name, f1, run.leakage, run.status, steps, accuracy, weights, data, run.started[:16])
    Console(highlight=False).print(table)
