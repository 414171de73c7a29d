"""`sslmask train`."""

from __future__ import annotations

import typer

from ssl_mask.cli.early import check_folder, check_folder_to_write, check_resumed, check_settings
from ssl_mask.cli.flags import GUARD, LEAKED, TRAINING, Given, takes
from ssl_mask.cli.options import DryRun, Json, Quiet, Resume, command
from ssl_mask.cli.output import answering, loading, run_answer
from ssl_mask.config import resolve

app = typer.Typer(add_completion=False)


@command(app, "sslmask train --data faces", "sslmask train --epochs 20 --name flat --set data.target=joint")
@takes(*TRAINING, "init_from", *GUARD, *LEAKED)
def train(
    given: Given, resume: Resume = None, dry_run: DryRun = False, quiet: Quiet = False, as_json: Json = False
) -> None:
    """Train on labeled images.

    ArcFace with one head per factor. Groups (persons) are never split between training and validation. The weights with
    the best validation macro-F1 are kept.
    """
    with answering(as_json) as answer:
        layers = given.layers(quiet=quiet)
        early = check_settings(layers, resumed=resume is not None)
        if resume is not None:
            from ssl_mask.runs.run import find_run

            run = find_run(resume, early.runs)
            check_resumed(given, run.config(), run.path, longer=True)
        elif not dry_run:
            check_folder_to_write(early.runs, "--runs")
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            if resume is None:
                check_folder(early)
            from ssl_mask.workflows.train import train as run_training

        settings = resolve(layers)
        done = run_training(settings, resume=resume, length=given.length, dry_run=dry_run, quiet=quiet)
        answer(run_answer(done))
