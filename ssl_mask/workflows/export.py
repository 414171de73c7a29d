"""`sslmask export`: a run or a study as one ONNX file, compared with it on every validation photo."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask import devices
from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.errors import InputError, nothing_written
from ssl_mask.files import write_json
from ssl_mask.guard.exported import kept_leakage
from ssl_mask.guard.provenance import runs_of
from ssl_mask.inference.export_photos import ExportPhotos, photos_of
from ssl_mask.inference.int8 import calibration_photos, calibration_squares, int8_graph, price_of
from ssl_mask.inference.load import load_predictor
from ssl_mask.inference.onnx_file import refuse_missing_packages, with_resize
from ssl_mask.inference.onnx_network import (
    SquareShape,
    all_digits,
    cost_of,
    network_graph,
    reading_of,
    square_shapes,
    together,
)
from ssl_mask.inference.onnx_requirements import write_requirements
from ssl_mask.inference.onnx_session import OnnxSession
from ssl_mask.inference.parity import parity, probs_of_photos, refuse_apart, refuse_no_numbers
from ssl_mask.inference.predictor import Compute, Predictor
from ssl_mask.inference.submission import member_record
from ssl_mask.runs import environment
from ssl_mask.runs.exported import ExportedModel, ExportRecord, write_exported
from ssl_mask.runs.sources import Source, find_networks


@dataclass(frozen=True)
class Export:
    """An exported network."""

    path: Path
    """model.onnx; its record is in it, and beside it as JSON."""
    record: ExportRecord
    int8: Path | None
    """model-int8.onnx beside it; None: not asked for."""
    int8_record: ExportRecord | None


def export(
    run: str | Path = "latest",
    *,
    runs_folder: str | Path = "runs",
    to: str = "onnx",
    tta: bool = False,
    int8: bool = False,
    out: str | Path | None = None,
    cache: str = "auto",
    quiet: bool = False,
) -> Export:
    """Write a run or a study as one ONNX file: uint8 photos of any size in, calibrated probabilities out.

    Resizing and normalisation are in the graph. Its outputs are `probabilities` (of the joint classes) and
    `probabilities/<factor>`. A study is one network: the mean of its runs, or the product of its factor models. Every
    validation photo is predicted by both, from its file on; where a probability differs by more than 1e-4, nothing is
    written.

    Args:
        run: name or path of a run or a study, or `latest`.
        to: `onnx`, the only format.
        tta: average over the plain and the mirrored view, in the graph.
        int8: also write `model-int8.onnx`, whose backbones have 8 bits, and what that costs in macro-F1 on the same
            photos.
        out: the file. None: `export/model.onnx` in the folder of the run.
        cache: folder of the cache, `auto` or `off`.

    Raises:
        SslMaskError: no run, a gallery, a layer that ONNX does not know, a photo that is missing or has changed, a
            difference above the limit, a package that is not installed, no room to write.

    Examples:
        >>> import ssl_mask
        >>> exported = ssl_mask.export("first", quiet=True)
        >>> exported.path.name, exported.record.parity.largest <= 1e-4
        ('model.onnx', True)
    """
    if to != "onnx":
        raise InputError(f"--to {to!r} is not a format that can be written.", hint="Use onnx.")
    refuse_missing_packages()
    console = Console(quiet=quiet)
    with nothing_written("the exported network"):
        source = find_networks(run, Path(runs_folder))
        model = ExportedModel(Path(out) if out is not None else source.path / "export" / "model.onnx")
        predictor = load_predictor([source], Compute(devices.make_accelerator("fp32"), console), cache=cache)
        job = _Job(source, predictor, square_shapes(predictor), photos_of(source), reading_of(predictor), console)
        console.say(f"Export {source.name}: {job.told}" + ", mirrored views averaged" * tta)
        with all_digits():
            said = predictor.probs(job.photos.compared, tta=tta)
        with console.counting("Exporting", unit="networks"):
            whole = together(predictor, job.shapes, tta=tta)
            cost = cost_of(whole, job.shapes)
            network = network_graph(whole, job.shapes, [*predictor.schema.sizes])
            graph = with_resize(network, job.shapes)
        exported = job.probs(graph)
        compared = parity(said, exported, job.photos.compared, held_out=job.photos.held_out)
        refuse_apart(compared, source.name)
        about = {**job.about, **cost._asdict(), "parity": compared, "tta": ["plain", *(["mirrored"] if tta else [])]}
        written = save(model, graph, about, source)
        console.say(
            f"Parity {compared.largest:.1e} is the largest difference of a probability on {compared.images} photos"
        )
        console.say(f"Saved  {model.path}  ({model.path.stat().st_size / 1e6:.1f} MB)")
        small, record = _with_8_bits(job, model, network, exported, said.probs, about) if int8 else (None, None)
    return Export(model.path, written, small, record)


@dataclass(frozen=True)
class _Job:
    """What is exported, and what it is compared on."""

    source: Source
    predictor: Predictor
    shapes: tuple[SquareShape, ...]
    photos: ExportPhotos
    reading: DataConfig
    console: Console

    @property
    def told(self) -> str:
        """What is exported, for people."""
        count, sizes = len(self.source.members), ", ".join(f"{s.size} px ({s.resize})" for s in self.shapes)
        return f"{count} network{'s' * (count > 1)}, {sizes}"

    @property
    def about(self) -> dict[str, Any]:
        """What an exported network is made of, without what was measured of it."""
        runs = [member_record(run) for run in runs_of(self.source)]
        return {
            "format": 1,
            "name": self.source.name,
            "source": {"source": str(self.source.path), "kind": self.source.kind, "weight": 1.0, "runs": runs},
            "schema": self.predictor.schema,
            "submission": self.predictor.submission,
            "prior": self.predictor.prior.tolist(),
            "data": self.reading,
            "squares": [shape._asdict() for shape in self.shapes],
            "code": environment.code_version(),
            "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }

    def probs(self, graph: bytes) -> NDArray[np.float32]:
        """What a graph says of the photos that are compared."""
        session = OnnxSession(graph, gpu=False)
        return probs_of_photos(session, self.photos.compared, self.reading, self.console, "Comparing")


def _with_8_bits(
    job: _Job, model: ExportedModel, network: Any, exported: NDArray[np.float32], said: NDArray[np.float32],
    about: dict[str, Any],
) -> tuple[Path, ExportRecord]:  # fmt: skip
    """The same network with 8 bits, beside the other, with its price."""
    small = ExportedModel(model.path.with_name(f"{model.path.stem}-int8.onnx"))
    calibrated = calibration_photos(job.photos.trained)
    with job.console.counting("Calibrating 8 bits", unit="networks"):
        less = int8_graph(network, calibration_squares(job.predictor, job.shapes, calibrated))
        graph = with_resize(less, job.shapes)
    probs = job.probs(graph)
    refuse_no_numbers(probs, "network with 8 bits")
    found = price_of(probs, exported, said, job.photos.compared, calibrated)
    written = save(small, graph, {**about, "int8": found}, job.source)
    job.console.say(
        f"8 bits macro-F1 {found.macro_f1:.4f} in place of {about['parity'].macro_f1_exported:.4f}: "
        f"{found.price.value:+.4f} (95 % interval {found.price.low:+.4f} to {found.price.high:+.4f}); "
        f"{found.other_class} of {len(probs)} photos get another class"
    )
    job.console.say(f"Saved  {small.path}  ({small.path.stat().st_size / 1e6:.1f} MB)")
    return small.path, written


def save(model: ExportedModel, graph: bytes, about: dict[str, Any], source: Source) -> ExportRecord:
    """Write the file, and beside it its record, what the runs have seen, and what predicting with it needs."""
    model.path.parent.mkdir(parents=True, exist_ok=True)
    leakage = kept_leakage(runs_of(source), model)
    written = write_exported(model.path, graph, {**about, **dict(leakage)})
    write_json(model.told, written.to_json())
    write_requirements(model.path.parent)
    return written
