"""`sslmask predict --shard 3/10`: a tenth of a large pool, as one Parquet file that `sslmask pseudo` selects from.

`--shard all/10` makes all ten, one after another, or on the machines of a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ssl_mask import cluster, devices
from ssl_mask.console import Console
from ssl_mask.errors import DataError, nothing_written
from ssl_mask.inference.inputs import rows_to_predict
from ssl_mask.inference.load import load_predictor
from ssl_mask.inference.predictor import Compute, OnBad, Predictor
from ssl_mask.inference.shards import is_done, shard_metadata, shard_name, weights_digest, write_shard
from ssl_mask.inference.shared_out import Part, keep_part, recipe_of
from ssl_mask.runs.sources import find_source


def predict_shard(shard: tuple[int, int], run: str | Path = "latest", **how: Any) -> Path:
    """Predict every N-th image of a pool into `shard-0000i-of-0000N.parquet`; a shard that is there is left alone.

    Args:
        shard: (i, N). The other arguments, and what is raised, are those of `predict_shards`.
    """
    number, count = shard
    (path,) = predict_shards([number], count, run, **how)
    return path


def predict_shards(
    numbers: Sequence[int],
    count: int,
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
    engine: cluster.Engine = "local",
    quiet: bool = False,
) -> list[Path]:
    """Predict some of `count` shards of a pool, of which each has every `count`-th image; what is there is left alone.

    Args:
        numbers: of the shards, from 0. The other arguments are those of `predict`; `cache` is off, since each image is
            read once.

    Raises:
        SslMaskError: as `predict`; a shard of that name made by another run or of other images.
    """
    accelerator = devices.make_accelerator("auto")
    console = Console(quiet=quiet or not accelerator.is_main_process)
    source = find_source(run, Path(runs_folder))
    compute = Compute(accelerator, console, batch_size)
    load = partial(load_predictor, [source], cache=cache, max_pixels=max_pixels)
    predictor = load(compute)
    pool, name = rows_to_predict(predictor, images, data, console)
    folder = Path(out) if out is not None else source.predictions(name) / "shards"
    weights, parts, paths = weights_digest(predictor), list[Part](), list[Path]()
    for number in numbers:
        rows = pool.with_rows(pool.rows[number::count])
        if not len(rows):
            raise DataError(f"Shard {number}/{count} of {len(pool)} images is empty.", hint="Use fewer shards.")
        paths.append(folder / shard_name(number, count))
        if is_done(paths[-1], shard_metadata(weights, rows, tta=tta)):
            console.say(f"Done   {paths[-1]} was there already")
        else:
            parts.append(Part(rows, paths[-1]))
    with nothing_written("this shard"), cluster.engine(engine if parts else "local"):
        if cluster.in_use():
            work = partial(keep_part, recipe_of(predictor, load, compute), tta=tta, on_bad=on_bad)
            each = cluster.spread(work, parts, cpus=work.args[0].threads, gpu=True)
        else:
            each = _one_by_one(predictor, parts, accelerator, tta=tta, on_bad=on_bad)
        for part, unreadable in zip(parts, each, strict=True):
            console.say(f"Saved  {part.shard}  ({len(part.rows)} rows, {unreadable} unreadable; leakage: not-checked)")
    accelerator.wait_for_everyone()
    return paths


def _one_by_one(
    predictor: Predictor, parts: Sequence[Part], accelerator: Accelerator, *, tta: bool, on_bad: OnBad
) -> Iterator[int]:
    """Write each shard; yields how many of its images are unreadable."""
    weights = weights_digest(predictor)
    for rows, path in parts:
        predicted = predictor.probs(rows, tta=tta, on_bad=on_bad)
        if accelerator.is_main_process and path is not None:
            write_shard(path, predicted, shard_metadata(weights, rows, tta=tta))
        yield len(predicted.unreadable)
