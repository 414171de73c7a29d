"""`sslmask evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssl_mask.cli.options import RunsFolder

if TYPE_CHECKING:
    from ssl_mask.workflows.evaluate import Evaluation


def evaluate(
    answers: Annotated[
        Path, typer.Option(help="CSV: image, answer (class number, or a column a factor), maybe `group`.")
    ],
    predictions: Annotated[
        Path | None, typer.Option(help="A predictions.csv. [default: the run's predictions of its test images]")
    ] = None,
    run: Annotated[str, typer.Option("--run", "-r", help="The run that made them; it knows the classes.")] = "latest",
    groups: Annotated[Path | None, typer.Option(help="CSV: image, `group`; intervals are then by group.")] = None,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Score predictions: macro-F1, accuracy, per factor, per class, with bootstrap intervals by group."""
    from ssl_mask.inference.predictor import load_schema
    from ssl_mask.runs.run import find_run
    from ssl_mask.workflows.evaluate import evaluate as score

    made_by = find_run(run, runs)
    show(
        score(
            answers, predictions or made_by.predictions("test") / "predictions.csv", load_schema(made_by), groups=groups
        )
    )


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
