"""A fresh run: a folder under a free name, its configuration and its first status."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ssl_mask.config import RunConfig, to_yaml
from ssl_mask.errors import InputError
from ssl_mask.files import storage, write_text
from ssl_mask.runs.run import RunDir


def create_run(config: RunConfig, verb: str) -> RunDir:
    """A fresh run folder with its configuration in it.

    Raises:
        InputError: the name is taken.
        StorageError: the folder cannot be made.
    """
    return begin_run(RunDir(new_folder(config, verb)), config, verb)


def begin_run(run: RunDir, config: RunConfig, verb: str, **fields: Any) -> RunDir:
    """Make a fresh folder a run: its configuration and, last, its status."""
    write_text(run.config_file, to_yaml(config))
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    run.update(
        verb=verb, name=run.name, status="running", started=now, step=0, best=None, leakage="not-checked", **fields
    )
    return run


def new_folder(config: RunConfig, verb: str) -> Path:
    """A fresh folder for a run, or one that holds pseudo-labels and nothing else yet."""
    with storage(config.runs):
        config.runs.mkdir(parents=True, exist_ok=True)
        if config.name is None:
            return _next_free(config.runs, verb)
        path = config.runs / config.name
        try:
            path.mkdir()
        except FileExistsError:
            if is_prepared(path):
                return path
            hint = f"Choose another --name, or continue it: --resume {config.name}"
            raise InputError(f"The run {path} exists.", hint=hint) from None
        return path


def is_prepared(path: Path) -> bool:
    """Whether a round of pseudo-labels has been selected here, but its training has not begun."""
    run = RunDir(path)
    return run.pseudo_labels.is_file() and not run.status_file.exists()


def _next_free(runs: Path, verb: str) -> Path:
    number = 1 + sum(p.name.startswith(f"{verb}-") for p in runs.iterdir())
    while True:
        path = runs / f"{verb}-{number:03d}"
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path
