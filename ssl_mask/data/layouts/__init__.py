"""Data set layouts. Each layout is a module with `Options`, `detect(root, options)` and `read(root, options)`.

To add a layout, write its module and add it to `LAYOUTS`.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from ssl_mask.config import explain
from ssl_mask.data.layouts import folder, mask18, table
from ssl_mask.data.layouts.paths import safe_root
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import ConfigError, DataError, did_you_mean

LAYOUTS: dict[str, ModuleType] = {"mask18": mask18, "folder": folder, "table": table}


def read_dataset(root: Path, *, layout: str = "auto", options: dict[str, Any] | None = None) -> Manifest:
    """The data set in `root` as a manifest, its test images included (split `test`, in submission order).

    Raises:
        DataError: no data here, an unknown layout, or a bad row.
        ConfigError: an unknown key in `data.options`.
    """
    root = safe_root(root)
    given = options or {}
    if layout == "auto":
        layout = detect(root, given)
    if layout not in LAYOUTS:
        raise ConfigError(f"data.layout: there is no layout {layout!r}.", hint=did_you_mean(layout, ["auto", *LAYOUTS]))
    module = LAYOUTS[layout]
    try:
        checked = module.Options.model_validate(given)
    except ValidationError as error:
        lines = [f"  data.options.{explain(e, module.Options)}" for e in error.errors()]
        raise ConfigError(f"Wrong options for the {layout} layout:\n" + "\n".join(lines)) from None
    manifest: Manifest = module.read(root, checked)
    if not manifest.where("train", "val"):
        raise DataError(
            f"{root}: no labeled image found ({manifest.message}).", hint="Check data.root and data.options."
        )
    return manifest


def detect(root: Path, options: dict[str, Any]) -> str:
    """The name of the layout that the data set in `root` has.

    Raises:
        DataError: it has none of them.
    """
    for name, module in LAYOUTS.items():
        if module.detect(root, options):
            return name
    raise DataError(
        f"No data set found in {root}.",
        hint="Expected one of: train/train.csv with train/images (mask18); one folder per class, or "
        "train/<class>/ (folder); a CSV or Parquet file with image and label columns (table: name them in "
        "data.options).\nTo see one that works: sslmask demo --data-only",
    )
