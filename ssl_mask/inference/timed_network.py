"""What `sslmask bench` measures: a run, a study or an exported network, ready to be timed.

An exported network is timed without torch, as it predicts: nothing here imports it before it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.schema import LabelSchema
from ssl_mask.guard.exported import source_model
from ssl_mask.inference.onnx_session import INSTALL
from ssl_mask.runs.exported import ExportedModel
from ssl_mask.runs.seal import file_digest
from ssl_mask.runs.sources import Source

if TYPE_CHECKING:
    from ssl_mask.inference.onnx_network import Together


class TimedNetwork(NamedTuple):
    """A network, and how it reads photos."""

    name: str
    path: Path
    """Of the run, the study or the file."""
    parameters: int
    macs: int
    """Multiplications of a photo, each with its addition."""
    on_disk: int
    """Bytes of all checkpoints, or of the exported file."""
    sizes: tuple[tuple[int, str], ...]
    """Side in pixels of each square that it takes, and how a photo is resized to it."""
    reading: DataConfig
    schema: LabelSchema
    network: Together | None
    """None: torch is not asked."""
    graphs: Mapping[str, bytes | Path]
    """For onnxruntime, by the name of the engine."""
    skipped: tuple[str, ...] = ()
    """What cannot be measured, and why."""


def exported_network(path: Path) -> TimedNetwork:
    """The ONNX file of `sslmask export`. Raises ModelError where it is damaged, MismatchError where it was changed."""
    record = source_model(path).metadata
    engine = "onnxruntime int8" if record.int8 else "onnxruntime"
    sizes = tuple((square.size, square.resize) for square in record.squares)
    return TimedNetwork(path.name, path, record.parameters, record.macs, path.stat().st_size, sizes, record.data,
                        record.label_schema, None, {engine: path})  # fmt: skip


def network_of(source: Source, *, tta: bool, console: Console) -> TimedNetwork:
    """A run or a study, in torch, and as a graph for onnxruntime in memory where its packages are there."""
    from ssl_mask import devices
    from ssl_mask.inference.load import load_predictor
    from ssl_mask.inference.onnx_file import missing_package, with_resize
    from ssl_mask.inference.onnx_network import cost_of, network_graph, reading_of, square_shapes, together
    from ssl_mask.inference.predictor import Compute

    predictor = load_predictor([source], Compute(devices.make_accelerator("fp32"), console))
    shapes = square_shapes(predictor)
    network = together(predictor, shapes, tta=tta)
    cost = cost_of(network, shapes)
    checkpoints = [member.best for member in source.members]
    graphs: dict[str, bytes | Path] = {}
    skipped = ""
    if missing := missing_package():
        skipped = f"onnxruntime: {missing} is not installed. {INSTALL}"
    else:
        with console.counting("Exporting", unit="networks"):
            graphs["onnxruntime"] = with_resize(network_graph(network, shapes, [*predictor.schema.sizes]), shapes)
        small = ExportedModel(source.path / "export" / "model-int8.onnx")
        if small.path.is_file():
            if is_made_of(small, checkpoints):
                graphs["onnxruntime int8"] = small.path
            else:
                skipped = f"onnxruntime int8: {small.path} was made from other weights. Export it again."
    on_disk = sum(path.stat().st_size for path in checkpoints)
    return TimedNetwork(source.name, source.path, *cost, on_disk, shapes, reading_of(predictor), predictor.schema,
                        network, graphs, (skipped,) if skipped else ())  # fmt: skip


def is_made_of(exported: ExportedModel, checkpoints: Sequence[Path]) -> bool:
    """Whether a file was exported from the weights that are there now."""
    then = [run.checkpoint_sha256 for run in source_model(exported.path).metadata.source.runs]
    return then == [file_digest(path) for path in checkpoints]
