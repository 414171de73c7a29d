"""`sslmask train`."""

from __future__ import annotations

from pathlib import Path

import typer

from ssl_mask.cli.early import (
    FoldFlags,
    check_folder,
    check_folder_to_write,
    check_resumed,
    check_settings,
    resumed_kind,
)
from ssl_mask.cli.flags import GUARD, LEAKED, TRAINING, Given, takes
from ssl_mask.cli.options import DryRun, Folds, Json, Quiet, Refit, Repeats, Resume, command
from ssl_mask.cli.output import answering, joined_answer, loading, run_answer
from ssl_mask.config import resolve

app = typer.Typer(add_completion=False)


@command(
    app,
    "sslmask train --data faces",
    "sslmask train --data faces --folds 5 --refit",
    "sslmask train --epochs 20 --name flat --set data.target=joint",
)
@takes(*TRAINING, "init_from", *GUARD, *LEAKED)
def train(
    given: Given,
    folds: Folds = None,
    repeats: Repeats = None,
    refit: Refit = False,
    resume: Resume = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train on labeled images.

    ArcFace with one head per factor. Groups (persons) are never split between training and validation. The weights with
    the best validation macro-F1 are kept.
    """
    with answering(as_json) as answer:
        layers, asked = given.layers(quiet=quiet), FoldFlags(folds, repeats, refit)
        early = check_settings(layers, resumed=resume is not None)
        kind = "factors" if early.factors else "folds" if folds is not None else None
        if resume is not None:
            kind = _check_resumed(given, resume, early.runs, asked)
        else:
            asked.refuse_alone()
            if not dry_run:
                check_folder_to_write(early.runs, "--runs")
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            if resume is None:
                check_folder(early)
            from ssl_mask.workflows.factors import train_factors
            from ssl_mask.workflows.folds import train_folds
            from ssl_mask.workflows.train import train as run_training

        settings = resolve(layers)
        if kind == "factors":
            factors = train_factors(
                settings, folds=folds, repeats=repeats or 1, refit=refit, resume=resume, dry_run=dry_run, quiet=quiet
            )
            answer(joined_answer(factors))
        elif kind == "folds":
            study = train_folds(
                settings, folds=folds or 5, repeats=repeats or 1, refit=refit, resume=resume, dry_run=dry_run,
                quiet=quiet,
            )  # fmt: skip
            answer(joined_answer(study))
        else:
            run = run_training(settings, resume=resume, length=given.length, dry_run=dry_run, quiet=quiet)
            answer(run_answer(run))


def _check_resumed(given: Given, name: str, runs: Path, asked: FoldFlags) -> str | None:
    """Refuse options that would be ignored; returns which kind of study `name` is, None for a run."""
    kind = resumed_kind(given, name, runs, "train", asked)
    if kind is None:
        from ssl_mask.runs.find import find_run

        run = find_run(name, runs)
        check_resumed(given, run.config(), run.path, longer=True)
    return kind
