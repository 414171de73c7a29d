"""`sslmask runs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ssl_mask.cli.options import RunsFolder


def runs(
    runs: RunsFolder = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """List the runs with their scores."""
    from ssl_mask.runs.run import list_runs

    found = [{**r.status(), "name": r.path.relative_to(runs).as_posix(), "path": str(r.path)} for r in list_runs(runs)]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif not found:
        typer.echo(f"No runs in {runs.absolute()}. Make one: sslmask train")
    else:
        _table(found)


def _table(found: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    # A score never stands without its mark, however narrow the terminal is.
    kept = [Column(name, no_wrap=True) for name in ("run", "val macro-F1", "leakage")]
    table = Table(*kept, "status", "steps", "val accuracy", "weights", "data", "started")
    for run in found:
        best = run.get("best") or {}
        score = [f"{best[k]:.4f}" if best else "" for k in ("macro_f1", "accuracy")]
        data = str((run.get("data") or {}).get("content_hash", ""))[:8]
        steps = f"{run.get('step', 0)}/{run.get('steps', '?')}"
        weights = f"{best['weights']}@{best['step']}" if best else ""
        rest = run["status"], steps, score[1], weights, data, run["started"][:16]
        table.add_row(run["name"], score[0], run["leakage"], *rest)
    Console(highlight=False).print(table)
