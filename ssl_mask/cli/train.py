"""`sslmask train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.options import Assignments, ConfigFile, DataFolder, Quiet, gather


def train(
    data: DataFolder = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    name: Annotated[str | None, typer.Option(help="Name of the run. [default: train-001, train-002, …]")] = None,
    runs: Annotated[Path | None, typer.Option("--runs", help="Folder that holds the runs. [default: runs]")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same machine, same result.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training images, instead of steps.")] = None,
    resume: Annotated[
        str | None, typer.Option(help="Continue a run exactly: its name, path, or `latest`. With --steps: go further.")
    ] = None,
    init_from: Annotated[str | None, typer.Option("--init-from", help="Start from a run's best weights.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check configuration and data, run two steps, print time and memory.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train on labeled images: ArcFace, split by person, best weights by validation macro-F1."""
    flags = {
        "data.root": str(data) if data is not None else None,
        "name": name,
        "runs": str(runs) if runs is not None else None,
        "seed": seed,
        "train.steps": steps,
        "train.epochs": epochs,
        "init_from": init_from,
    }
    from ssl_mask.config import resolve

    layers = gather(config, assignments, flags)
    from ssl_mask.workflows import setup
    from ssl_mask.workflows.train import train as run_training

    length = {k: v for k, v in (("steps", steps), ("epochs", epochs)) if v is not None}
    run_training(resolve(layers, has_gpu=setup.has_gpu), resume=resume, length=length, dry_run=dry_run, quiet=quiet)
