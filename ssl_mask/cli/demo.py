"""`sslmask demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.early import check_folder_to_write
from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import command, run_option
from ssl_mask.cli.output import loading
from ssl_mask.errors import ConfigError

app = typer.Typer(add_completion=False)
INTO, PERSONS = Path("sslmask-demo"), 60


@command(app, "sslmask demo", "sslmask demo --app", "sslmask demo --app --run latest",
         "sslmask demo --into faces --persons 200 --data-only")  # fmt: skip
@takes("seed", files=False)
def demo(
    given: Given,
    into: Annotated[Path, typer.Option(metavar="<path>", rich_help_panel="Data", help="Folder to draw into.")] = INTO,
    persons: Annotated[
        int,
        typer.Option(
            min=1,
            max=100_000,
            metavar="<number>",
            rich_help_panel="Data",
            help="Persons with labels, seven images of each.",
        ),
    ] = PERSONS,
    data_only: Annotated[
        bool, typer.Option("--data-only", metavar="", rich_help_panel="Data", help="Draw the data set and stop.")
    ] = False,
    page: Annotated[
        bool,
        typer.Option(
            "--app",
            metavar="",
            rich_help_panel="Output",
            help="Open a page on this machine that predicts a photo dropped on it, by the demo's run, which is made if "
            "it is not there yet. Needs the extra `app`.",
        ),
    ] = False,
    run: Annotated[
        str | None, run_option("With --app: a run, a study or a gallery in place of the demo's run, from ./runs")
    ] = None,
) -> None:
    """Draw a small data set, then train, predict and score on it.

    Shows all steps in under three minutes on two CPU cores, without a network. With --app, a page in the browser
    predicts photos: classes with their confidence, the nearest training photos, and whether the run has seen a photo.
    """
    seed = given.alone().seed
    if page and data_only:
        raise ConfigError("--app needs a run, and --data-only makes none.", hint="Leave out one of them.")
    if run is not None and not page:
        raise ConfigError("--run has no meaning without --app.", hint="Add --app, or leave out --run.")
    if run is not None and (into != INTO or persons != PERSONS or "seed" in given.flags):
        raise ConfigError("--run names a run of its own; --into, --persons and --seed are of the demo's.",
                          hint="Leave out --run, or the others.")  # fmt: skip
    if run is None:
        check_folder_to_write(into, "--into")
    if page:
        with loading("torch, timm"):
            from ssl_mask.workflows.demo_app import demo_app

        demo_app(run, into=into, persons=persons, seed=seed)
        return
    with loading("torch, timm"):
        from ssl_mask.workflows.demo import demo as run_demo

    _, _, scores = run_demo(into, persons=persons, seed=seed, data_only=data_only)
    if scores is None:
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
