"""What lies in the data folder and is not read, so that nothing is passed over in silence."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ssl_mask.data.image_files import files_not_read, find_images, is_image_name
from ssl_mask.data.layouts.paths import entries, is_written_by_us
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.names import split_of_folder
from ssl_mask.errors import DataError

_MOST = 8  # folders in one note


def say_unread(manifest: Manifest, elsewhere: Sequence[str] = ()) -> Manifest:
    """The manifest with notes on images below the root that are in no row, counted by the folders right in the root.

    A folder that is called like a pool is mentioned in the message: it is there to be named.

    Args:
        elsewhere: sources that are read by somebody else; their folders are not mentioned.
    """
    root = manifest.root
    above = f"{root.as_posix().rstrip('/')}/"
    read = {r.path for r in manifest.rows}
    used = {path.split("/")[0] for path in read if "/" in path}
    whole: dict[str, int] = {}
    notes: list[str] = []
    for place in entries(root):
        if not place.is_dir() or is_written_by_us(place) or _is_named(place, root, elsewhere):
            continue
        try:
            images = [p.as_posix().removeprefix(above) for p in find_images(place)]
            kinds = files_not_read(place) if place.name in used else {}
        except DataError as error:
            notes.append(f"{error.problem} Its images are not read.")
            continue
        left = [path for path in images if path not in read]
        if left and len(left) == len(images):
            whole[place.name] = len(left)
        elif left:
            notes.append(
                f"images in {place.name}/ that are not read: {len(left)} of {len(images)}, for example {left[0]}."
            )
        if kinds:
            listed = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
            notes.append(
                f"files in {place.name}/ that look like images and are not read: {sum(kinds.values())} ({listed})."
            )
    pools = {name: count for name, count in whole.items() if split_of_folder(name) == "unlabeled"}
    others = {name: count for name, count in whole.items() if name not in pools}
    aside = ", ".join(f"{name}/ {count}" for name, count in pools.items())
    return replace(
        manifest,
        message=manifest.message + (f" (not read: {aside})" if aside else ""),
        notes=(*manifest.notes, *_folders(others), *_loose(manifest, read), *notes),
    )


def _folders(counts: dict[str, int]) -> Iterator[str]:
    if counts:
        listed = [f"{name}/ ({count})" for name, count in counts.items()]
        more = f" and {len(listed) - _MOST} more" if len(listed) > _MOST else ""
        yield (
            f"folders with images that are not read: {', '.join(listed[:_MOST])}{more}. "
            "Unlabeled images are named with --unlabeled DIR, images to predict with --images DIR."
        )


def _loose(manifest: Manifest, read: set[str]) -> Iterator[str]:
    """Images right in the root."""
    names = [p.name for p in entries(manifest.root) if is_image_name(p.name) and p.is_file()]
    left = [name for name in names if name not in read]
    if left:
        yield f"images right in {manifest.root} that are not read: {len(left)}, for example {left[0]}."


def _is_named(folder: Path, root: Path, sources: Sequence[str]) -> bool:
    """Whether a source lies in this folder, is it, or holds it."""
    places = [Path(os.path.normpath(base / source)) for source in sources for base in (Path.cwd(), root)]
    return any(p.is_relative_to(folder) or folder.is_relative_to(p) for p in places)
