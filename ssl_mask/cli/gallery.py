"""`sslmask gallery build`, `add`, `remove`, `show` and `search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssl_mask.cli.early import check_file_to_write, check_folder_to_write
from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import GroupRegex, Json, Quiet, command, out_option, run_option
from ssl_mask.cli.output import answering, loading
from ssl_mask.text import shown

if TYPE_CHECKING:
    from ssl_mask.workflows.gallery import Gallery
    from ssl_mask.workflows.gallery_search import Hit

app = typer.Typer(
    help="Predict by the nearest labeled images, add a class without training, search images.",
    no_args_is_help=True, add_completion=False,
)  # fmt: skip
Name = Annotated[
    str,
    typer.Option(
        "--gallery", "-g", metavar="<gallery>", rich_help_panel="Data",
        help="The gallery: its name, its path, or `latest`: the one that was changed last.",
    ),
]  # fmt: skip


@command(app, "sslmask gallery build --run flat", "sslmask gallery build --run study-001 --name faces --neighbours 20")
@takes(
    "guard.mode",
    "guard.drop_overlap",
    "data.cache",
    "name",
    "runs",
    files=False,
    shown={"guard.mode": "that of the run"},
)
def build(
    given: Given,
    run: Annotated[str, run_option("The run or the study whose network embeds")] = "latest",
    embeddings: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>",
            rich_help_panel="Data",
            show_default="the images that the run was trained and validated on",
            help="A table of `sslmask embed` with labels.",
        ),
    ] = None,
    neighbours: Annotated[
        int,
        typer.Option(
            min=1,
            max=10_000,
            metavar="<number>",
            rich_help_panel="Prediction",
            help="Persons (groups) that vote, each with its nearest image.",
        ),
    ] = 10,
    temperature: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=100,
            metavar="<number>",
            rich_help_panel="Prediction",
            help="Of the votes: a neighbour whose cosine is higher by this counts 2.7 times as much.",
        ),
    ] = 0.1,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Build a gallery of the labeled images of a run or a study.

    A gallery predicts: sslmask predict --run GALLERY. It is compared with the test images, as training images are.
    """
    with answering(as_json) as answer:
        settings = given.alone()
        from ssl_mask.runs.sources import find_source

        find_source(run, settings.runs)
        check_folder_to_write(settings.runs, "--runs")
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            from ssl_mask.workflows import gallery as workflow

        made = workflow.build_gallery(
            run, runs_folder=settings.runs, embeddings=embeddings, name=settings.name, k=neighbours,
            temperature=temperature, guard=given.flags.get("guard.mode"),
            drop_overlap=settings.guard.drop_overlap, cache=settings.data.cache, quiet=quiet,
        )  # fmt: skip
        answer(changed(made))


