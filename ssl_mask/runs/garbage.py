"""What in a folder of runs is of no more use (`sslmask runs gc`): nothing that can be continued, nothing that predicts.

| what | why it may go |
| --- | --- |
| hidden files and folders of processes that were killed | nothing reads them |
| runs that failed | they are not continued |
| runs that were killed before their first save | nothing of them can be continued |
| saved states of finished runs and studies | only to train them longer (`--resume RUN --steps N`) |

What another run, study, gallery or exported network builds on stays, and so does what a process works on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ssl_mask.errors import DataError
from ssl_mask.files import UNFINISHED, storage
from ssl_mask.runs.listing import summary_of
from ssl_mask.runs.removal import held, remove, size_of
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import Study
from ssl_mask.runs.uses import builds_on, entries, users_of


class Garbage(NamedTuple):
    """Something that may go."""

    name: str
    """Of the run or the study that it is, or belongs to."""
    paths: tuple[Path, ...]
    """The run itself, or files."""
    bytes: int
    why: str

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**self._asdict(), "paths": [str(path) for path in self.paths]}


def find_garbage(folder: Path) -> list[Garbage]:
    """What may go, the largest first. The caller is `alone_in` the folder: nobody makes a run in it.

    Raises:
        DataError: a record is damaged, so nobody knows what it builds on.
    """
    graph = builds_on(folder)
    remains = tuple(sorted(folder.glob(UNFINISHED)))
    found = [_garbage(".", remains, "left by processes that were killed")] if remains else []
    for path in entries(folder):
        try:
            with held(path):
                found += _in_entry(path, graph)
        except DataError:  # a process works on it
            continue
    return sorted(found, key=lambda one: (-one.bytes, one.name))


def _in_entry(path: Path, graph: Mapping[str, set[str]]) -> Iterator[Garbage]:
    if (why := _useless(path)) and not users_of(path.name, dict(graph)):
        yield _garbage(path.name, (path,), why)
        return
    remains = tuple(sorted(file for file in path.rglob(UNFINISHED) if file.is_file()))
    if remains:
        yield _garbage(path.name, remains, "left by processes that were killed")
    states = tuple(sorted(path.rglob("checkpoints/last.state")))
    if states and _finished(path):
        yield _garbage(path.name, states, "saved state: only to train it longer (--resume with --steps)")


def _useless(path: Path) -> str:
    """Why a run cannot be used any more; empty for all others, and for studies."""
    run = RunDir(path)
    if not run.status_file.is_file() or run.rounds.exists():
        return ""
    status = run.status()
    if status.status == "failed":
        return f"failed: {status.failure}"
    begun = status.step or status.best is not None or run.last.is_file() or run.best.is_file()
    return "" if begun or status.status == "finished" else "was killed before its first save"


def _finished(path: Path) -> bool:
    run = RunDir(path)
    if run.status_file.is_file():
        return run.status().status == "finished" and run.card.is_file()
    return Study(path).record_file.is_file() and summary_of(Study(path)).status == "finished"


def _garbage(name: str, paths: tuple[Path, ...], why: str) -> Garbage:
    return Garbage(name, paths, size_of(*paths), why)


def remove_garbage(found: Sequence[Garbage], folder: Path) -> int:
    """Remove what may still go of what was found; returns its bytes. The caller is `alone_in` the folder.

    Raises:
        StorageError: no permission.
    """
    now, freed = {(one.name, path) for one in find_garbage(folder) for path in one.paths}, 0
    for one in found:
        for path in one.paths:
            if (one.name, path) not in now:
                continue
            size = size_of(path)
            try:
                _remove(path, folder / one.name)
            except DataError:  # a process works on it since then
                continue
            freed += size
    return freed


def _remove(path: Path, entry: Path) -> None:
    if path == entry:
        remove([path])
    elif path.parent == entry:  # left in the folder of runs by a process that was killed
        with storage(path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    else:
        with storage(path), held(entry):
            path.unlink()
