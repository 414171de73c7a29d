"""`sslmask export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.early import check_file_to_write
from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import Json, Quiet, RunName, command, out_option, tta_option
from ssl_mask.cli.output import answering, loading
from ssl_mask.errors import InputError

app = typer.Typer(add_completion=False)


class Format(StrEnum):
    onnx = "onnx"


@command(app, "sslmask export train-001", "sslmask export study-001 --tta --out model.onnx")
@takes("data.cache", "runs", files=False)
def export(
    given: Given,
    run: RunName = "latest",
    to: Annotated[Format, typer.Option(rich_help_panel="Output", help="The format of the file.")] = Format.onnx,
    tta: Annotated[
        bool, tta_option("Test-time augmentation: average over the plain and mirrored view, in the file.")
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            metavar="",
            rich_help_panel="Output",
            help="Also write model-int8.onnx, smaller and faster, with 8-bit weights and activations (calibrated on "
            "training photos), and say what that costs in macro-F1 on the validation photos.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        out_option("export/model.onnx inside the run or the study", "The file to write, such as model.onnx."),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a run or a study as one ONNX file that predicts photos without torch.

    uint8 photos of any size in, calibrated probabilities of the joint classes and of each factor out. Every validation
    photo is predicted by both; where a probability differs by more than 1e-4, nothing is written.
    """
    with answering(as_json) as answer:
        settings = given.alone()
        from ssl_mask.runs.find import is_exported
        from ssl_mask.runs.sources import find_source

        if out is not None:
            if not is_exported(out):
                raise InputError(f"--out {out} does not end in .onnx.", hint="Name a file such as model.onnx.")
            check_file_to_write(out, "--out")
        if not is_exported(run):
            find_source(run, settings.runs)
        with loading("torch, timm, onnx", quiet=quiet, as_json=as_json):
            from ssl_mask.workflows.export import export as run_export

        done = run_export(
            run,
            runs_folder=settings.runs,
            to=to.value,
            tta=tta,
            int8=int8,
            out=out,
            cache=settings.data.cache,
            quiet=quiet,
        )
        small = done.int8_record and done.int8_record.int8
        answer({
            "path": str(done.path),
            "parity": done.record.parity.to_json(),
            "leakage": done.record.leakage,
            "int8": small and {"path": str(done.int8), **small.to_json()},
        })  # fmt: skip
