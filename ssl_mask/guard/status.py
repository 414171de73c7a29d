"""How far a score on a pool can be trusted: a small lattice, worst wins, always relative to an evaluation pool.

| status | meaning |
| --- | --- |
| clean | photos and persons (groups) were compared; nothing is in both |
| photos-clean | no shared photos; shared persons cannot be ruled out, since not all are named |
| not-checked | something was not compared: the guard was off, a run or an image was not there |
| transductive-val, transductive-test | its images were trained on without their labels, as declared |
| leaked-declared | its images were trained on with their labels, as allowed |

Marks map the content digest of an evaluation pool to its status. They travel with everything made from data: pool,
pseudo-labels, checkpoint, predictions, score.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, get_args

from ssl_mask.runs.records import LeakageStatus

LATTICE: tuple[LeakageStatus, ...] = get_args(LeakageStatus)
"""From best to worst."""


def worst(*statuses: LeakageStatus) -> LeakageStatus:
    """The worst of some statuses; `clean` of none."""
    return max(statuses, key=LATTICE.index, default="clean")


NOTHING_SHARED = "no shared photos, no shared persons"
"""The reason of `clean`."""


class Mark(NamedTuple):
    """A status and why it is no better, in words."""

    status: LeakageStatus
    reason: str

    @property
    def sentence(self) -> str:
        """Both in one line, such as `photos-clean (the test set names no persons, …)`."""
        return f"{self.status} ({self.reason})"


def worst_mark(marks: Iterable[Mark]) -> Mark:
    """The first of those with the worst status. Raises ValueError when there is no mark."""
    return max(marks, key=lambda mark: LATTICE.index(mark.status))
