"""onnxruntime: an exported network in memory. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.errors import InputError, ModelError
from ssl_mask.reading import one_line
from ssl_mask.runs.exported import AGAIN, JOINT

INSTALL = 'Install it: pip install "sslmask[export]"'
"""What to do where a package of the extra is missing."""
ON_GPU = "CUDAExecutionProvider"
ON_CPU = "CPUExecutionProvider"
_ERRORS_ONLY = 3


class OnnxSession:
    """A graph that is ready to predict.

    Raises:
        InputError: onnxruntime is not installed. ModelError: it cannot load the graph.
    """

    def __init__(self, graph: bytes | Path, *, threads: int = 0, gpu: bool = True) -> None:
        """
        Args:
            graph: a file, or its content.
            threads: that compute together; 0: as many as cores.
            gpu: use one where this onnxruntime can.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError("An exported network needs onnxruntime.", hint=INSTALL) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = threads
        there = onnxruntime.get_available_providers()
        self.providers = [p for p in ([ON_GPU] if gpu else []) + [ON_CPU] if p in there]
        where = graph if isinstance(graph, Path) else "the graph"
        try:
            self.session = onnxruntime.InferenceSession(
                str(graph) if isinstance(graph, Path) else graph, options, providers=self.providers
            )
        except Exception as error:  # a class of its own for each kind
            raise ModelError(f"onnxruntime cannot load {where}: {one_line(error)}.", hint=AGAIN) from error

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """(n, joint classes) probabilities. Raises ModelError: onnxruntime cannot run the graph."""
        try:
            (probs,) = self.session.run([JOINT], dict(inputs))
        except Exception as error:
            raise ModelError(f"onnxruntime cannot run the graph: {one_line(error)}.", hint=AGAIN) from error
        return np.asarray(probs, np.float32)


def packages() -> dict[str, str]:
    """Versions of what is installed of torch, onnx and onnxruntime; none of them is imported."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str] = {}
    for name in ("torch", "onnx", "onnxruntime"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
