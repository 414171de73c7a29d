"""What a result was made with: code version, packages, machine, command line."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from ssl_mask.runs.base import Count, Record

PACKAGES = (
    "torch", "timm", "accelerate", "albumentations", "opencv-python-headless", "pillow", "numpy", "pandas",
    "scikit-learn", "safetensors",
)  # fmt: skip


class EnvironmentRecord(Record):
    """environment.json."""

    sslmask: str
    python: str
    packages: dict[str, str]
    platform: str
    processor: str
    cpus: Count | None
    device: str
    gpu: str | None
    processes: Count
    threads: Count
    precision: str
    command: tuple[str, ...]


def code_version() -> str:
    """The installed version, with the commit (and `+changes`) when it runs from a source checkout.

    A checkout that is only on the Python path has no version: `not installed`.
    """
    try:
        version = metadata.version("sslmask")
    except metadata.PackageNotFoundError:
        version = "not installed"
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return version
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{version} ({commit}{'+changes' if changed else ''})" if commit else version


def _git(root: Path, *command: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *command], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def package_versions() -> dict[str, str]:
    """Name -> version of what results depend on. One that is not installed under that name is left out.

    Such as opencv-python-headless where opencv-python has taken its place.
    """
    found: dict[str, str] = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def describe(device: str, processes: int, precision: str) -> dict[str, Any]:
    """A JSON-able record of where and with what a run was made."""
    import torch

    return {
        "sslmask": code_version(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "device": device,
        "gpu": torch.cuda.get_device_name(0) if device.startswith("cuda") else None,
        "processes": processes,
        "threads": torch.get_num_threads(),
        "precision": precision,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }
