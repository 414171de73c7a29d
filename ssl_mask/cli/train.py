"""`sslmask train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ssl_mask.cli.early import (
    FoldFlags,
    StudyKind,
    check_file_to_write,
    check_folder,
    check_settings,
    new_kind,
    resumed_kind,
)
from ssl_mask.cli.flags import GUARD, LEAKED, TRAINING, Given, takes
from ssl_mask.cli.options import DryRun, Folds, Json, Quiet, Refit, Repeats, Resume, command
from ssl_mask.cli.output import answering, joined_answer, loading, run_answer
from ssl_mask.config import RunConfig, resolve
from ssl_mask.errors import ConfigError

app = typer.Typer(add_completion=False)
FindLr = Annotated[
    bool,
    typer.Option(
        "--find-lr", metavar="", rich_help_panel="Training",
        help="Learning rate range test: train up to 100 steps while the rate rises, suggest a rate, and write "
        "find-lr.csv and find-lr.svg (with --name: that name). Makes no run.",
    ),
]  # fmt: skip


@command(
    app,
    "sslmask train --data faces",
    "sslmask train --data faces --folds 5 --refit",
    "sslmask train --epochs 20 --name flat --set data.target=joint",
    "sslmask train --data faces --find-lr",
)
@takes(*TRAINING, "init_from", *GUARD, *LEAKED)
def train(
    given: Given,
    folds: Folds = None,
    repeats: Repeats = None,
    refit: Refit = False,
    resume: Resume = None,
    find_lr: FindLr = False,
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
        if find_lr:
            refuse_with_find_lr(asked, resume=resume, dry_run=dry_run)
            answer(range_test(layers, early, quiet=quiet, as_json=as_json))
            return
        if resume is not None:
            kind = resumed_kind(given, resume, early.runs, "train", asked)
        else:
            kind = new_kind(early, asked, dry_run=dry_run)
        answer(run_or_study(
            given, layers, early, kind, asked, verb="train", resume=resume, dry_run=dry_run, quiet=quiet,
            as_json=as_json,
        ))  # fmt: skip


def refuse_with_find_lr(asked: FoldFlags, *, resume: str | None, dry_run: bool) -> None:
    """Raises ConfigError for flags of what is not done with --find-lr."""
    given = {"--folds": asked.folds is not None, "--repeats": asked.repeats is not None, "--refit": asked.refit,
             "--resume": resume is not None, "--dry-run": dry_run}  # fmt: skip
    for flag in (flag for flag, there in given.items() if there):
        why = "continues a run, whose learning rate is settled" if flag == "--resume" else "is of a run or a study"
        raise ConfigError(f"{flag} {why}; --find-lr makes none.", hint=f"Leave out {flag}, or --find-lr.")


def range_test(
    layers: Sequence[Mapping[str, Any]], early: RunConfig, *, quiet: bool, as_json: bool
) -> dict[str, Any]:  # fmt: skip
    """A learning rate range test; returns what `--json` says of it."""
    out = Path(f"{early.name or 'find-lr'}.csv")
    for file in (out, out.with_suffix(".svg")):
        check_file_to_write(file, "--name")
    early.refuse_factors("A learning rate range test")
    with loading("torch, timm", quiet=quiet, as_json=as_json):
        check_folder(early)
        from ssl_mask.workflows.find_lr import find_lr

    found = find_lr(resolve(layers), out=out, quiet=quiet)
    return {"suggested": found.suggested, "diverged": found.range.diverged, "steps": len(found.range.rates),
            "table": str(found.table), "plot": str(found.plot)}  # fmt: skip


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
