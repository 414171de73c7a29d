"""`sslmask evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import Json, command
from ssl_mask.cli.output import answering, loading

if TYPE_CHECKING:
    from ssl_mask.workflows.evaluate import Evaluation

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
            help="The true labels, as a CSV: the image, then the class number or one column per factor. May have a "
            "column `group`.",
        ),
    ],
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>",
            rich_help_panel="Data",
            show_default="those of the run on its test images",
            help="A predictions.csv.",
        ),
    ] = None,
    run: Annotated[
        str,
        typer.Option(
            "--run",
            "-r",
            metavar="<run>",
            rich_help_panel="Data",
            help="The run that made the predictions: its name, its path, or `latest`.",
        ),
    ] = "latest",
    groups: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>",
            rich_help_panel="Data",
            help="A CSV with the image and its `group` (person): the intervals then count groups, not images.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score predictions against the true labels, with confidence intervals.

    Macro-F1 and accuracy, in total, per factor and per class, with bootstrap intervals over groups (persons), and
    whether the images were seen in training. Writes evaluation.json beside the predictions.
    """
    with answering(as_json) as answer:
        from ssl_mask.runs.run import find_run

        made_by = find_run(run, given.value("runs"))
        with loading("torch, scikit-learn"):
            from ssl_mask.inference.predictor import load_schema
            from ssl_mask.workflows.evaluate import evaluate as score

        table = predictions or made_by.predictions("test") / "predictions.csv"
        scores = score(answers, table, load_schema(made_by), groups=groups)
        answer(json.loads(scores.path.read_text(encoding="utf-8")))
        if not as_json:
            show(scores)


def show(scores: Evaluation) -> None:
    """Print the scores as tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    by = "group" if scores.grouped else "image"
    head = Table(
        "score", "value", f"95 % interval by {by}", title=f"{scores.images} images (leakage: {scores.leakage.status})"
    )
    for name, interval in (("macro-F1", scores.macro_f1), ("accuracy", scores.accuracy)):
        head.add_row(name, f"{interval.value:.4f}", f"{interval.low:.3f} to {interval.high:.3f}")
    if scores.new_images is not None:
        count, new_f1, new_accuracy = scores.new_images
        for name, interval in (("macro-F1", new_f1), ("accuracy", new_accuracy)):
            line = f"{name} of the {count} images never seen"
            head.add_row(line, f"{interval.value:.4f}", f"{interval.low:.3f} to {interval.high:.3f}")
    for factor, values in scores.factors.items():
        head.add_row(f"{factor}: macro-F1, accuracy", f"{values['macro_f1']:.4f}, {values['accuracy']:.4f}")
    classes = Table("class", "F1", "images")
    for name, (f1, support) in scores.classes.items():
        classes.add_row(name, f"{f1:.3f}", str(support))
    console.print(head)
    console.print(classes)
    for sentence in scores.leakage.why:
        console.print(f"Leakage: {sentence}.", soft_wrap=True)
    for path, how in list(scores.leakage.overlap.items())[:5]:
        console.print(f"  {path}: {how}", soft_wrap=True)
    if not scores.grouped:
        console.print("No groups known: images of one person count as independent, so the intervals are too narrow.")
    if scores.empty:
        console.print(f"{scores.empty} empty answers count as wrong.")
    console.print(f"Saved {scores.path}", soft_wrap=True)
