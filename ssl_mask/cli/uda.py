"""`sslmask uda`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.early import (
    FoldFlags,
    StudyKind,
    check_folder,
    check_resumed,
    check_seeds,
    check_settings,
    new_kind,
    parse_seeds,
    resumed_kind,
)
from ssl_mask.cli.flags import DECLARED, GUARD, TRAINING, UNLABELED, Given, takes
from ssl_mask.cli.options import DryRun, Folds, Json, Quiet, Refit, Repeats, Resume, command
from ssl_mask.cli.output import answering, loading, study_answer
from ssl_mask.cli.train import run_or_study
from ssl_mask.config import resolve, validate
from ssl_mask.errors import InputError

app = typer.Typer(add_completion=False)


@command(app, "sslmask uda --unlabeled extra", "sslmask uda --unlabeled extra --baseline --seeds 0,1,2 --name study")
@takes(*UNLABELED, *TRAINING, "init_from", *GUARD, *DECLARED, "guard.leaked", shown={"algorithm.name": "uda"})
def uda(
    given: Given,
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline",
            metavar="",
            rich_help_panel="Training",
            help="Also train a supervised baseline on the labels alone, and report the difference with its interval.",
        ),
    ] = False,
    seeds: Annotated[
        str | None,
        typer.Option(rich_help_panel="Training", metavar="<list>", help="Several seeds, such as 0,1,2: one run each."),
    ] = None,
    folds: Folds = None,
    repeats: Repeats = None,
    refit: Refit = False,
    resume: Resume = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train on labeled and unlabeled images (UDA, FixMatch, FlexMatch, FreeMatch, SoftMatch, AdaMatch).

    Consistency training: what the network predicts for a weakly augmented unlabeled image is the target for a strongly
    augmented view of it.
    """
    with answering(as_json) as answer:
        layers, asked = [{"algorithm": {"name": "uda"}}, *given.layers(quiet=quiet)], FoldFlags(folds, repeats, refit)
        early, chosen = check_settings(layers, resumed=resume is not None), parse_seeds(seeds)
        several, kind = baseline or chosen is not None, None
        if resume is None:
            kind = new_kind(early, asked, dry_run=dry_run)
        elif several or is_comparison(resume, early.runs):
            several = True
            check_comparison(given, resume, early.runs, asked, chosen, baseline=baseline)
        else:
            kind = resumed_kind(given, resume, early.runs, "uda", asked)
        if several:
            refuse_with_several(kind, dry_run=dry_run)
            with loading("torch, timm", quiet=quiet, as_json=as_json):
                if resume is None:
                    check_folder(early)
                from ssl_mask.workflows.compare import compare

            settings = resolve(layers)
            study = compare(settings, seeds=chosen or [settings.seed], baseline=baseline, resume=resume, quiet=quiet)
            answer(study_answer(study))
        else:
            answer(run_or_study(
                given, layers, early, kind, asked, verb="uda", resume=resume, dry_run=dry_run, quiet=quiet,
                as_json=as_json,
            ))  # fmt: skip


def is_comparison(name: str, runs: Path) -> bool:
    """Whether `--resume name` is a study of runs, and not of folds or of factor models."""
    from ssl_mask.runs.study import find_study

    found = find_study(name, runs) if name != "latest" else None
    return found is not None and found.record().kind not in {"folds", "factors"}


def check_comparison(
    given: Given, name: str, runs: Path, asked: FoldFlags, seeds: list[int] | None, *, baseline: bool
) -> None:
    """Refuse options that would be ignored."""
    from ssl_mask.runs.study import resumed_study

    study = resumed_study(name, runs, "uda")
    record = study.record()
    check_resumed(given, validate(record.config), study.path, longer=False)
    asked.refuse_others(None, study.path)
    check_seeds(seeds, baseline, record.settings, study.path)


def refuse_with_several(kind: StudyKind | None, *, dry_run: bool) -> None:
    """Raises InputError for what a comparison of runs cannot have."""
    if kind is not None:
        what = "--folds does" if kind == "folds" else "factors do"
        hint = f"Compare two studies of {kind}, or leave out {'--folds' if kind == 'folds' else 'factors'}."
        raise InputError(f"{what} not go with --baseline or --seeds.", hint=hint)
    if dry_run:
        raise InputError("--dry-run checks a single run.", hint="Leave out --baseline, --seeds and --resume.")
