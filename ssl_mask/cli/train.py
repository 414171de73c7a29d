"""`sslmask train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from ssl_mask.cli.early import FoldFlags, StudyKind, check_folder, check_settings, new_kind, resumed_kind
from ssl_mask.cli.flags import GUARD, LEAKED, TRAINING, Given, takes
from ssl_mask.cli.options import DryRun, Folds, Json, Quiet, Refit, Repeats, Resume, command
from ssl_mask.cli.output import answering, joined_answer, loading, run_answer
from ssl_mask.config import RunConfig, resolve

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
        if resume is not None:
            kind = resumed_kind(given, resume, early.runs, "train", asked)
        else:
            kind = new_kind(early, asked, dry_run=dry_run)
        answer(run_or_study(
            given, layers, early, kind, asked, verb="train", resume=resume, dry_run=dry_run, quiet=quiet,
            as_json=as_json,
        ))  # fmt: skip


def run_or_study(
    given: Given, layers: Sequence[Mapping[str, Any]], early: RunConfig, kind: StudyKind | None, asked: FoldFlags, *,
    verb: str, resume: str | None, dry_run: bool, quiet: bool, as_json: bool,
) -> dict[str, Any]:  # fmt: skip
    """Train a run, or a study of folds or of factor models; returns what `--json` says of it.

    Args:
        kind: of the study; None: a run.
        verb: `train` or `uda`: how it is continued.
    """
    with loading("torch, timm", quiet=quiet, as_json=as_json):
        if resume is None:
            check_folder(early)
        from ssl_mask.workflows.factors import train_factors
        from ssl_mask.workflows.folds import train_folds
        from ssl_mask.workflows.train import train as train_run

    settings = resolve(layers)
    if kind is None:
        return run_answer(train_run(settings, resume=resume, length=given.length, dry_run=dry_run, quiet=quiet))
    if kind == "factors":
        return joined_answer(train_factors(
            settings, folds=asked.folds, repeats=asked.repeats or 1, refit=asked.refit, verb=verb, resume=resume,
            dry_run=dry_run, quiet=quiet,
        ))  # fmt: skip
    return joined_answer(train_folds(
        settings, folds=asked.folds or 5, repeats=asked.repeats or 1, refit=asked.refit, verb=verb, resume=resume,
        dry_run=dry_run, quiet=quiet,
    ))  # fmt: skip
