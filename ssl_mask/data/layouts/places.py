"""Folders that nobody keeps one data set in."""

from __future__ import annotations

import tempfile
from pathlib import Path

_OF_THE_SYSTEM = {
    "applications", "bin", "boot", "dev", "etc", "home", "lib", "lib64", "library", "media", "mnt", "opt", "proc",
    "program files", "program files (x86)", "root", "run", "sbin", "srv", "sys", "system", "tmp", "users", "usr", "var",
    "volumes", "windows",
}  # fmt: skip
_OF_A_HOME = {"desktop", "documents", "downloads"}


def system_folder(place: Path) -> str:
    """What a folder is that nobody keeps one data set in: `your home folder`, …; "" for any other."""
    real = place.resolve()
    home = _home()
    temporary = {Path(p).resolve() for p in (tempfile.gettempdir(), "/tmp", "/var/tmp")}
    if real in temporary:
        return "a folder of temporary files"
    if real == home:
        return "your home folder"
    top = real.parent == Path(real.anchor)
    if real == Path(real.anchor) or (top and real.name.lower() in _OF_THE_SYSTEM):
        return "a folder of the system"
    if real.parent == home and real.name.lower() in _OF_A_HOME:
        return "a folder of all kinds of files"
    return ""


def _home() -> Path | None:
    try:
        return Path.home().resolve()
    except (RuntimeError, OSError):  # a user without an entry in passwd, and no HOME
        return None
