"""`sslmask embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.early import check_file_to_write
from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import (
    Engine,
    EngineOption,
    Json,
    Quiet,
    check_engine,
    command,
    image_option,
    out_option,
    run_option,
)
from ssl_mask.cli.output import answering, loading

app = typer.Typer(add_completion=False)


@command(app, "sslmask embed --run flat", "sslmask embed --run study-001 --images extra --out extra.parquet")
@takes("data.cache", "data.max_pixels", "runs", files=False, shown={"data.max_pixels": "that of the run"})
def embed(
    given: Given,
    run: Annotated[str, run_option("A run, or a study (the vectors of its networks side by side)")] = "latest",
    images: Annotated[str | None, image_option("the images that the run was trained and validated on")] = None,
    out: Annotated[Path | None, out_option("a file inside the run or the study", "The Parquet file to write.")] = None,
    engine: EngineOption = Engine.local,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write what a run or a study sees in images: a table of vectors of length 1.

    Columns: path, sha256, group, a label per factor, embedding. Each image is embedded once; the vectors are kept in
    the cache.
    """
    with answering(as_json) as answer:
        settings = given.alone()
        from ssl_mask.runs.sources import find_source

        find_source(run, settings.runs)
        if out is not None:
            check_file_to_write(out, "--out")
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            executor = check_engine(engine)
            from ssl_mask.workflows.embed import embed as embed_images

        written = embed_images(
            run, runs_folder=settings.runs, images=images, out=out, cache=settings.data.cache,
            max_pixels=given.flags.get("data.max_pixels"), engine=executor, quiet=quiet,
        )  # fmt: skip
        answer({"path": str(written)})
