"""`sslmask predict --shard 3/10`: a tenth of a large pool, as one Parquet file that `sslmask pseudo` selects from."""

from __future__ import annotations

from pathlib import Path

from ssl_mask import devices
from ssl_mask.console import Console
from ssl_mask.errors import DataError, nothing_written
from ssl_mask.inference.inputs import rows_to_predict
from ssl_mask.inference.load import load_predictor
from ssl_mask.inference.predictor import Compute, OnBad
from ssl_mask.inference.shards import is_done, shard_metadata, shard_name, write_shard
from ssl_mask.runs.sources import find_source


def predict_shard(
    shard: tuple[int, int],
    run: str | Path = "latest",
    *,
    runs_folder: str | Path = "runs",
    images: str | Path | None = None,
    data: str | Path | None = None,
    tta: bool = False,
    on_bad: OnBad = "fail",
    out: str | Path | None = None,
    batch_size: int = 64,
    cache: str = "off",
    max_pixels: int | None = None,
    quiet: bool = False,
) -> Path:
    """Predict every N-th image of a pool into `shard-0000i-of-0000N.parquet`; a shard that is there is left alone.

    Args:
        shard: (i, N). The other arguments are those of `predict`; `cache` is off, since each image is read once.

    Raises:
        SslMaskError: as `predict`; a shard of that name made by another run or of other images.
    """
    accelerator = devices.make_accelerator("auto")
    console = Console(quiet=quiet or not accelerator.is_main_process)
    source = find_source(run, Path(runs_folder))
    compute = Compute(accelerator, console, batch_size)
    predictor = load_predictor([source], compute, cache=cache, max_pixels=max_pixels)
    pool, name = rows_to_predict(predictor, images, data, console)
    number, count = shard
    rows = pool.with_rows(pool.rows[number::count])
    if not len(rows):
        raise DataError(f"Shard {number}/{count} of {len(pool)} images is empty.", hint="Use fewer shards.")
    path = (Path(out) if out is not None else source.predictions(name) / "shards") / shard_name(number, count)
    metadata = shard_metadata(predictor, rows, tta=tta)
    if is_done(path, metadata):
        console.say(f"Done   {path} was there already")
        return path
    with nothing_written("this shard"):
        predicted = predictor.probs(rows, tta=tta, on_bad=on_bad)
    if accelerator.is_main_process:
        write_shard(path, predicted, metadata)
        unreadable = len(predicted.unreadable)
        console.say(f"Saved  {path}  ({len(rows)} rows, {unreadable} unreadable; leakage: not-checked)")
    accelerator.wait_for_everyone()
    return path
