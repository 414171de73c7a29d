"""`sslmask embed`: what a run or a study sees in images, as a Parquet table of vectors."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ssl_mask import cluster, devices
from ssl_mask.console import Console
from ssl_mask.data.embeddings import write_embeddings
from ssl_mask.data.layouts.images import read_images
from ssl_mask.errors import nothing_written
from ssl_mask.inference.embeddings import embedded, named_source
from ssl_mask.inference.inputs import pool_name
from ssl_mask.inference.labeled import LABELED, labeled_images
from ssl_mask.inference.load import load_predictor
from ssl_mask.inference.predictor import Compute
from ssl_mask.inference.shared_out import shared_out


def embed(
    run: str | Path = "latest",
    *,
    runs_folder: str | Path = "runs",
    images: str | Path | None = None,
    out: str | Path | None = None,
    cache: str = "auto",
    max_pixels: int | None = None,
    engine: cluster.Engine = "local",
    quiet: bool = False,
) -> Path:
    """Write the embeddings of images: vectors of length 1 with path, SHA-256, group and labels.

    Each image is embedded once: vectors are kept in the cache folder, by the bytes of the image and of the weights.

    Args:
        run: name or path of a run or a study, or `latest`. Of a study, the vectors of its networks side by side.
        images: a folder, an image, a glob, or a CSV with an image column. None: the images that the run was trained and
            validated on, with their labels.
        out: the file. None: `embeddings/<images>.parquet` in the folder of the run.
        cache: folder of the cache, `auto` or `off`.
        max_pixels: an image with more pixels is refused. None: as the run was configured.
        engine: `ray`: the processes of a cluster, or of a local Ray, embed; the same bytes.

    Returns:
        The file.

    Raises:
        SslMaskError: no run, no images, an unreadable image, no room to write.

    Examples:
        >>> import ssl_mask
        >>> ssl_mask.embed("first", quiet=True).name
        'labeled.parquet'
    """
    accelerator = devices.make_accelerator("auto")
    console = Console(quiet=quiet or not accelerator.is_main_process)
    with nothing_written(), cluster.engine(engine):
        source, compute = named_source(run, Path(runs_folder)), Compute(accelerator, console)
        load = partial(load_predictor, [source], cache=cache, max_pixels=max_pixels)
        predictor = load(compute)
        rows = labeled_images(source) if images is None else read_images(images, source.schema, source.submission)
        name = LABELED if images is None else pool_name(images)
        path = Path(out) if out is not None else source.path / "embeddings" / f"{name}.parquet"
        console.say(f"Embed  {len(rows)} images with {source.name}")
        by = shared_out(predictor, load, compute)
        table = embedded(source, predictor, rows, str(images or LABELED), by=by)
    if accelerator.is_main_process:
        write_embeddings(path, table)
        console.say(f"Saved  {path}  ({len(table)} rows, {table.vectors.shape[1]} numbers each)")
    accelerator.wait_for_everyone()
    return path
