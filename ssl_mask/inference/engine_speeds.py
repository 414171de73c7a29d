"""How fast each engine predicts on each device: torch and onnxruntime, by one thread, by all threads, on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.console import Console
from ssl_mask.devices import cores
from ssl_mask.inference.latency import Predict, speed_of
from ssl_mask.inference.onnx_session import ON_GPU, OnnxSession
from ssl_mask.inference.timed_network import TimedNetwork
from ssl_mask.runs.exported import PHOTOS

if TYPE_CHECKING:
    from ssl_mask.inference.onnx_network import Together


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


class _Engine(NamedTuple):
    name: str
    device: str
    load: Callable[[], Predict]
    threads: AbstractContextManager[None] = nullcontext()
    """Entered while it is measured."""


def engine_speeds(network: TimedNetwork, console: Console, *, seconds: float) -> tuple[EngineSpeed, ...]:
    """Measure all that there is; photos are random squares that are in memory already.

    Args:
        seconds: of each measurement.
    """
    engines, speeds, squares = list(_engines(network)), list[EngineSpeed](), _squares(network)
    with console.progress("Measuring", len(engines), unit="engines") as advance:
        for engine in engines:
            advance(len(speeds), f"{engine.name}, {engine.device}")
            with engine.threads:
                found = speed_of(engine.load, squares, seconds=seconds)
            speeds.append(EngineSpeed(engine.name, engine.device, found.p50, found.p95, found.batch,
                                      found.images_per_second, found.memory))  # fmt: skip
    return tuple(speeds)


def _engines(network: TimedNetwork) -> Iterator[_Engine]:
    threads = sorted({1, cores()})
    if network.network is not None:
        yield from _of_torch(network.network, threads)
    for name, graph in network.graphs.items():
        for count in threads:
            yield _Engine(name, _cpu(count), partial(_onnx, network, graph, threads=count, gpu=False))
        if _onnx_gpu():
            yield _Engine(name, "GPU", partial(_onnx, network, graph))


def _of_torch(network: Together, threads: Sequence[int]) -> Iterator[_Engine]:
    import torch

    from ssl_mask import devices
    from ssl_mask.inference.torch_speed import on_cpu, on_gpu, torch_threads

    for count in threads:
        yield _Engine("torch", _cpu(count), partial(on_cpu, network), torch_threads(count))
    if torch.cuda.is_available():
        accelerator = devices.make_accelerator("auto")
        name = f"{torch.cuda.get_device_name(0)}, {accelerator.mixed_precision.replace('no', 'fp32')}"
        yield _Engine("torch", name, partial(on_gpu, network, accelerator))


def _onnx_gpu() -> bool:
    if find_spec("onnxruntime") is None:
        return False
    import onnxruntime

    return ON_GPU in onnxruntime.get_available_providers()


def _cpu(threads: int) -> str:
    return f"CPU, {threads} thread{'s' * (threads > 1)}"


def _onnx(network: TimedNetwork, graph: bytes | Path, *, threads: int = 0, gpu: bool = True) -> Predict:
    """Of networks that take several shapes of squares, the graph resizes the largest one to all of them."""
    session = OnnxSession(graph, threads=threads, gpu=gpu)
    largest = max(range(len(network.sizes)), key=lambda i: network.sizes[i][0])
    return lambda squares: session.run({PHOTOS: squares[largest]})


def _squares(network: TimedNetwork) -> list[NDArray[Any]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (size, size, 3), np.uint8) for size, _ in network.sizes]
