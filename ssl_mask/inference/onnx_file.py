"""From predictors to model.onnx: the graph that resizes photos and the graph of the networks, joined."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from ssl_mask.errors import InputError
from ssl_mask.inference.onnx_network import SquareShape
from ssl_mask.inference.onnx_session import INSTALL
from ssl_mask.runs.exported import PHOTOS


def missing_package() -> str:
    """The first package of the extra `export` that is not installed; "" where all are there."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of their own parts
                import_module(name)
        except ImportError:
            return name
    return ""


def refuse_missing_packages() -> None:
    """Raises InputError where a package of the extra `export` is not installed."""
    if missing := missing_package():
        raise InputError(f"sslmask export needs {missing}.", hint=INSTALL)


def with_resize(network: Any, shapes: tuple[SquareShape, ...]) -> bytes:
    """A network for squares -> one for photos of any size, serialised. The network itself stays as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import onnx
        from onnx.compose import add_prefix

        from ssl_mask.inference.onnx_resize import resize_graph

        # Its names must not be those of the other graph. onnx.compose would rename that one, but not inside branches.
        own = add_prefix(network, "network/", rename_inputs=False, rename_outputs=False)
        joined = resize_graph(shapes, PHOTOS)
        joined.graph.node.extend(own.graph.node)
        joined.graph.initializer.extend(own.graph.initializer)
        del joined.graph.output[:], joined.graph.value_info[:]
        joined.graph.output.extend(own.graph.output)
        onnx.checker.check_model(joined)
    graph: bytes = joined.SerializeToString()
    return graph
