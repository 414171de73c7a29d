"""`sslmask bench`: how fast and how large a run, a study or an exported network is, on this machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ssl_mask.console import Console
from ssl_mask.data.images import decode, fit
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import InputError, SslMaskError, nothing_written
from ssl_mask.inference.engine_speeds import EngineSpeed, engine_speeds
from ssl_mask.inference.inputs import test_images
from ssl_mask.inference.timed_network import TimedNetwork, exported_network, network_of
from ssl_mask.runs.find import is_exported
from ssl_mask.runs.sources import find_networks

READ = 64
"""So many photos are read to know how long one takes."""


@dataclass(frozen=True)
class Bench:
    """Speed and size of a run, a study or an exported network."""

    name: str
    parameters: int
    macs: int
    """Multiplications of a photo, each with its addition."""
    bytes_on_disk: int
    """Of all checkpoints, or of the exported file."""
    speeds: tuple[EngineSpeed, ...]
    read_ms: float | None
    """Time to decode and resize a photo by one thread; None where no photo could be read."""
    photos: int
    """How many photos `seconds` is about."""
    seconds: float
    """Reading and predicting them with the fastest engine, one after the other."""
    skipped: tuple[str, ...]
    """What could not be measured, and why."""

    @property
    def fastest(self) -> EngineSpeed:
        return max(self.speeds, key=lambda speed: speed.images_per_second)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def bench(
    run: str | Path = "latest",
    *,
    runs_folder: str | Path = "runs",
    photos: int | None = None,
    seconds: float = 2.0,
    tta: bool = False,
    quiet: bool = False,
) -> Bench:
    """Measure a run, a study or an exported network: latency, throughput, memory, size, and what a test set takes.

    Each engine predicts squares that are in memory already: torch and, where the extra `export` is installed,
    onnxruntime; on a CPU with one thread and with all, and on a GPU where there is one. An exported network beside a
    run, such as one with 8 bits, is measured too if it was made from these weights. Writes nothing.

    Args:
        run: name or path of a run or a study, `latest`, or an ONNX file of `export`: then torch is not imported.
        photos: how many photos have to be predicted; None: as many as the data set has test images.
        seconds: of each measurement.
        tta: with the mirrored view; an ONNX file has settled that.

    Raises:
        SslMaskError: no such run, a gallery, a damaged file.

    Examples:
        >>> import ssl_mask
        >>> measured = ssl_mask.bench("first", photos=840, seconds=0.05, quiet=True)
        >>> measured.fastest.p50_ms <= measured.fastest.p95_ms, measured.photos
        (True, 840)
    """
    console = Console(quiet=quiet)
    with nothing_written():
        if is_exported(run):
            network = exported_network(Path(run))
        else:
            network = network_of(find_networks(run, Path(runs_folder)), tta=tta, console=console)
        speeds = engine_speeds(network, console, seconds=seconds)
        test, read_ms, skipped = None, None, network.skipped
        try:
            test = test_images(network.reading, None, network.schema, network.path, Console(quiet=True))
            read_ms = time_to_read(test, network)
        except SslMaskError as error:
            skipped = (*skipped, f"reading photos: {error.problem}")
    count = photos or len(test or ()) or 1000
    each = (read_ms or 0.0) / 1000 + 1 / max(s.images_per_second for s in speeds)
    return Bench(network.name, network.parameters, network.macs, network.on_disk, speeds, read_ms, count,
                 count * each, skipped)  # fmt: skip


def time_to_read(photos: Manifest, network: TimedNetwork) -> float | None:
    """Milliseconds to decode and resize a photo, as the mean of some; None where none of these could be read."""
    some = photos.files[:: max(1, len(photos) // READ)][:READ]
    size, resize = network.sizes[0]
    times: list[float] = []
    for path in some:
        start = perf_counter()
        try:
            photo = decode(path, max_pixels=network.reading.max_pixels, depth=network.reading.depth)
            fit(photo, size, resize)  # type: ignore[arg-type]
        except InputError:
            continue
        times.append(perf_counter() - start)
    return float(np.mean(times)) * 1000 if times else None
