"""How far a score on a pool can be trusted: a small lattice, worst wins, always relative to an evaluation pool.

Marks map the content digest of an evaluation pool to its status. They travel with everything made from data: pool,
pseudo-labels, checkpoint, predictions, score.
"""

from __future__ import annotations

from collections.abc import Mapping

from ssl_mask.runs.records import LeakageStatus

Status = LeakageStatus

Marks = Mapping[str, Status]

LATTICE: tuple[Status, ...] = ("clean", "not-checked", "transductive-val", "transductive-test", "leaked-declared")
"""From best to worst."""


def worst(*statuses: Status) -> Status:
    """The worst of some statuses; `clean` of none."""
    return max(statuses, key=LATTICE.index, default="clean")


def status_for(marks: Marks, digest: str) -> Status:
    """What is known of a score on the pool with this digest: a pool that nobody compared is `not-checked`."""
    return marks.get(digest, "not-checked")


def merge(*marks: Marks) -> dict[str, Status]:
    """Marks of something made from several things (an ensemble, a teacher and its pool): worst wins for each pool."""
    digests = sorted({digest for each in marks for digest in each})
    return {digest: worst(*(status_for(each, digest) for each in marks)) for digest in digests}
