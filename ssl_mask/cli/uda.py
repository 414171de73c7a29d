"""`sslmask uda`."""

from __future__ import annotations

from typing import Annotated

import typer

from ssl_mask.cli.early import check_folder, check_settings
from ssl_mask.cli.flags import DECLARED, GUARD, TRAINING, UNLABELED, Given, takes
from ssl_mask.cli.options import DryRun, Json, Quiet, Resume, command
from ssl_mask.cli.output import answering, loading, run_answer, study_answer
from ssl_mask.config import resolve

app = typer.Typer(add_completion=False)


@command(app, "sslmask uda --unlabeled extra", "sslmask uda --unlabeled extra --baseline --seeds 0,1,2 --name study")
@takes(*UNLABELED, *TRAINING, "init_from", *GUARD, *DECLARED, shown={"algorithm.name": "uda"})
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
    resume: Resume = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train on labeled and unlabeled images (UDA, FixMatch, FreeMatch, SoftMatch).

    Consistency training: what the network predicts for a weakly augmented unlabeled image is the target for a strongly
    augmented view of it.
    """
    with answering(as_json) as answer:
        layers = [{"algorithm": {"name": "uda"}}, *given.layers(quiet=quiet)]
        early = check_settings(layers, resumed=resume is not None)
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            if resume is None:
                check_folder(early)
            from ssl_mask.runs.study import find_study
            from ssl_mask.workflows.compare import compare, parse_seeds
            from ssl_mask.workflows.train import train

        settings = resolve(layers)
        if baseline or seeds is not None or (resume is not None and find_study(resume, settings.runs) is not None):
            chosen = parse_seeds(seeds, settings.seed)
            answer(study_answer(compare(settings, seeds=chosen, baseline=baseline, resume=resume, quiet=quiet)))
        else:
            answer(run_answer(train(settings, resume=resume, length=given.length, dry_run=dry_run, quiet=quiet)))
