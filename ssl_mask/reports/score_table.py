"""The screen of `sslmask evaluate`: the score, how far it can be trusted, and each class with its interval.

`python -m ssl_mask.reports.score_table` shows it with made-up scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ssl_mask.evaluation.metrics import TOO_FEW, Interval
from ssl_mask.guard.provenance import Provenance
from ssl_mask.reports.tables import Cells, filled, terminal
from ssl_mask.text import shown_lines

OVERLAPS = 5
"""How many of the images that were seen before are named."""


class Scores(Protocol):
    """Of a prediction file, as `ssl_mask.workflows.evaluate` makes them."""

    @property
    def images(self) -> int: ...
    @property
    def macro_f1(self) -> Interval: ...
    @property
    def accuracy(self) -> Interval: ...
    @property
    def grouped(self) -> bool: ...
    @property
    def factors(self) -> Mapping[str, Mapping[str, float]]: ...
    @property
    def classes(self) -> Mapping[str, tuple[Any, ...]]: ...
    @property
    def empty(self) -> int: ...
    @property
    def leakage(self) -> Provenance: ...
    @property
    def new_images(self) -> tuple[int, Interval, Interval] | None: ...
    @property
    def path(self) -> Path | None: ...


def print_scores(scores: Scores, console: Console) -> None:
    """Print everything that `evaluate` found, the most important first."""

    def line(text: str, *, whole: bool = True) -> None:
        console.print(Text(shown_lines(text)), soft_wrap=whole)  # a path is never broken

    leakage, f1 = scores.leakage, scores.macro_f1
    line(f"\nmacro-F1 {f1.value:.4f} on {scores.images} images, 95 % interval {_range(f1)}")
    line(f"Leakage: {leakage.sentence}", whole=False)
    met = {**leakage.overlap, **leakage.review}
    for path, how in list(met.items())[:OVERLAPS]:
        line(f"  {path}: {how}")
    if len(met) > OVERLAPS:
        line(f"  … and {len(met) - OVERLAPS} more images")
    line("")
    console.print(score_table(scores))
    if len(scores.factors) > 1:
        console.print(factor_table(scores))
    console.print(class_table(scores))
    if not scores.grouped:
        line(
            "No groups (persons) are known: each image counts by itself, so the intervals are too narrow.", whole=False
        )
    if scores.empty:
        line(f"{scores.empty} predictions are empty and count as wrong.")
    if scores.path is not None:
        line(f"Saved  {scores.path}")


def score_table(scores: Scores) -> Table:
    """Of all images and, where training has seen some of them, of those that it has not seen."""
    rows = [_interval_row("macro-F1", scores.macro_f1), _interval_row("accuracy", scores.accuracy)]
    if scores.new_images is not None:
        count, *intervals = scores.new_images
        names = ("macro-F1", "accuracy")
        rows += [_interval_row(f"{n}, the {count} images not seen", i) for n, i in zip(names, intervals, strict=True)]
    by = "group" if scores.grouped else "image"
    return terminal(filled(("score", "value", f"95 % interval\nby {by}"), rows), "Scores")


def factor_table(scores: Scores) -> Table:
    rows = [(name, f"{v['macro_f1']:.4f}", f"{v['accuracy']:.4f}") for name, v in scores.factors.items()]
    return terminal(filled(("factor", "macro-F1", "accuracy"), rows), "Factors")


def class_table(scores: Scores) -> Table:
    return terminal(class_cells(scores.classes), "Classes")


def class_cells(classes: Mapping[str, tuple[Any, ...]]) -> Cells:
    """A row per class: its F1, the interval, and how many images it has; of few images nothing can be said.

    Args:
        classes: name -> F1, images and, where there is one, the interval of F1.
    """
    rows = [_class_row(name, *found) for name, found in classes.items()]
    return filled(("class", "F1", "95 % interval", "images"), rows)


def _class_row(name: str, f1: float, images: int, interval: Interval | None = None) -> tuple[str, ...]:
    if images <= TOO_FEW:
        return name, f"{f1:.3f}" if images else "", "too few to say" if images else "no images", str(images)
    return name, f"{f1:.3f}", _range(interval) if interval is not None else "", str(images)


def _interval_row(name: str, interval: Interval) -> tuple[str, str, str]:
    return name, f"{interval.value:.4f}", _range(interval)


def _range(interval: Interval) -> str:
    return f"{interval.low:.3f} to {interval.high:.3f}"


if __name__ == "__main__":
    from ssl_mask.reports import samples

    print_scores(samples.scores(), Console(highlight=False))
