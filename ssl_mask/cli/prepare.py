"""`sslmask prepare`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.early import check_folder_to_write
from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import Json, Quiet, command
from ssl_mask.cli.output import answering, loading

app = typer.Typer(add_completion=False)


class FacesOption(StrEnum):
    crop = "crop"
    keep = "keep"


class BackgroundOption(StrEnum):
    keep = "keep"
    blur = "blur"
    fill = "fill"


@command(
    app,
    "sslmask prepare --data photos --out photos-faces",
    "sslmask prepare --data photos --out photos-plain --faces keep --background blur",
)
@takes("data.root", "data.max_pixels", files=False)
def prepare(
    given: Given,
    out: Annotated[
        Path, typer.Option(metavar="<path>", rich_help_panel="Output", help="The new data folder, not there yet.")
    ],
    faces: Annotated[
        FacesOption,
        typer.Option(rich_help_panel="Data", help="`crop`: a square around the face; `keep`: the whole photo."),
    ] = FacesOption.crop,
    margin: Annotated[
        float,
        typer.Option(
            min=0, max=10, metavar="<number>", rich_help_panel="Data",
            help="Around the face, on each side, as a share of its longer side.",
        ),
    ] = 0.3,
    min_confidence: Annotated[
        float,
        typer.Option(
            min=0.01, max=0.99, metavar="<number>", rich_help_panel="Data",
            help="A face that the detector is less sure of is none. A photo without a face is kept as it is.",
        ),
    ] = 0.5,
    background: Annotated[
        BackgroundOption,
        typer.Option(rich_help_panel="Data", help="Around the person: `keep` it, `blur` it, or `fill` it with grey."),
    ] = BackgroundOption.keep,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Write a new data folder with the faces cut out of people photos, or their background taken away.

    All images of the folder are prepared alike, test and unlabeled ones too; names, tables and groups stay. The folder
    itself is only read. prepared.csv says what was done to each photo and what it was made of: the leakage guard takes
    a part of a test photo for that test photo. After an interruption the same command continues.
    """
    with answering(as_json) as answer:
        data = given.alone().data
        from ssl_mask.data.prepare.one_photo import PrepareSettings

        settings = PrepareSettings(faces.value, margin, min_confidence, background.value, data.max_pixels)
        check_folder_to_write(out.absolute().parent, "--out")
        with loading("the face detector", quiet=quiet, as_json=as_json):
            from ssl_mask.workflows.prepare import prepare as run_prepare

        done = run_prepare(data.root, out, settings, quiet=quiet)
        answer({
            "path": str(done.path), "photos": len(done.rows), "counts": done.counts, "several_faces": done.several,
        })  # fmt: skip
