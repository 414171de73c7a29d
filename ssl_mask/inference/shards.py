"""`sslmask predict --shard 3/10`: a tenth of a large pool, as one Parquet file that `sslmask pseudo` selects from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_mask import devices
from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.predictions import write_predictions
from ssl_mask.errors import DataError, InputError
from ssl_mask.inference.predictor import load_member, member_probs, open_images, readable, with_digests_of
from ssl_mask.pseudo.sharded import MADE_BY, MIRRORED
from ssl_mask.pseudo.streaming import shard_name
from ssl_mask.runs.run import find_run
from ssl_mask.workflows.predict import find_pool

ROWS_OF = b"sslmask.rows"
"""Key in a shard's metadata: which images it is about."""
_ROW_GROUP = 65_536


def parse_shard(text: str) -> tuple[int, int]:
    """`3/10` as (3, 10): shard 3 of 10, from 0.

    Raises:
        InputError: not of that form, or no such shard.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not int(match[1]) < int(match[2]) < 100_000:
        raise InputError(f"--shard {text!r} is not a shard.", hint="Shards count from 0: 0/10, 1/10, … 9/10.")
    return int(match[1]), int(match[2])


def predict_shard(
    shard: tuple[int, int],
    run: str | Path = "latest",
    *,
    runs_folder: Path = Path("runs"),
    images: Path | None = None,
    data: Path | None = None,
    tta: bool = False,
    on_bad: Literal["fail", "skip"] = "fail",
    out: Path | None = None,
    batch_size: int = 64,
    cache: str = "off",
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
    member = load_member(find_run(run, runs_folder), accelerator)
    pool, name = find_pool(member, images, data, console)
    number, count = shard
    rows = pool.with_rows(pool.rows[number::count])
    if not len(rows):
        raise DataError(f"Shard {number}/{count} of {len(pool)} images is empty.", hint="Use fewer shards.")
    path = (out or member.run.predictions(name) / "shards") / shard_name(number, count)
    about = {
        MADE_BY: member.sha256.encode(), ROWS_OF: rows_hash(rows).encode(), MIRRORED: b"yes" if tta else b"no"
    }  # fmt: skip
    if is_done(path, about):
        console.say(f"Done   {path} was there already")
        return path
    opened = open_images(member, rows, cache, tolerant=on_bad == "skip", accelerator=accelerator, console=console)
    probs = np.full((len(rows), len(member.schema.joint_classes)), np.nan, dtype=np.float32)
    if good := readable(rows, opened):
        workers = devices.settle_workers("auto", accelerator) if cache == "off" else 0
        probs[good] = member_probs(member, opened.images, accelerator, batch_size, workers, tta, console)
    if accelerator.is_main_process:
        write_shard(path, with_digests_of(rows, opened), probs, about)
        console.say(f"Saved  {path}  ({len(rows)} rows, {len(rows) - len(good)} unreadable; leakage: not-checked)")
    accelerator.wait_for_everyone()
    return path


def rows_hash(rows: Manifest) -> str:
    """Of the paths alone: a done shard is recognised without reading an image."""
    return rows.with_rows(r._replace(source="", digest=str(rows.root / r.path)) for r in rows.rows).content_hash


def is_done(path: Path, about: dict[bytes, bytes]) -> bool:
    """Whether the shard is there.

    Raises:
        DataError: it is, but made by other weights or of other images, or it is damaged.
    """
    if not path.is_file():
        return False
    try:
        metadata: dict[bytes, bytes] = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"Cannot read {path}: {error}", hint="Delete it; it is then predicted again.") from error
    if any(metadata.get(k) != v for k, v in about.items()):
        what = "by another run" if metadata.get(MADE_BY) != about[MADE_BY] else "of other images or views"
        raise DataError(f"{path} was made {what}.", hint="Choose another --out, or delete it.")
    return True


def write_shard(path: Path, rows: Manifest, probs: Any, about: dict[bytes, bytes]) -> None:
    """The predictions table with absolute paths; an unreadable image has no `sha256` and probabilities of NaN."""
    absolute = rows.with_rows(r._replace(path=str(f)) for r, f in zip(rows.rows, rows.files, strict=True))
    write_predictions(path, absolute, probs, metadata=about, row_group_size=_ROW_GROUP)
