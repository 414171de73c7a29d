"""Trackers beside metrics.jsonl: they are told what is logged, and whatever happens to one, the training goes on.

A tracker that raises (no network, a full disk, a library that does not import) is left out from then on, with one
warning. Only process 0 has trackers. Nothing random is drawn here: the weights are the same with and without.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.errors import ConfigError
from ssl_mask.reading import one_line
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.writer import RunWriter
from ssl_mask.training.trackers.place import Opened, Place

ODD = re.compile(r"[^\w./ -]")
"""What a name of a metric may not hold: MLflow refuses it."""
Draw = Callable[[Path], Sequence[Path]]
"""Draws the plots of a run as PNG into a folder."""


def refuse_missing(names: Sequence[str]) -> None:
    """Check that the libraries of trackers are installed; imports none.

    Raises:
        ConfigError: one is not; says how to install it.
    """
    for name in names:
        found = find_spec(name)
        if found is None or found.origin is None:  # a folder of that name, which trackers like to make, is no library
            raise ConfigError(
                f"train.trackers: {name} is not installed.", hint=f'Install it: pip install "sslmask[{name}]"'
            )


class Trackers:
    """The trackers of a run that still work."""

    def __init__(self, names: Sequence[str], console: Console) -> None:
        self._names = names
        self._console = console
        self._open: dict[str, Opened] = {}

    def start(self, writer: RunWriter, config: RunConfig, *, step: int) -> RunWriter:
        """Begin, or go on with what was begun before step `step`.

        Returns:
            A writer whose lines of metrics.jsonl are told to the trackers, too.
        """
        if writer.run is None or not self._names:
            return writer
        place = Place(writer.run, step, dict(flat(config.model_dump(mode="json"))))
        for name in self._names:
            with self._guarded(name), _quiet():
                self._open[name] = import_module(f"ssl_mask.training.trackers.{name}").open_tracker(place)
        if not step:
            self._each(lambda opened: opened.tracker.store_init_configuration(dict(place.settings)))
        return replace(writer, also=self.log)

    def log(self, record: Mapping[str, Any]) -> None:
        """Tell a line of metrics.jsonl: `train/loss`, `val/ema/macro_f1`, …"""
        values, step = values_of(record), int(record["step"])
        self._each(lambda opened: opened.tracker.log(values, step=step))

    def keep(self, run: RunDir, draw: Draw) -> None:
        """Give them the card and the plots of a finished run."""

        def give(opened: Opened) -> None:
            with TemporaryDirectory() as folder:
                opened.keep(run.card, draw(Path(folder)), run.status().step)

        self._each(give)

    def close(self) -> None:
        """End all of them; what they have is written."""
        while self._open:
            name, opened = self._open.popitem()
            with self._guarded(name), _quiet():
                opened.close()

    def _each(self, action: Callable[[Opened], None]) -> None:
        for name, opened in list(self._open.items()):
            with self._guarded(name):
                action(opened)

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """What a tracker raises leaves it out, with one warning."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the tracker's own use of libraries
                yield
        except (Exception, SystemExit) as error:
            if (opened := self._open.pop(name, None)) is not None:
                with suppress(Exception, SystemExit), _quiet():
                    opened.close()
            why = one_line(str(error))[:200] or type(error).__name__
            self._console.warn(
                f"The tracker {name} failed ({why}) and is off. The training goes on; metrics.jsonl has all of it."
            )


@contextmanager
def tracking(names: Sequence[str], console: Console) -> Iterator[Trackers]:
    """Trackers that are ended whatever happens inside: a Ctrl-C, an error."""
    trackers = Trackers(names, console)
    try:
        yield trackers
    finally:
        trackers.close()


def values_of(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics.jsonl by name; lists are left out."""
    about = {"kind", "step", "weights"}
    prefix = record["kind"] if record["kind"] == "train" else f"{record['kind']}/{record['weights']}"
    leaves = flat({key: value for key, value in record.items() if key not in about}, join="/")
    return {ODD.sub("_", f"{prefix}/{key}"): float(value) for key, value in leaves if type(value) in {int, float}}


def flat(tree: Mapping[str, Any], above: str = "", *, join: str = ".") -> Iterator[tuple[str, Any]]:
    """(name, value) of each leaf; what trackers have no type for as text."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{above}{key}{join}", join=join)
        else:
            yield f"{above}{key}", value if type(value) in {bool, int, float, str} else str(value)


@contextmanager
def _quiet() -> Iterator[None]:
    """What a tracker prints when it begins and ends is not for --quiet, and not for --json."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
