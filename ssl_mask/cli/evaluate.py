"""`sslmask evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import Json, command, run_option
from ssl_mask.cli.output import answering, loading

app = typer.Typer(add_completion=False)


@command(
    app,
    "sslmask evaluate --answers eval_answers.csv",
    "sslmask evaluate --answers eval_answers.csv --run flat --groups persons.csv",
)
@takes("runs", files=False)
def evaluate(
    given: Given,
    answers: Annotated[
        Path,
        typer.Option(
            metavar="<path>",
            rich_help_panel="Data",
            help="The true labels, as a CSV: an image column, and one column with the class or one per factor. "
            "May have a column `group`.",
        ),
    ],
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>",
            rich_help_panel="Data",
            show_default="those of the run on the test images",
            help="A predictions.csv.",
        ),
    ] = None,
    run: Annotated[str, run_option("The run, study or gallery that made the predictions")] = "latest",
    groups: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>",
            rich_help_panel="Data",
            help="A CSV with an image column and its `group` (person): the intervals then count groups, not images.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score predictions against the true labels, with confidence intervals.

    Macro-F1 and accuracy, in total, per factor and per class, with bootstrap intervals over groups (persons), and
    whether the images were seen in training. Writes evaluation.json beside the predictions.
    """
    with answering(as_json) as answer:
        from ssl_mask.runs.sources import find_source

        made_by = find_source(run, given.alone().runs)
        with loading("torch, scikit-learn", as_json=as_json):
            from rich.console import Console

            from ssl_mask.reports.score_table import print_scores
            from ssl_mask.workflows.evaluate import evaluate as score

        scores = score(answers, predictions, run=made_by.path, groups=groups)
        answer(scores.to_json())
        if not as_json:
            print_scores(scores, Console(highlight=False))
