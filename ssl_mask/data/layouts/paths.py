"""Paths from a label file are not trusted: they must stay inside the data set's folder."""

from __future__ import annotations

import os
from collections import defaultdict
from itertools import islice
from pathlib import Path

from ssl_mask.data.image_files import is_image_name
from ssl_mask.data.names import plain
from ssl_mask.errors import DataError

_OUR_FILES = ("run.json", "study.json", "findings.json", "audit_pairs.png", "synthetic.csv")
_OF_THE_DISK = {"lost+found", "$recycle.bin", "system volume information"}


def safe_root(root: Path) -> Path:
    """The absolute path of `root`.

    Raises:
        DataError: it is not a folder, or cannot be looked at.
    """
    try:
        there = root.is_dir()
    except OSError as error:
        raise DataError(f"Cannot read {root}: {error.strerror}.", hint="Check the path and its permissions.") from error
    if not there:
        raise DataError(f"There is no folder {root}.", hint="Give the data set's folder: --data DIR (or data.root).")
    return root.absolute()


def entries(folder: Path) -> list[Path]:
    """What is in a folder, sorted; hidden files and folders, and those of the disk itself, are left out.

    Raises:
        DataError: the folder cannot be listed.
    """
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name.lower() not in _OF_THE_DISK)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot list this folder ({error.strerror}).", hint="Check its permissions."
        ) from error


def inside(root: Path, relative: str, *, where: str) -> str:
    """`relative` in normal form, with forward slashes and relative to `root`.

    Only the text is checked here; links that lead out are found later, by `ssl_mask.data.checks.refuse_escapes`.

    Raises:
        DataError: it is empty, or leads out of `root` (`..`, an absolute path); the message names `where`.
    """
    text = relative.replace("\\", "/")
    path = Path(text)
    if path.is_absolute():
        if not path.is_relative_to(root):
            raise DataError(
                f"{where}: the path {relative!r} is outside {root}.", hint="Use paths below the data folder."
            )
        path = path.relative_to(root)
    if not text:
        raise DataError(f"{where}: the path is empty.", hint="Fill it in, or remove the row.")
    if ".." in path.parts or "\0" in text:
        raise DataError(f"{where}: the path {relative!r} leads out of {root}.", hint="Use paths below the data folder.")
    return path.as_posix()


class Finder:
    """Finds files below `root` by the names that people write; each folder is listed once.

    The name on the disk may have another Unicode form (as files from a Mac do), and it may have an image suffix that
    was not written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[str, defaultdict[str, set[str]]] = {}

    def find(self, path: str, *, where: str) -> str | None:
        """The path as it is on the disk, relative to `root`; None where no file has this name.

        Raises:
            DataError: several files have it; the message names `where`.
        """
        folder = ""
        *above, last = path.split("/")
        for part in above:
            found = self._named(folder, part) or {part}
            folder = f"{folder}{part if part in found else min(found)}/"
        found = self._named(folder, last)
        if last in found or len(found) == 1:
            return folder + (last if last in found else min(found))
        if found:
            first, second = sorted(found)[:2]
            raise DataError(
                f"{where}: {path} can be {folder}{first} or {folder}{second}.", hint="Write the whole name of the file."
            )
        return None

    def _named(self, folder: str, name: str) -> set[str]:
        """The entries of a folder that a reader would take for `name`."""
        if folder not in self._listed:
            known = self._listed[folder] = defaultdict(set)
            try:
                present = [p.name for p in (self.root / folder).iterdir()]
            except (OSError, ValueError):
                present = []  # whoever opens the image says why
            for entry in present:
                known[plain(entry)].add(entry)
                if is_image_name(entry):
                    known[plain(Path(entry).stem)].add(entry)
        known = self._listed[folder]
        whole = {n for n in known.get(plain(name), ()) if plain(n) == plain(name)}
        return whole or known.get(plain(name), set())


def is_written_by_us(folder: Path) -> bool:
    """Whether sslmask has written this folder: a run, a folder of runs or studies, an audit."""
    try:
        with os.scandir(folder) as present:
            inside = [Path(entry.path) for entry in islice((e for e in present if e.is_dir()), 20)]
    except OSError:
        return False
    return any((place / name).is_file() for place in (folder, *inside) for name in _OUR_FILES)
