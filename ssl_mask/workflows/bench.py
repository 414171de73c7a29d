"""`sslmask bench`: how fast and how large a run, a study or an exported network is, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.images import decode, fit
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.schema import LabelSchema
from ssl_mask.devices import cores
from ssl_mask.errors import InputError, SslMaskError, nothing_written
from ssl_mask.guard.exported import source_model
from ssl_mask.inference.inputs import test_images
from ssl_mask.inference.latency import Predict, Speed, speed_of
from ssl_mask.inference.onnx_session import INSTALL, ON_GPU, OnnxSession
from ssl_mask.runs.exported import PHOTOS, ExportedModel, is_exported

if TYPE_CHECKING:
    from ssl_mask.inference.onnx_network import Together

READ = 64
"""So many photos are read to know how long one takes."""


@dataclass(frozen=True)
class EngineSpeed:
    """One engine on one device."""

    engine: str
    """`torch`, `onnxruntime` or `onnxruntime int8`."""
    device: str
    """`CPU, 1 thread`, `CPU, 2 threads`, or the name of a GPU."""
    p50_ms: float
    """Median latency of one image, in milliseconds."""
    p95_ms: float
    best_batch: int
    images_per_second: float
    """With that batch."""
    memory_bytes: int | None
    """What it adds to the process at most; None where the system does not tell."""


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


class _Subject(NamedTuple):
    """What is measured."""

    name: str
    parameters: int
    macs: int
    on_disk: int
    sizes: tuple[tuple[int, str], ...]
    reading: DataConfig
    schema: LabelSchema
    path: Path
    network: Together | None
    """None: torch is not asked."""
    graphs: dict[str, bytes | Path]
    """For onnxruntime, by the name of the engine."""


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
        skipped: list[str] = []
        subject = _exported(Path(run)) if is_exported(run) else _run(run, Path(runs_folder), tta, console, skipped)
        measures = list(_measures(subject))
        speeds: list[EngineSpeed] = []
        with console.progress("Measuring", len(measures), unit="engines") as advance:
            for engine, device, context, load in measures:
                advance(len(speeds), f"{engine}, {device}")
                with context:
                    found = speed_of(load, _squares(subject), seconds=seconds)
                speeds.append(_engine_speed(engine, device, found))
        test, read_ms = _test_photos(subject, skipped)
    count = photos or len(test or ()) or 1000
    each = (read_ms or 0.0) / 1000 + 1 / max(s.images_per_second for s in speeds)
    return Bench(subject.name, subject.parameters, subject.macs, subject.on_disk, tuple(speeds), read_ms, count,
                 count * each, tuple(skipped))  # fmt: skip


def _engine_speed(engine: str, device: str, found: Speed) -> EngineSpeed:
    return EngineSpeed(engine, device, found.p50, found.p95, found.batch, found.images_per_second, found.memory)


def _exported(path: Path) -> _Subject:
    record = source_model(path).metadata
    engine = "onnxruntime int8" if record.int8 else "onnxruntime"
    sizes = tuple((square.size, square.resize) for square in record.squares)
    return _Subject(path.name, record.parameters, record.macs, path.stat().st_size, sizes, record.data,
                    record.label_schema, path, None, {engine: path})  # fmt: skip


def _run(run: str | Path, runs_folder: Path, tta: bool, console: Console, skipped: list[str]) -> _Subject:
    """Loads the weights, and makes a graph for onnxruntime in memory where its packages are there."""
    from ssl_mask import devices
    from ssl_mask.inference.load import load_predictor
    from ssl_mask.inference.onnx_file import missing_package, with_resize
    from ssl_mask.inference.onnx_network import cost_of, network_graph, reading_of, square_shapes, together
    from ssl_mask.inference.predictor import Compute
    from ssl_mask.workflows.export import exportable

    source = exportable(run, runs_folder)
    predictor = load_predictor([source], Compute(devices.make_accelerator("fp32"), console))
    shapes = square_shapes(predictor)
    network = together(predictor, shapes, tta=tta)
    cost = cost_of(network, shapes)
    graphs: dict[str, bytes | Path] = {}
    if missing := missing_package():
        skipped.append(f"onnxruntime: {missing} is not installed. {INSTALL}")
    else:
        with console.counting("Exporting", unit="networks"):
            graphs["onnxruntime"] = with_resize(network_graph(network, shapes, [*predictor.schema.sizes]), shapes)
        small = ExportedModel(source.path / "export" / "model-int8.onnx")
        if small.path.is_file():
            graphs |= _same_weights(small, [m.best for m in source.members], skipped)
    on_disk = sum(member.best.stat().st_size for member in source.members)
    return _Subject(source.name, *cost, on_disk, shapes, reading_of(predictor), predictor.schema, source.path, network,
                    graphs)  # fmt: skip


def _same_weights(small: ExportedModel, checkpoints: Sequence[Path], skipped: list[str]) -> dict[str, bytes | Path]:
    """The 8-bit network that was exported earlier, if it is of the weights that are there now."""
    from ssl_mask.runs.seal import file_digest

    then = [run.checkpoint_sha256 for run in source_model(small.path).metadata.source.runs]
    if then == [file_digest(path) for path in checkpoints]:
        return {"onnxruntime int8": small.path}
    skipped.append(f"onnxruntime int8: {small.path} was made from other weights. Export it again.")
    return {}


def _measures(subject: _Subject) -> Iterator[tuple[str, str, Any, Callable[[], Predict]]]:
    """Engine, device, what has to be entered meanwhile, and what loads it."""
    threads = sorted({1, cores()})
    if subject.network is not None:
        yield from _torch_measures(subject.network, threads)
    for engine, graph in subject.graphs.items():
        for count in threads:
            yield engine, _cpu(count), nullcontext(), partial(_onnx, subject, graph, threads=count, gpu=False)
        if _onnx_gpu():
            yield engine, "GPU", nullcontext(), partial(_onnx, subject, graph)


def _torch_measures(network: Together, threads: Sequence[int]) -> Iterator[tuple[str, str, Any, Callable[[], Predict]]]:
    import torch

    from ssl_mask import devices
    from ssl_mask.inference.torch_speed import on_cpu, on_gpu, torch_threads

    for count in threads:
        yield "torch", _cpu(count), torch_threads(count), partial(on_cpu, network)
    if torch.cuda.is_available():
        accelerator = devices.make_accelerator("auto")
        name = f"{torch.cuda.get_device_name(0)}, {accelerator.mixed_precision.replace('no', 'fp32')}"
        yield "torch", name, nullcontext(), partial(on_gpu, network, accelerator)


def _onnx_gpu() -> bool:
    if find_spec("onnxruntime") is None:
        return False
    import onnxruntime

    return ON_GPU in onnxruntime.get_available_providers()


def _cpu(threads: int) -> str:
    return f"CPU, {threads} thread{'s' * (threads > 1)}"


def _onnx(subject: _Subject, graph: bytes | Path, *, threads: int = 0, gpu: bool = True) -> Predict:
    """Of networks that take several shapes of squares, the graph resizes the largest one to all of them."""
    session = OnnxSession(graph, threads=threads, gpu=gpu)
    largest = max(range(len(subject.sizes)), key=lambda i: subject.sizes[i][0])
    return lambda squares: session.run({PHOTOS: squares[largest]})


def _squares(subject: _Subject) -> list[NDArray[Any]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (size, size, 3), np.uint8) for size, _ in subject.sizes]


def _test_photos(subject: _Subject, skipped: list[str]) -> tuple[Manifest | None, float | None]:
    """The test images of the data set, and how long one of them takes to be read, in milliseconds."""
    try:
        test = test_images(subject.reading, None, subject.schema, subject.path, Console(quiet=True))
    except SslMaskError as error:
        skipped.append(f"reading photos: {error.problem}")
        return None, None
    some = test.files[:: max(1, len(test) // READ)][:READ]
    size, resize = subject.sizes[0]
    times: list[float] = []
    for path in some:
        start = perf_counter()
        try:
            photo = decode(path, max_pixels=subject.reading.max_pixels, depth=subject.reading.depth)
            fit(photo, size, resize)  # type: ignore[arg-type]
        except InputError:
            continue
        times.append(perf_counter() - start)
    return test, float(np.mean(times)) * 1000 if times else None
