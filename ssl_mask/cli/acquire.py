"""`sslmask acquire`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ssl_mask.cli.early import check_folder_to_write
from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import GroupRegex, Json, Quiet, command
from ssl_mask.cli.output import answering, loading
from ssl_mask.selection.acquisition import BUDGET, DEFAULT

app = typer.Typer(add_completion=False)


class By(StrEnum):
    mixed = "mixed"
    uncertainty = "uncertainty"
    disagreement = "disagreement"
    coverage = "coverage"
    rare = "rare"
    random = "random"


USUAL = By(DEFAULT)


@command(
    app,
    "sslmask acquire --pool extra --budget 20",
    r'sslmask acquire --run study-001 --pool extra --by disagreement --group-regex "p\d+"',
)
@takes(
    "seed", "data.on_bad", "data.cache", "data.max_pixels", "guard.mode", "guard.drop_overlap", "name", "runs",
    files=False, shown={"data.max_pixels": "that of the run", "guard.mode": "that of the run"},
)  # fmt: skip
def acquire(
    given: Given,
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run", "-r", metavar="<run>", rich_help_panel="Data", show_default="latest",
            help="A run or a study whose models choose: its name, its path, or `latest`. May be repeated.",
        ),
    ] = None,
    pool: Annotated[
        list[str] | None,
        typer.Option(
            "--pool", "-p", metavar="<path>", rich_help_panel="Data", show_default="the unlabeled images of the run",
            help="Images to choose from: a folder, a quoted glob, or a CSV with an image column and perhaps a group "
            "column. May be repeated. Unlabeled images of the data set itself join them.",
        ),
    ] = None,
    group_regex: GroupRegex = None,
    budget: Annotated[
        int,
        typer.Option(min=1, max=10**6, metavar="<number>", rich_help_panel="Prediction",
                     help="Groups (persons) to choose, with all of their images."),
    ] = BUDGET,
    by: Annotated[
        By,
        typer.Option(
            rich_help_panel="Prediction",
            help="`uncertainty`: the models are least sure; `disagreement`: they contradict each other (a study of "
            "folds, or several --run); `coverage`: unlike all labeled images; `rare`: likely of classes with few "
            "labels; `mixed`: unlike each other among three times as many uncertain ones; `random`.",
        ),
    ] = USUAL,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Choose the persons (groups) of a pool that are worth labeling next, and write a CSV to fill in.

    Writes acquire.csv (a row an image, with empty label columns), acquire.png (a row of pictures a group) and
    acquire.json. Filled in, the CSV joins the training images: --set data.extra_labels=FILE; no split moves. The pool
    is compared with the test images first, as training images are.
    """
    with answering(as_json) as answer:
        settings, sources = given.alone(), run or ["latest"]
        from ssl_mask.runs.sources import find_source

        for source in sources:
            find_source(source, settings.runs)
        check_folder_to_write(settings.runs, "--runs")
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            from ssl_mask.workflows import acquire as workflow

        found = workflow.acquire(
            sources, runs_folder=settings.runs, pool=pool or (), budget=budget, by=by.value, group_regex=group_regex,
            seed=settings.seed, name=settings.name, on_bad=settings.data.on_bad, guard=given.flags.get("guard.mode"),
            drop_overlap=settings.guard.drop_overlap, cache=settings.data.cache,
            max_pixels=given.flags.get("data.max_pixels"), quiet=quiet,
        )  # fmt: skip
        answer({
            "path": str(found.path), "table": str(found.table), "groups": found.record.groups,
            "images": found.record.images, "leakage": found.record.leakage,
        })  # fmt: skip
