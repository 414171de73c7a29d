"""`sslmask demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.early import check_folder_to_write
from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import command
from ssl_mask.cli.output import loading

app = typer.Typer(add_completion=False)


@command(app, "sslmask demo", "sslmask demo --into faces --persons 200 --data-only")
@takes("seed", files=False)
def demo(
    given: Given,
    into: Annotated[Path, typer.Option(metavar="<path>", rich_help_panel="Data", help="Folder to draw into.")] = Path(
        "sslmask-demo"
    ),
    persons: Annotated[
        int,
        typer.Option(
            min=1,
            max=100_000,
            metavar="<number>",
            rich_help_panel="Data",
            help="Persons with labels, seven images of each.",
        ),
    ] = 60,
    data_only: Annotated[
        bool, typer.Option("--data-only", metavar="", rich_help_panel="Data", help="Draw the data set and stop.")
    ] = False,
) -> None:
    """Draw a small data set, then train, predict and score on it.

    Shows all steps in under three minutes on two CPU cores, without a network.
    """
    seed = given.alone().seed
    check_folder_to_write(into, "--into")
    with loading("torch, timm"):
        from ssl_mask.workflows.demo import demo as run_demo

    _, run, scores = run_demo(into, persons=persons, seed=seed, data_only=data_only)
    if run is None or scores is None:
        print(f"\nNext:\n  cd {into}\n  sslmask train\n  sslmask predict")
        return
    score = scores.macro_f1
    print(
        f"\nEval macro-F1 {score.value:.3f} (95 % interval {score.low:.3f} to {score.high:.3f}), "
        f"accuracy {scores.accuracy.value:.3f}; leakage: {scores.leakage.status}\n"
        f"Folder {into.absolute()}\n\nNext:\n  cd {into}\n"
        "  sslmask runs\n  sslmask evaluate --answers eval_answers.csv\n  sslmask augment --preset competition\n"
        "  sslmask train --steps 400"
    )
