"""An exported network with 8-bit weights and activations, whose ranges are taken from training photos."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import ModelError
from ssl_mask.evaluation.metrics import macro_f1, paired_bootstrap
from ssl_mask.guard.findings import content_digest
from ssl_mask.inference.load import networks_of
from ssl_mask.inference.onnx_network import SquareShape
from ssl_mask.inference.predictor import Predictor
from ssl_mask.reading import one_line
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.exported import Int8Record

CALIBRATED_ON = 128
"""Training photos, evenly spread over all."""
KEPT = "neck, heads, probabilities"
"""What keeps 32 bits: it costs nothing, and angles and softmax need the digits."""
_SCOPES = "pkg.torch.onnx.name_scopes"


class Squares:
    """Photos one by one, as onnxruntime wants them for a calibration."""

    def __init__(self, inputs: Iterator[dict[str, NDArray[Any]]]) -> None:
        self.inputs = inputs

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self.inputs, None)


def calibration_photos(trained: Manifest) -> Manifest:
    """Some of the training photos. Raises ModelError where there are none."""
    if not len(trained):
        raise ModelError("There are no training photos to calibrate 8 bits on.", hint="Export without --int8.")
    chosen = np.unique(np.linspace(0, len(trained) - 1, CALIBRATED_ON).round().astype(int)).tolist()
    return trained.with_rows(trained.rows[i] for i in chosen)


def calibration_squares(
    predictor: Predictor, shapes: tuple[SquareShape, ...], photos: Manifest
) -> Iterator[dict[str, NDArray[Any]]]:
    """`square0`, `square1`, … of each photo. Raises ImageError: an unreadable photo."""
    networks = networks_of(predictor)
    opened = [
        next(n for n in networks if SquareShape(n.size, n.reading.resize) == shape).open(photos, "fail")[0].images
        for shape in shapes
    ]
    for position in range(len(photos)):
        yield {f"square{i}": images.read(position)[None] for i, images in enumerate(opened)}


def int8_graph(network: Any, squares: Iterator[dict[str, NDArray[Any]]]) -> Any:
    """The backbones of an onnx.ModelProto with 8 bits.

    Args:
        network: as `network_graph` made it.
        squares: inputs that its ranges are taken from.

    Raises:
        ModelError: onnxruntime cannot do it with this network.
    """
    kept = [node.name for node in network.graph.node if "backbone" not in _scopes(node)]
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # advice to run what is run here
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="sslmask-") as folder:
            warnings.simplefilter("ignore")
            import onnx
            from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
            from onnxruntime.quantization.shape_inference import quant_pre_process

            whole, ready, small = (Path(folder) / f"{name}.onnx" for name in ("whole", "ready", "small"))
            onnx.save(network, whole)
            quant_pre_process(whole, ready, skip_symbolic_shape=True)  # folds batch norms into convolutions
            quantize_static(
                ready, small, Squares(squares), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=kept,
                calibrate_method=CalibrationMethod.MinMax,
            )  # fmt: skip
            return onnx.load(small)
    except ModelError:
        raise
    except Exception as error:  # onnxruntime raises many kinds
        raise ModelError(
            f"onnxruntime cannot make 8 bits of this network: {one_line(error)}.", hint="Export it without --int8."
        ) from error
    finally:
        logging.disable(before)


def _scopes(node: Any) -> str:
    """The modules that a node comes from, as torch's exporter wrote them."""
    return next((prop.value for prop in node.metadata_props if prop.key == _SCOPES), "")


def price_of(
    small: NDArray[np.float32], exported: NDArray[np.float32], run: NDArray[np.float32], photos: Manifest,
    calibrated: Manifest,
) -> Int8Record:  # fmt: skip
    """What 8 bits cost on photos.

    Args:
        small, exported, run: (n, joint classes) probabilities with 8 bits, with 32, and of the run.
        photos: with labels.
        calibrated: photos that the ranges were taken from, with digests.
    """
    classes = len(photos.schema.joint_classes)
    ours, theirs = exported.argmax(axis=1), small.argmax(axis=1)
    price = paired_bootstrap(photos.joint, ours[None], theirs[None], photos.groups, classes)["macro_f1"]
    return Int8Record(
        calibrated_on=len(calibrated),
        content_hash=content_digest(row.digest for row in calibrated.rows),
        macro_f1=macro_f1(photos.joint, theirs, classes),
        price=IntervalRecord(**price._asdict()),
        largest=float(np.abs(small - run).max()),
        other_class=int((ours != theirs).sum()),
        kept_32=(KEPT,),
    )
