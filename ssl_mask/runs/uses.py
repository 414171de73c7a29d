"""Which runs, studies and galleries in a folder build on which: before one is removed, who needs it?"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ssl_mask.config import read_config_file
from ssl_mask.errors import DataError, InputError, MismatchError
from ssl_mask.runs.exported import read_exported
from ssl_mask.runs.gallery import RECORD, GalleryDir
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import Study

RECORDS = ("run.json", "study.json", RECORD, "acquire.json")
"""A folder with one of these is a run, a study, a gallery, or images that `sslmask acquire` chose."""
UNNAMED = {"auto", "none", "unknown"}
"""What stands in place of a run or a file."""
NAMING = {"init_from", "weights", "pseudo_labels", "corrections", "extra_labels", "from_predictions", "teachers",
          "round_zero"}  # fmt: skip
"""Settings that name runs, or files that may be inside of one."""


def entries(folder: Path) -> list[Path]:
    """What is in a folder of runs and was made by us, by name; not what is inside of studies."""
    found = {path.parent for name in RECORDS for path in folder.glob(f"[!.]*/{name}")}
    return sorted(found)


def builds_on(folder: Path, *, without: Collection[str] = ()) -> dict[str, set[str]]:
    """What each entry of a folder of runs builds on: names of other entries of that folder.

    Exported networks in the folder, beside it and in the working folder are named by their path.

    Args:
        without: names of entries that are not asked.

    Raises:
        DataError: a record is damaged, so nobody knows what it builds on; names the file.
    """
    names = {path.name for path in entries(folder)}
    found: dict[str, set[str]] = {}
    for path in entries(folder):
        if path.name not in without:
            try:
                found[path.name] = _named(_mentioned(path), folder, names) - {path.name}
            except (InputError, MismatchError) as error:
                raise DataError(
                    f"{error.problem} So nobody knows what {path.name} builds on.",
                    hint=f"Restore it, or remove it: sslmask runs rm {path.name}",
                ) from None
    for path in _exported(folder):
        inside = path.resolve().relative_to(folder.resolve()).parts[0] if _is_in(path, folder) else ""
        user = inside if inside in names else str(path)
        if user not in without:
            found.setdefault(user, set()).update(_named(_exported_from(path), folder, names) - {user})
    return found


def users_of(name: str, graph: dict[str, set[str]]) -> list[str]:
    """What builds on an entry, by name."""
    return sorted(user for user, used in graph.items() if name in used)


def _named(mentions: Iterator[str], folder: Path, names: Collection[str]) -> set[str]:
    return {entry for text in mentions if (entry := entry_of(text, folder, names)) is not None}


def entry_of(text: str, folder: Path, names: Collection[str]) -> str | None:
    """The entry that a text names: by its name, by its path, or by the path of something inside of it.

    A relative path is one from the working folder or from the folder of runs. Where a path leads nowhere, since all was
    moved, the last of its parts that is an entry's name counts.
    """
    if not text or text in UNNAMED:
        return None
    home = folder.resolve()
    for base in (Path.cwd(), home.parent, home):
        path = Path(os.path.normpath(base / text))
        for place in (path, path.resolve()):
            if _is_below(place, home) and place.relative_to(home).parts[0] in names:
                return place.relative_to(home).parts[0]
    if Path(text).exists():
        return None
    return next((part for part in reversed(Path(text).parts) if part in names), None)


def _is_below(path: Path, home: Path) -> bool:
    return path != home and path.is_relative_to(home)


def _is_in(path: Path, folder: Path) -> bool:
    return _is_below(path.resolve(), folder.resolve())


def _mentioned(entry: Path) -> Iterator[str]:
    """Names and paths of runs, and of files inside of them, in the records of an entry and of what it is made of."""
    for file in sorted(entry.rglob("run.json")):
        run = RunDir(file.parent)
        status = run.status()
        yield from status.ancestors
        if status.data is not None and status.data.pseudo is not None:
            yield status.data.pseudo.table
        yield from _in_settings(read_config_file(run.config_file))
    for file in sorted(entry.rglob("study.json")):
        record = Study(file.parent).record()
        yield from _in_settings({**record.config, "settings": record.settings})
    for file in sorted(entry.rglob("selection.json")):
        yield from (teacher.run for teacher in RunDir(file.parent).selection_record().teachers)
    for file in sorted(entry.rglob(RECORD)):
        gallery = GalleryDir(file.parent).record()
        yield gallery.source
        yield from (member.run for member in gallery.members)


def _in_settings(tree: Mapping[str, Any]) -> Iterator[str]:
    """Not checked against today's settings: a run of an older version builds on what it says, too."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _in_settings(value)
        elif key in NAMING and value is not None:
            yield from map(str, value if isinstance(value, list | tuple) else [value])


def _exported(folder: Path) -> list[Path]:
    """Exported networks that are likely made from runs of this folder: inside, beside it, and in the working folder."""
    patterns = [
        (folder, "*.onnx"),
        (folder, "*/export/*.onnx"),
        (folder.absolute().parent, "*.onnx"),
        (Path(), "*.onnx"),
    ]
    found = {path.resolve(): path for place, pattern in patterns for path in place.glob(pattern)}
    return [found[place] for place in sorted(found)]


def _exported_from(path: Path) -> Iterator[str]:
    """The run or study that a network was exported from, and its runs; nothing of a file that is not ours any more."""
    try:
        source = read_exported(path).source
    except (InputError, MismatchError):
        return
    yield source.source
    yield from (member.run for member in source.runs)
