"""Data set layouts. Each layout is a module with `Options`, `detect(root)` and `read(root, options)`.

To add a layout, write its module and add it to `LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from ssl_mask.config import explain
from ssl_mask.data.layouts import folder, mask18, table
from ssl_mask.data.layouts.paths import safe_root
from ssl_mask.data.layouts.places import system_folder
from ssl_mask.data.layouts.unread import say_unread
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import ConfigError, DataError, did_you_mean

LAYOUTS: dict[str, ModuleType] = {"mask18": mask18, "folder": folder, "table": table}


def read_dataset(
    root: Path, *, layout: str = "auto", options: dict[str, Any] | None = None, unlabeled: Sequence[str] = ()
) -> Manifest:
    """The data set in `root` as a manifest, its test images included (split `test`, in submission order).

    Args:
        unlabeled: sources of unlabeled images, which are read elsewhere: no note is made of them.

    Raises:
        DataError: no data here, a layout that is not certain, a bad row, a single class.
        ConfigError: an unknown layout, or an unknown key in `data.options`.
    """
    given = options or {}
    root, name = settle(root, layout, given.keys())
    module = LAYOUTS[name]
    try:
        checked = module.Options.model_validate(given)
    except ValidationError as error:
        lines = [f"  data.options.{explain(e, module.Options)}" for e in error.errors()]
        raise ConfigError(f"Wrong options for the {name} layout:\n" + "\n".join(lines)) from None
    manifest: Manifest = module.read(root, checked)
    _refuse_one_class(manifest)
    message = manifest.message
    if layout == "auto" and name != "mask18" and not given:
        other = "folder" if name == "table" else "table"
        message = message.replace(" layout:", f" layout (recognised; another one: --set data.layout={other}):", 1)
    return say_unread(replace(manifest, message=message), unlabeled)


def _refuse_one_class(manifest: Manifest) -> None:
    labeled = manifest.where("train", "val")
    if not labeled:
        raise DataError(
            f"{manifest.root}: no labeled image found ({manifest.message}).", hint="Check data.root and data.options."
        )
    present = set(labeled.joint.tolist())
    if len(present) < 2:
        name = manifest.schema.joint_classes[present.pop()]
        raise DataError(
            f"{manifest.root}: all {len(labeled)} labeled images have the class {name!r}: there is nothing to learn.",
            hint="Add images of a second class, or check data.options.",
        )


def settle(root: Path, layout: str, options: Collection[str]) -> tuple[Path, str]:
    """The absolute root, and the name of the layout: the one that is asked for, or that the folder has.

    An option that only one layout knows settles on that layout.

    Args:
        root: `Path()` where nobody has named it.
        options: the keys in `data.options`.

    Raises:
        DataError: no such folder; no layout fits it, or two do; or it is a folder of the system, or its folders do not
            look like classes, and data.root and data.layout do not name it.
        ConfigError: an unknown layout.
    """
    place = safe_root(root)
    if layout not in {"auto", *LAYOUTS}:
        raise ConfigError(f"data.layout: there is no layout {layout!r}.", hint=did_you_mean(layout, ["auto", *LAYOUTS]))
    if (layout == "auto" or root == Path()) and (what := system_folder(place)):
        raise DataError(
            f"{place} is {what}: everything below it would be read.",
            hint="Name the data set's folder: --data DIR\n"
            f"If it is this one: --data {place} --set data.layout={layout if layout in LAYOUTS else 'folder'}",
        )
    return place, recognise(place, options) if layout == "auto" else layout


def recognise(root: Path, options: Collection[str]) -> str:
    """The name of the layout that the data set in `root` has. Raises DataError: none, two, or a doubtful one."""
    owners = {name for key in options for name, module in LAYOUTS.items() if key in module.Options.model_fields}
    if len(owners) == 1:
        return owners.pop()
    fitting = [name for name, module in LAYOUTS.items() if module.detect(root)]
    if "mask18" in fitting:
        return "mask18"
    if len(fitting) > 1:
        raise DataError(
            f"{root} can be read in two ways: by its table, or by its class folders.",
            hint="Say which: --set data.layout=table or --set data.layout=folder",
        )
    if not fitting:
        raise DataError(
            f"No data set found in {root}.",
            hint="Expected one of: train/train.csv with train/images (mask18); one folder per class, or "
            "train/<class>/ (folder); a CSV or Parquet file with image and label columns (table: name them in "
            "data.options).\nTo see one that works: sslmask demo --data-only",
        )
    if fitting == ["folder"] and (why := folder.doubt(root)):
        raise DataError(
            f"{root} may be no data set: {why}.",
            hint="Name the data set's folder: --data DIR\n"
            f"If its folders are the classes: --data {root} --set data.layout=folder",
        )
    return fitting[0]
