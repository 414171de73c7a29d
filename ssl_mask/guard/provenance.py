"""How far predictions of a pool can be trusted: the pool against all that the runs which predict it have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest
from ssl_mask.guard.ancestors import unknown_sight
from ssl_mask.guard.findings import Pool, PoolRecord, Role
from ssl_mask.guard.lineage import marks_of, read_seen
from ssl_mask.guard.pools import pool_of
from ssl_mask.guard.sightings import MEANS, Sighting, sightings
from ssl_mask.guard.status import NOTHING_SHARED, Mark, worst, worst_mark
from ssl_mask.runs.records import CheckpointMetadata, LeakageStatus
from ssl_mask.runs.run import RunDir

SAID: dict[Role, str] = {
    "train": "trained on with its label",
    "val": "weights and temperatures were chosen on it",
    "unlabeled": "trained on without its label",
}


@dataclass(frozen=True)
class Provenance:
    """How far predictions of a pool can be trusted."""

    status: LeakageStatus
    digest: str
    """Of the pool; "" where it was not compared."""
    overlap: dict[str, str]
    """Path of each image that was seen before -> how."""
    why: tuple[str, ...]
    """Why the status is no better, in sentences."""

    @property
    def sentence(self) -> str:
        """Status and reasons in one line."""
        return Mark(self.status, "; ".join(self.why)).sentence

    def to_json(self) -> dict[str, Any]:
        return {"verdict": self.status, "pool_digest": self.digest, "overlap": self.overlap, "why": list(self.why)}


class SourceRun(NamedTuple):
    """A run, and what its checkpoint says of itself."""

    run: RunDir
    metadata: CheckpointMetadata


def unchecked(reason: str) -> Provenance:
    """That of predictions which nobody could compare with anything."""
    return Provenance("not-checked", "", {}, (reason,))


def provenance_of(
    sources: Sequence[SourceRun], pool: Manifest, console: Console, *, mode: str = "on", max_pixels: int | None = None
) -> Provenance:
    """Compare a pool with what some runs have seen, and add the marks that they carry; worst wins.

    Args:
        pool: rows that are predicted or scored.
        mode: `off` compares nothing: `not-checked`.
        max_pixels: of an image of the pool; None: as each run was configured.
    """
    if mode == "off":
        return unchecked("the guard was off")
    test = pool_of(pool, "test")
    found = [_provenance_of_one(source, pool, test, console, max_pixels) for source in sources]
    overlap = {path: how for one in found for path, how in one.overlap.items()}
    status = worst(*(one.status for one in found))
    why = dict.fromkeys(w for one in found if one.status == status or one.overlap for w in one.why)
    digest = next((one.digest for one in found if one.digest), "")
    return Provenance(status, digest, dict(sorted(overlap.items())), tuple(why))


def _provenance_of_one(
    source: SourceRun, pool: Manifest, test: Pool, console: Console, max_pixels: int | None
) -> Provenance:
    run, metadata = source
    seen, marks = read_seen(run, metadata), marks_of(metadata)
    if seen is None and not marks:
        return unchecked(unknown_sight(run))
    config = run.config().data
    config = config.model_copy(update={"max_pixels": max_pixels or config.max_pixels})
    record, found = sightings(test, seen or {}, config, console)
    unknown = "" if seen is not None else unknown_sight(run)
    return judge_seen(record, found, marks, grouped=pool.grouped, unknown=unknown)


def judge_seen(
    test: PoolRecord, seen: Mapping[str, Sequence[Sighting]], marks: Mapping[str, Mark], *, grouped: bool,
    unknown: str = "",
) -> Provenance:  # fmt: skip
    """Status of a pool of which images were seen, and the mark that the run carries for it.

    Args:
        grouped: whether the pool names its persons (groups).
        unknown: why nobody knows all that was seen; "" where it is known.
    """
    overlap = {path: f"{SAID[how.role]} ({how.kind}, {how.score:.2f})" for path, (how, *_) in seen.items()}
    found: list[Mark] = [marks[test.digest]] if test.digest in marks else []
    found += [Mark(MEANS["test"][role], "") for role in {s.role for how in seen.values() for s in how}]
    if unknown:
        found.append(Mark("not-checked", unknown))
    if test.unreadable:
        found.append(Mark("not-checked", f"{len(test.unreadable)} images could not be read"))
    if not grouped:
        found.append(Mark("photos-clean", "these images name no persons (groups), so shared ones cannot be ruled out"))
    elif test.digest not in marks:
        found.append(Mark("photos-clean", "runs keep no names of persons (groups), so shared ones cannot be ruled out"))
    mark = worst_mark([*found, Mark("clean", NOTHING_SHARED)])
    why = [f"{len(overlap)} of {len(test.files)} images were seen in training"] if overlap else []
    return Provenance(mark.status, test.digest, overlap, (*why, *([mark.reason] if mark.reason else [])))
