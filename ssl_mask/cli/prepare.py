"""`sslmask prepare`."""

from __future__ import annotations

from dataclasses import replace
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
    "sslmask prepare --data photos --out photos-drawn --draw-masks mask=none,worn,incorrect",
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
    draw_masks: Annotated[
        str | None,
        typer.Option(
            metavar="<factor>=<bare>,<worn>,<wrong>", rich_help_panel="Data",
            help="Draw masks into bare faces of the training images instead. Name the factor, its class without mask, "
            "that of a mask over nose and mouth and, if any, that of a mask below the nose or on the chin.",
        ),
    ] = None,
    extra_labels: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>", rich_help_panel="Data",
            help="With `--draw-masks`: a CSV of further faces in the data folder, as data.extra_labels takes it.",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Write a new data folder with the faces cut out of people photos, or their background taken away.

    All images of the folder are prepared alike, test and unlabeled ones too; names, tables and groups stay. The folder
    itself is only read. prepared.csv says what was done to each photo and what it was made of: the leakage guard takes
    a part of a test photo for that test photo. After an interruption the same command continues.

    With --draw-masks the photos stay as they are, and training images of bare faces are there again in drawn/ with a
    mask drawn on; drawn/synthetic.csv has their labels. They join the training with --set data.extra_labels=FILE, never
    a validation part or a test set, and not where their person is validated on.
    """
    with answering(as_json) as answer:
        data = given.alone().data
        from ssl_mask.data.prepare.drawn_photos import parse_draw
        from ssl_mask.data.prepare.one_photo import PrepareSettings

        settings = PrepareSettings(faces.value, margin, min_confidence, background.value, data.max_pixels)
        if draw_masks is not None or extra_labels is not None:
            draw = parse_draw(draw_masks or "", extra_labels)
            settings = replace(settings, faces="keep", draw=draw)
        check_folder_to_write(out.absolute().parent, "--out")
        with loading("the face detector", quiet=quiet, as_json=as_json):
            from ssl_mask.workflows.prepare import prepare as run_prepare

        done = run_prepare(data.root, out, settings, quiet=quiet)
        answer({
            "path": str(done.path), "photos": len(done.rows), "counts": done.counts, "several_faces": done.several,
            "synthetic": str(done.synthetic) if done.synthetic else None,
        })  # fmt: skip
