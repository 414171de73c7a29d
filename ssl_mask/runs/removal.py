"""Removing runs, studies and galleries: never what is worked on, never what another one builds on.

An entry first loses its name, in one act, and then its files: a kill leaves all of it, or a hidden folder that is no
run any more and that the next new run (or `sslmask runs gc`) removes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ssl_mask.errors import DataError, InputError, Interrupted, did_you_mean
from ssl_mask.files import hidden_beside, holding, one_at_a_time, storage
from ssl_mask.runs.uses import builds_on, entries, users_of

LOCKS = ".*lock"
"""Pattern of the files that a process holds while it works on a folder."""


def find_entries(names: Sequence[str], folder: Path) -> list[Path]:
    """Runs, studies and galleries of a folder by name, or by path.

    Raises:
        InputError: there is none of that name, a part of a study, or a link.
    """
    return list(dict.fromkeys(_find(name, folder) for name in names))


def _find(name: str, folder: Path) -> Path:
    known = {path.name: path for path in entries(folder)}
    home = folder.resolve()
    places = [p for p in (home / name, Path(name).absolute()) if p.parent.resolve() == home]
    found = next((known[p.name] for p in places if p.name in known), None)
    if found is None:
        inside = [p for p in (home / name, Path(name).resolve()) if p.is_relative_to(home) and p.exists()]
        top = inside[0].relative_to(home).parts[:1] if inside else ()
        if top and top[0] in known and inside[0] != home / top[0]:
            raise InputError(f"{name} is a part of {known[top[0]]}, which needs it.", hint=f"Name all of it: {top[0]}")
        hint = did_you_mean(name, sorted(known)) if known else f"There are no runs in {folder.absolute()}."
        raise InputError(f"No run, study or gallery {name!r} in {folder}.", hint=hint)
    if found.is_symlink():
        raise InputError(f"{found} is a link.", hint="Remove the link yourself, or name the folder of runs behind it.")
    return found


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """No process makes a run in this folder meanwhile. Raises StorageError where the folder cannot be written."""
    with storage(folder), one_at_a_time(folder / ".new.lock"):
        yield


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold everything in a folder for this process.

    Raises:
        DataError: another process works on it, or on a part of it.
    """
    with ExitStack() as stack:
        for lock in sorted({path / ".lock", *path.rglob(LOCKS)}):
            if not stack.enter_context(holding(lock)):
                raise DataError(f"Another process is working on {lock.parent}.", hint="Wait for it, or stop it.")
        yield


def in_order(paths: Sequence[Path], folder: Path) -> list[Path]:
    """The entries, each before what it builds on: a kill between two leaves none without what it builds on.

    Raises:
        InputError: something that stays builds on one of them; names both.
        DataError: a record of what stays is damaged, so nobody knows what it builds on.
    """
    going = {path.name: path for path in paths}
    graph = builds_on(folder, without=going)  # what goes need not be readable: that may be why it goes
    for name, path in going.items():
        if users := users_of(name, graph):
            together = set(users) <= {entry.name for entry in entries(folder)}
            raise InputError(
                f"{path} stays: {', '.join(users)} build{'s' if len(users) == 1 else ''} on it.",
                hint=f"Remove both: sslmask runs rm {' '.join([*users, name])}" if together else "Remove that first.",
            )
    needs = {name: _needs(name, folder) for name in going}
    order: list[Path] = []
    while going:
        free = [name for name in going if not any(name in needs[user] for user in going if user != name)]
        order += [going.pop(name) for name in free or list(going)]
    return order


def _needs(name: str, folder: Path) -> set[str]:
    """What an entry builds on, as far as it can be read."""
    try:
        return builds_on(folder, without={path.name for path in entries(folder)} - {name}).get(name, set())
    except DataError:
        return set()


def remove(paths: Sequence[Path]) -> None:
    """Remove runs, studies and galleries: all of them, or none. The caller is `alone_in` their folder.

    Raises:
        DataError: another process works on one of them.
        StorageError: no permission.
        Interrupted: they have no names any more, but some of their files are left.
    """
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(storage(path))
            stack.enter_context(held(path))
        hidden = [path.rename(hidden_beside(path)) for path in paths]
    try:
        for path, place in zip(paths, hidden, strict=True):
            with storage(path):
                shutil.rmtree(place)
    except KeyboardInterrupt as stop:
        hint = "Remove the rest: sslmask runs gc"
        raise Interrupted.by(stop, "what was named is gone; some of its files are left.", hint=hint) from None


def size_of(*paths: Path) -> int:
    """Bytes of files, and of all files in folders; links count by themselves."""
    files = (file for path in paths for file in ([path] if not path.is_dir() or path.is_symlink() else path.rglob("*")))
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())
