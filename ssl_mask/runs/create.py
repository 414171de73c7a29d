"""A fresh run: everything that is known before its first step, and only then its name.

A folder is filled under a hidden name and renamed in one act, so that a kill leaves a whole run, which can be resumed,
or none, and then the same command makes it. What it was building is removed by the next one that makes a run there.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssl_mask.config import RunConfig, to_yaml
from ssl_mask.errors import InputError
from ssl_mask.files import UNFINISHED, hidden_beside, one_at_a_time, storage, write_text
from ssl_mask.runs.run import RunDir

Fields = dict[str, Any]
"""Of run.json, beyond those that every run has."""


def create_run(config: RunConfig, verb: str, fill: Callable[[RunDir], Fields]) -> RunDir:
    """A fresh run folder.

    Args:
        fill: writes what belongs into the folder, which does not have its name yet; returns fields of run.json.

    Raises:
        InputError: the name is taken.
        StorageError: the folder cannot be made.
    """

    def build(folder: Path, name: str) -> None:
        run = RunDir(folder)
        begin_run(run, config, verb, **{"name": name, **fill(run)})

    return RunDir(create_folder(config, verb, build))


def begin_run(run: RunDir, config: RunConfig, verb: str, **fields: Any) -> RunDir:
    """Make a folder a run: its configuration and, last, its status."""
    write_text(run.config_file, to_yaml(config))
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    first = {"name": run.name, "status": "running", "step": 0, "best": None, "leakage": "not-checked"}
    run.update(verb=verb, started=now, **{**first, **fields})
    return run


def create_folder(config: RunConfig, prefix: str, build: Callable[[Path, str], None]) -> Path:
    """A fresh folder in `config.runs`, named `config.name` or `<prefix>-001`, that is there when it is whole.

    One that holds pseudo-labels and nothing else yet is filled in place.

    Args:
        build: fills the folder; told the name that it will have.

    Raises:
        InputError: the name is taken.
        StorageError: the folder cannot be made.
    """
    with storage(config.runs):
        config.runs.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(config.runs / ".new.lock"):
            for unfinished in config.runs.glob(UNFINISHED):  # of processes that were killed here: nobody else is
                shutil.rmtree(unfinished, ignore_errors=True)
            path = config.runs / (config.name or _next_free(config.runs, prefix))
            if is_prepared(path):
                build(path, path.name)
                return path
            refuse_taken(path)
            hidden = hidden_beside(path)
            try:
                hidden.mkdir()
                build(hidden, path.name)
                hidden.rename(path)
            finally:
                shutil.rmtree(hidden, ignore_errors=True)
    return path


def is_prepared(path: Path) -> bool:
    """Whether a round of pseudo-labels has been selected here, but its training has not begun."""
    run = RunDir(path)
    return run.pseudo_labels.is_file() and not run.status_file.exists()


def refuse_taken(path: Path) -> None:
    """Raises InputError where a folder that is to be made is there. A verb that works long before it makes one asks."""
    if not os.path.lexists(path) or _is_empty_folder(path):
        return
    if any((path / made).is_file() for made in ("run.json", "study.json")):
        hint = f"Choose another --name, or continue it: --resume {path.name}"
        raise InputError(f"The run {path} exists.", hint=hint)
    raise InputError(f"{path} exists, and is no run.", hint="Choose another --name, or move it away.")


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _next_free(runs: Path, prefix: str) -> str:
    number = 1 + sum(p.name.startswith(f"{prefix}-") for p in runs.iterdir())
    while os.path.lexists(runs / f"{prefix}-{number:03d}"):
        number += 1
    return f"{prefix}-{number:03d}"
