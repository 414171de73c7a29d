"""`sslmask demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    into: Annotated[Path, typer.Option(help="Folder to draw into.")] = Path("sslmask-demo"),
    persons: Annotated[int, typer.Option(help="Training persons, seven photos each.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same pictures.")] = 0,
    data_only: Annotated[bool, typer.Option("--data-only", help="Draw the data and stop.")] = False,
) -> None:
    """Draw a small data set, train, predict and score on it: the whole way in under three minutes, no network."""
    from ssl_mask.workflows.demo import demo as run_demo

    _, run, scores = run_demo(into, persons=persons, seed=seed, data_only=data_only)
    if run is None or scores is None:
        typer.echo(f"\nNext:\n  cd {into}\n  sslmask train\n  sslmask predict")
        return
    score = scores.macro_f1
    typer.echo(
        f"\nEval macro-F1 {score.value:.3f} (95 % interval {score.low:.3f} to {score.high:.3f}), "
        f"accuracy {scores.accuracy.value:.3f}; leakage: {scores.leakage.status}\n"
        f"Folder {into.absolute()}\n\nNext:\n  cd {into}\n"
        "  sslmask runs\n  sslmask evaluate --answers eval_answers.csv\n  sslmask augment --preset competition\n"
        "  sslmask train --steps 400"
    )
