"""sslmask: semi-supervised image classification: few labels, many unlabeled images, and a leakage check on every score.

The public door. Names are resolved when they are first used (PEP 562), so that importing the package, and with it
`sslmask --help`, loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_mask.config import RunConfig as RunConfig
    from ssl_mask.config import load_config as load_config
    from ssl_mask.runs.run import Run as Run
    from ssl_mask.runs.run import load_run as load_run
    from ssl_mask.workflows.audit import audit as audit
    from ssl_mask.workflows.compare import compare as compare
    from ssl_mask.workflows.demo import demo as demo
    from ssl_mask.workflows.evaluate import evaluate as evaluate
    from ssl_mask.workflows.predict import predict as predict
    from ssl_mask.workflows.pseudo import pseudo as pseudo
    from ssl_mask.workflows.train import train as train
    from ssl_mask.workflows.uda import uda as uda

_HOME = {
    "RunConfig": "ssl_mask.config",
    "load_config": "ssl_mask.config",
    "Run": "ssl_mask.runs.run",
    "load_run": "ssl_mask.runs.run",
    "pseudo": "ssl_mask.workflows.pseudo",
    "train": "ssl_mask.workflows.train",
    "uda": "ssl_mask.workflows.uda",
    "audit": "ssl_mask.workflows.audit",
    "compare": "ssl_mask.workflows.compare",
    "predict": "ssl_mask.workflows.predict",
    "evaluate": "ssl_mask.workflows.evaluate",
    "demo": "ssl_mask.workflows.demo",
}
__all__ = [
    "Run", "RunConfig", "audit", "compare", "demo", "evaluate", "load_config", "load_run", "predict", "pseudo",
    "train", "uda",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ssl_mask' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