@command(
    app,
    "sslmask gallery add respirator photos/respirator",
    r'sslmask gallery add "worn/male/<30" more -g faces --group-regex "p\d+"',
)
@takes("guard.mode", "guard.drop_overlap", "data.cache", "runs", files=False, shown={"guard.mode": "that of the run"})
def add(
    given: Given,
    name: Annotated[
        str,
        typer.Argument(
            metavar="<class>",
            help="The class, new or known; with several factors a class of each, separated by slashes.",
        ),
    ],
    images: Annotated[
        str,
        typer.Argument(metavar="<images>", help="A folder, an image, a quoted glob, or a CSV of images."),
    ],
    gallery: Name = "latest",
    group_regex: GroupRegex = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Put images of one class into a gallery. Nothing is trained.

    Prints how well the old classes are told before and after, and the new one. All images of a person (group) have one
    vote. A new class changes a submission to class names, since the numbers of the old classes would change.
    """
    with answering(as_json) as answer:
        settings = given.alone()
        _check(gallery, settings.runs)
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            from ssl_mask.workflows import gallery as workflow

        made = workflow.add_to_gallery(
            name, images, gallery=gallery, runs_folder=settings.runs, group_regex=group_regex,
            guard=given.flags.get("guard.mode"), drop_overlap=settings.guard.drop_overlap, cache=settings.data.cache,
            quiet=quiet,
        )  # fmt: skip
        answer(changed(made))


@command(app, "sslmask gallery remove respirator", "sslmask gallery remove photos/respirator/blurred.jpg -g faces")
@takes("runs", files=False)
def remove(
    given: Given,
    what: Annotated[
        str,
        typer.Argument(metavar="<what>", help="A class as it was added; or a folder, an image or a quoted glob."),
    ],
    gallery: Name = "latest",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Take images out of a gallery: those that were added as a class, or those of a folder.

    What was added last and is removed leaves the gallery of before, bit by bit.
    """
    with answering(as_json) as answer:
        runs = given.alone().runs
        _check(gallery, runs)
        with loading("torch", quiet=quiet, as_json=as_json):
            from ssl_mask.workflows import gallery as workflow

        answer(changed(workflow.remove_from_gallery(what, gallery=gallery, runs_folder=runs, quiet=quiet)))


@command(app, "sslmask gallery show", "sslmask gallery show -g faces --json")
@takes("runs", files=False)
def show(given: Given, gallery: Name = "latest", as_json: Json = False) -> None:
    """Show what is in a gallery, what it was built of, and whether that was compared with the test images."""
    with answering(as_json) as answer:
        from ssl_mask.reports.gallery_card import gallery_card
        from ssl_mask.reports.terminal import print_page
        from ssl_mask.runs.gallery import find_gallery

        found = find_gallery(gallery, given.alone().runs)
        record = found.record()
        answer({"gallery": str(found.path), **record.to_json()})
        if not as_json:
            from rich.console import Console

            print_page(gallery_card(found), Console())


@command(
    app, "sslmask gallery search photo.jpg", "sslmask gallery search eval/images -g faces --count 5 --out near.png"
)
@takes("data.cache", "runs", files=False)
def search(
    given: Given,
    images: Annotated[
        str,
        typer.Argument(metavar="<images>", help="An image, a folder, a quoted glob, or a CSV of images."),
    ],
    gallery: Name = "latest",
    count: Annotated[
        int,
        typer.Option(
            min=1, max=1000, metavar="<number>", rich_help_panel="Prediction", help="Neighbours of each image."
        ),
    ] = 10,
    out: Annotated[Path | None, out_option("none", "A PNG to write: each image and its neighbours.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Print the nearest images of a gallery with their cosines: of each person (group) the nearest one."""
    with answering(as_json) as answer:
        settings = given.alone()
        _check(gallery, settings.runs)
        if out is not None:
            check_file_to_write(out, "--out")
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            from ssl_mask.workflows import gallery_search as workflow

        hits = workflow.search_gallery(
            images, gallery=gallery, runs_folder=settings.runs, k=count, cache=settings.data.cache, quiet=quiet
        )
        answer({image: [hit._asdict() for hit in near] for image, near in hits.items()})
        if out is not None:
            workflow.write_neighbours(hits, out)
        if not as_json:
            for image, near in hits.items():
                print(shown(image))
                print("\n".join(map(hit_line, near)))
        if out is not None and not quiet:
            print(f"Saved {out}")


def hit_line(hit: Hit) -> str:
    """A neighbour in one line."""
    return shown(f"  {hit.cosine:.3f}  {hit.label}  {hit.group or '(no group)'}  {hit.path}")


def changed(made: Gallery) -> dict[str, Any]:
    """What `--json` says of a gallery that was built or changed."""
    record = made.record
    return {
        "gallery": str(made.path), "images": record.images, "changed": made.images, "groups": made.groups,
        "leakage": record.leakage, "classes": record.label_schema.to_json(),
        "scores": made.scores and made.scores._asdict(),
    }  # fmt: skip


def _check(gallery: str, runs: Path) -> None:
    """Raises DataError where there is no such gallery, before anything heavy is imported."""
    from ssl_mask.runs.gallery import find_gallery

    find_gallery(gallery, runs).record()
