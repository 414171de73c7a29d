"""`sslmask curve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.early import check_file_to_write, check_folder, check_settings
from ssl_mask.cli.flags import GUARD, LEAKED, TRAINING, Given, takes
from ssl_mask.cli.options import DryRun, Json, Quiet, command
from ssl_mask.cli.output import answering, loading
from ssl_mask.config import resolve
from ssl_mask.errors import ConfigError

app = typer.Typer(add_completion=False)


@command(app, "sslmask curve --data faces", "sslmask curve --data faces --fractions 0.2,0.4,0.6,0.8,1 --folds 5")
@takes(*TRAINING, *GUARD, *LEAKED)
def curve(
    given: Given,
    fractions: Annotated[
        str,
        typer.Option(
            metavar="<numbers>", rich_help_panel="Training",
            help="Shares of the training groups (persons), ascending; the last one is 1.",
        ),
    ] = "0.25,0.5,0.75,1",
    folds: Annotated[
        int, typer.Option(min=2, metavar="<number>", rich_help_panel="Training", help="Folds of each size.")
    ] = 3,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Estimate what twice the labels would give: a learning curve of out-of-fold scores.

    Trains on shares of the labeled groups, each share as a study of folds with the same steps, and fits a power law to
    the out-of-fold scores. Writes curve.json and curve.svg (with --name: that name). The same command goes on after an
    interruption; finished studies are not trained again.
    """
    with answering(as_json) as answer:
        layers, shares = given.layers(quiet=quiet), parse_fractions(fractions)
        early = check_settings(layers)
        early.refuse_factors("A learning curve")
        out = Path(f"{early.name or 'curve'}.json")
        for file in (out, out.with_suffix(".svg")):
            check_file_to_write(file, "--name")
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            check_folder(early)
            from ssl_mask.workflows.curve import learning_curve, to_json

        made = learning_curve(
            resolve(layers), fractions=shares, folds=folds, out=out, dry_run=dry_run, quiet=quiet
        )  # fmt: skip
        answer({"status": "dry-run"} if made is None else to_json(made))


def parse_fractions(text: str) -> list[float]:
    """`0.25,0.5,1` as numbers. Raises ConfigError."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        hint = "Such as --fractions 0.25,0.5,0.75,1"
        raise ConfigError(f"--fractions {text!r} are no numbers with commas between them.", hint=hint) from error
