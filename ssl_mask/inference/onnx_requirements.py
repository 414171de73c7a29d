"""The packages that predicting with an exported network needs: a small part of those of sslmask, without torch."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from ssl_mask.files import write_text

NEEDED = (
    "typer", "rich", "pydantic", "pyyaml", "numpy", "opencv-python-headless", "pillow", "pandas", "pyarrow",
    "safetensors", "threadpoolctl", "lazy-loader", "onnxruntime",
)  # fmt: skip
"""Names of distributions; their lower bounds are those of sslmask."""
INSTALL = "pip install -r model-requirements.txt && pip install --no-deps sslmask"


def write_requirements(folder: Path) -> Path:
    """Write `model-requirements.txt`, which installs what predicting needs; pip cannot leave torch out otherwise."""
    path = folder / "model-requirements.txt"
    write_text(path, f"# sslmask predict --run model.onnx, without torch:\n# {INSTALL}\n" + "\n".join(bounds()) + "\n")
    return path


def bounds() -> tuple[str, ...]:
    """Requirements as pip reads them, such as `numpy>=2.0`, in the order of `NEEDED`.

    Where sslmask is not installed (a folder of its code on the path), their bounds are not known: names alone.

    Examples:
        >>> bounds()[4]
        'numpy>=2.0'
    """
    try:
        declared = {_name(line): line.split(";")[0].strip() for line in requires("sslmask") or ()}
    except PackageNotFoundError:
        declared = {}
    return tuple(declared.get(name, name) for name in NEEDED)


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()
