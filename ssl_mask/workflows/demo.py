"""`sslmask demo`: draw a small data set, train, predict and score on it, so that a newcomer sees the whole way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssl_mask.config import parse_assignments, resolve
from ssl_mask.console import Console
from ssl_mask.demo_data.draw import DemoSummary, draw_demo
from ssl_mask.runs.view import Run
from ssl_mask.workflows.evaluate import Evaluation, evaluate
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.train import train

SETTINGS = ("train.steps=120", "model.image_size=96", "train.eval_every=60")
"""Short: under three minutes on two cores."""


def demo(
    into: Path, *, persons: int = 60, seed: int = 0, data_only: bool = False, quiet: bool = False
) -> tuple[DemoSummary, Run | None, Evaluation | None]:
    """Draw the demo data into a folder and, unless `data_only`, train, predict and score there.

    Raises:
        DataError: the folder holds something else.

    Examples:
        >>> from pathlib import Path
        >>> import ssl_mask
        >>> summary, run, scores = ssl_mask.demo(Path("faces"), persons=12, data_only=True, quiet=True)
        >>> summary.train_images
        84
    """
    console = Console(quiet=quiet)
    with console.counting("Drawing") as tell:
        summary = draw_demo(into, persons=persons, seed=seed, on_progress=tell)
    console.say(
        f"Drew   {summary.train_persons} persons ({summary.train_images} images), {summary.eval_images} eval images, "
        f"{summary.extra_images} extra, in {into}"
    )
    console.say(
        f"       planted: {summary.label_errors} label errors, {summary.leaked} altered eval images in extra/ "
        "(truth.json lists them)"
    )
    if data_only:
        return summary, None, None
    layers: list[dict[str, Any]] = [
        parse_assignments(SETTINGS),
        {
            "preset": "laptop",  # on a GPU too: its own preset downloads weights, and the demo needs no network
            "seed": seed,
            "runs": str(into / "runs"),
            "data": {"root": str(into), "layout": "mask18"},
            "guard": {"cards": str(into / "data_cards")},
        },
    ]
    run = train(resolve(layers), quiet=quiet)
    assert run is not None  # only a dry run returns none
    predictions = predict([run.path], runs_folder=into / "runs", quiet=quiet)
    scores = evaluate(into / "eval_answers.csv", predictions.path, run=run.path)
    return summary, run, scores
