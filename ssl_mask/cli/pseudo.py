"""`sslmask pseudo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.early import check_folder, check_folder_to_write, check_resumed, check_settings
from ssl_mask.cli.flags import DECLARED, GUARD, TRAINING, UNLABELED, Given, takes
from ssl_mask.cli.options import Json, Quiet, command
from ssl_mask.cli.output import answering, loading, run_answer
from ssl_mask.config import resolve

app = typer.Typer(add_completion=False)
PSEUDO = (
    "pseudo.rounds", "pseudo.rule", "pseudo.target_precision", "pseudo.threshold", "pseudo.labels",
    "pseudo.teachers", "pseudo.agreement",
    "pseudo.warm_start", "pseudo.group_consistency", "pseudo.from_predictions",
)  # fmt: skip


@command(
    app,
    "sslmask pseudo --unlabeled extra",
    "sslmask pseudo --unlabeled extra --config pseudo_soft_laptop --teacher uda-001 --teacher uda-002",
)
@takes(*UNLABELED, *PSEUDO, *TRAINING, *GUARD, *DECLARED, "guard.leaked", shown={"algorithm.name": "supervised"})
def pseudo(
    given: Given,
    audit_answers: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>",
            rich_help_panel="Pseudo-labels",
            help="True labels of the unlabeled images (CSV: image, answer). They are reported, never trained on.",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="<run>", rich_help_panel="Training", help="Continue an interrupted run: its name or path."
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train in rounds: pseudo-label the unlabeled images, train on them, repeat.

    Round 0 trains on labels only. Each later round predicts the unlabeled images, selects pseudo-labels and trains on
    labels and pseudo-labels. The round with the best validation score is kept.
    """
    with answering(as_json) as answer:
        layers = given.layers(quiet=quiet)
        if "pseudo.from_predictions" in given.flags and "pseudo.rounds" not in given.flags:
            layers.append({"pseudo": {"rounds": 1}})  # these predictions serve one round
        early = check_settings(layers, resumed=resume is not None, recipe="pseudo_")
        if resume is not None:
            from ssl_mask.runs.run import RunDir
            from ssl_mask.runs.study import resumed_study

            home = RunDir(resumed_study(resume, early.runs, "pseudo").home)
            check_resumed(given, home.config(), home.path, longer=False)
        else:
            check_folder_to_write(early.runs, "--runs")
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            if resume is None:
                check_folder(early)
            from ssl_mask.workflows.pseudo import pseudo as run_rounds

        settings = resolve(layers, recipe="pseudo_")
        answer(run_answer(run_rounds(settings, resume=resume, audit_answers=audit_answers, quiet=quiet)))
