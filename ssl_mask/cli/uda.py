"""`sslmask uda`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.early import (
    FoldFlags,
    check_folder,
    check_folder_to_write,
    check_resumed,
    check_seeds,
    check_settings,
    parse_seeds,
    resumed_kind,
)
from ssl_mask.cli.flags import DECLARED, GUARD, TRAINING, UNLABELED, Given, takes
from ssl_mask.cli.options import DryRun, Folds, Json, Quiet, Refit, Repeats, Resume, command
from ssl_mask.cli.output import answering, joined_answer, loading, run_answer, study_answer
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
        several, kind = baseline or chosen is not None, "factors" if early.factors else "folds" if folds else None
        if several and kind is not None:
            what = "--folds does" if kind == "folds" else "factors do"
            hint = f"Compare two studies of {kind}, or leave out {'--folds' if kind == 'folds' else 'factors'}."
            raise InputError(f"{what} not go with --baseline or --seeds.", hint=hint)
        if resume is not None:
            kind = resumed_kind(given, resume, early.runs, "uda", asked)
            several = kind is None and _check_resumed(given, resume, early.runs, chosen, baseline=baseline)
        else:
            asked.refuse_alone()
            if not dry_run:
                check_folder_to_write(early.runs, "--runs")
        if several and dry_run:
            raise InputError("--dry-run checks a single run.", hint="Leave out --baseline, --seeds and --resume.")
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            if resume is None:
                check_folder(early)
            from ssl_mask.workflows.compare import compare
            from ssl_mask.workflows.factors import train_factors
            from ssl_mask.workflows.folds import train_folds
            from ssl_mask.workflows.train import train

        settings = resolve(layers)
        if kind == "factors":
            answer(joined_answer(train_factors(
                settings, folds=folds, repeats=repeats or 1, refit=refit, verb="uda", resume=resume, dry_run=dry_run,
                quiet=quiet,
            )))  # fmt: skip
        elif kind == "folds":
            answer(joined_answer(train_folds(
                settings, folds=folds or 5, repeats=repeats or 1, refit=refit, verb="uda", resume=resume,
                dry_run=dry_run, quiet=quiet,
            )))  # fmt: skip
        elif several:
            study = compare(settings, seeds=chosen or [settings.seed], baseline=baseline, resume=resume, quiet=quiet)
            answer(study_answer(study))
        else:
            answer(run_answer(train(settings, resume=resume, length=given.length, dry_run=dry_run, quiet=quiet)))


def _check_resumed(given: Given, name: str, runs: Path, seeds: list[int] | None, *, baseline: bool) -> bool:
    """Refuse options that would be ignored; returns whether `name` is a study of several runs, not a run."""
    from ssl_mask.runs.find import find_run
    from ssl_mask.runs.study import find_study, resumed_study

    if find_study(name, runs) is None and seeds is None and not baseline:
        run = find_run(name, runs)
        check_resumed(given, run.config(), run.path, longer=True)
        return False
    study = resumed_study(name, runs, "uda")
    record = study.record()
    check_resumed(given, validate(record.config), study.path, longer=False)
    check_seeds(seeds, baseline, record.settings, study.path)
    return True
