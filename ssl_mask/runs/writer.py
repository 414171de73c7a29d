"""A run as those see it that write into it: only process 0 does, so nobody else has to ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ssl_mask.runs.run import RunDir


@dataclass(frozen=True)
class RunWriter:
    """Writes into a run; without one, on all processes but the first, it drops what it is asked to write."""

    run: RunDir | None
    also: Callable[[Mapping[str, Any]], None] | None = None
    """Told what is logged, after it was written."""

    def write(self, action: Callable[[RunDir], object]) -> None:
        """Do something with the run's folder."""
        if self.run is not None:
            action(self.run)

    def log(self, **record: Any) -> None:
        """Append a line to metrics.jsonl."""
        self.write(lambda run: run.log(**record))
        if self.also is not None:
            self.also(record)

    def update(self, **changes: Any) -> None:
        """Change run.json."""
        self.write(lambda run: run.update(**changes))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process. Raises DataError when another one works on it."""
        if self.run is None:
            yield
            return
        with self.run.locked():
            yield
