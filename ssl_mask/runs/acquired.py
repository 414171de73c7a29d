"""A folder of images to label, `runs/acquire-001/`. The only file that knows names inside one.

├── acquire.csv     the images, with empty label columns to fill in; `data.extra_labels` reads it
├── acquire.png     a row of pictures for each group
└── acquire.json    what chose them
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_mask.runs.base import Count, Record, read_record
from ssl_mask.runs.records import LeakageStatus


class ChoosingRun(Record):
    """A run whose network chose."""

    run: str
    checkpoint_sha256: str


class AcquireRecord(Record):
    """acquire.json."""

    sources: tuple[str, ...]
    """Paths of the runs and studies that were named."""
    members: tuple[ChoosingRun, ...]
    by: str
    """The rule."""
    seed: Count
    """Of the rule `random`."""
    budget: Count
    """Groups that were asked for."""
    groups: Count
    images: Count
    """Of the chosen groups."""
    pool: tuple[str, ...]
    """Where the images were."""
    pool_images: Count
    """That could be chosen."""
    pool_groups: Count
    left_out: Count
    """Images of the pool that could not be chosen: labeled already, copies, of validation groups, unreadable, or test
    images."""
    table_sha256: str
    """Of acquire.csv as it was written."""
    code: str
    """Version of sslmask."""
    checked: bool
    """Whether the leakage guard compared the pool with the test images."""
    leakage: LeakageStatus
    leakage_reason: str
    marks: dict[str, LeakageStatus]
    """Content digest of each pool of test images -> status."""


@dataclass(frozen=True)
class AcquireDir:
    """Paths inside one."""

    path: Path

    @property
    def table(self) -> Path:
        return self.path / "acquire.csv"

    @property
    def sheet(self) -> Path:
        return self.path / "acquire.png"

    @property
    def record_file(self) -> Path:
        return self.path / "acquire.json"

    def record(self) -> AcquireRecord:
        """Raises DataError when acquire.json is missing or damaged."""
        return read_record(self.record_file, AcquireRecord, hint="Choose anew: sslmask acquire")
