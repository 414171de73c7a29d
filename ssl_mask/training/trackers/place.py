"""What every tracker is told of a run, and what it gives back. The trackers themselves are Accelerate's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import Study

PROJECT = "sslmask"
"""The project (experiment) that runs belong to."""


@dataclass(frozen=True)
class Place:
    """A run, as trackers see it."""

    run: RunDir
    step: int
    """Steps that are done; 0: a fresh run."""
    settings: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """Dotted key -> value."""

    @property
    def folder(self) -> Path:
        """For what trackers write; removed with the run."""
        return self.run.trackers

    @property
    def name(self) -> str:
        """Of the run, after the study that it is a part of."""
        path = self.run.path.absolute()
        return f"{path.parent.name}-{path.name}" if Study(path.parent).record_file.is_file() else path.name

    @property
    def id(self) -> str:
        """The same when the run is resumed, also elsewhere; another one for another run of the same name."""
        status = self.run.status()
        told = f"{status.name} {status.started} {status.data and status.data.content_hash}"
        return hashlib.sha256(told.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Opened:
    """A tracker that has begun."""

    tracker: Any
    """An `accelerate.tracking.GeneralTracker`."""
    keep: Callable[[Path, Sequence[Path], int], None]
    """Told the run card, the plots (PNG) and the last step."""
    close: Callable[[], None]
    """Ends it; what was logged is written then."""
