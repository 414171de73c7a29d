"""How far predictions of a pool can be trusted: the pool against all that the runs which predict it have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest
from ssl_mask.guard.ancestors import unknown_sight
from ssl_mask.guard.copies.sketches import joined
from ssl_mask.guard.findings import Pool, Role
from ssl_mask.guard.lineage import SEEN_ROLES, marks_of, read_seen
from ssl_mask.guard.places import places_of
from ssl_mask.guard.pools import pool_of
from ssl_mask.guard.sightings import MAY_BE, MEANS, NOT_AT_HAND, Seen, Sighting, Sightings, sightings
from ssl_mask.guard.status import NOTHING_SHARED, Mark, worst, worst_mark
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.exported import ExportedModel, ExportRecord
from ssl_mask.runs.gallery import GalleryDir, GalleryRecord
from ssl_mask.runs.records import CheckpointMetadata, LeakageStatus
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source

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
    review: dict[str, str] = field(default_factory=dict)
    """Path of each image that may have been seen, by what was seen of an image whose picture is not at hand -> how."""

    @property
    def sentence(self) -> str:
        """Status and reasons in one line."""
        return Mark(self.status, "; ".join(self.why)).sentence

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.status, "pool_digest": self.digest, "overlap": self.overlap, "review": self.review,
            "why": list(self.why),
        }  # fmt: skip


class SourceRun(NamedTuple):
    """A run, and what its checkpoint says of itself."""

    run: RunDir
    metadata: CheckpointMetadata

    @property
    def reading(self) -> DataConfig:
        """How its images are read."""
        return self.run.trained_config().data


class SourceGallery(NamedTuple):
    """A gallery, and what it says of itself. What was put in was seen with its labels."""

    run: GalleryDir
    metadata: GalleryRecord
    embedder: RunDir
    """The first of the runs that embed."""

    @property
    def reading(self) -> DataConfig:
        """How its images are read."""
        return self.embedder.trained_config().data


class SourceModel(NamedTuple):
    """An exported network, and what it says of itself."""

    run: ExportedModel
    metadata: ExportRecord

    @property
    def reading(self) -> DataConfig:
        """How its images are read."""
        return self.metadata.data


AnySource = SourceRun | SourceGallery | SourceModel


def runs_of(source: Source) -> tuple[SourceRun, ...]:
    """The members of a run or a study. Raises ModelError when a checkpoint is missing or damaged."""
    return tuple(SourceRun(run, read_metadata(run.best)) for run in source.members)


def checked_sources(source: Source) -> tuple[SourceRun | SourceGallery, ...]:
    """All that has seen images: the members, and the gallery that they embed.

    Raises:
        ModelError: a checkpoint is missing or damaged. DataError, MismatchError: gallery.json is.
    """
    own = runs_of(source)
    if source.kind != "gallery":
        return own
    return (*own, SourceGallery(source.gallery, source.gallery.record(), own[0].run))


def unchecked(reason: str) -> Provenance:
    """That of predictions which nobody could compare with anything."""
    return Provenance("not-checked", "", {}, (reason,))


def provenance_of(
    sources: Sequence[AnySource], pool: Manifest, console: Console, *, mode: str = "on",
    max_pixels: int | None = None,
) -> Provenance:  # fmt: skip
    """Compare a pool with what runs, galleries and exported networks have seen, and add their marks; worst wins.

    Args:
        pool: rows that are predicted or scored.
        mode: `off` compares nothing: `not-checked`.
        max_pixels: of an image of the pool; None: as each run was configured.
    """
    if mode == "off":
        return unchecked("the guard was off")
    test = pool_of(pool, "test")
    alike: dict[tuple[Any, ...], list[AnySource]] = {}
    for source in sources:
        reading = source.reading
        alike.setdefault((reading.cache, reading.max_pixels, reading.depth), []).append(source)
    found = [_provenance_of_some(some, pool, test, console, max_pixels) for some in alike.values()]
    overlap = {path: how for one in found for path, how in one.overlap.items()}
    status = worst(*(one.status for one in found))
    why = dict.fromkeys(w for one in found if one.status == status or one.overlap for w in one.why)
    review = {path: how for one in found for path, how in one.review.items() if path not in overlap}
    digest = next((one.digest for one in found if one.digest), "")
    return Provenance(status, digest, dict(sorted(overlap.items())), tuple(why), dict(sorted(review.items())))


def _provenance_of_some(
    sources: Sequence[AnySource], pool: Manifest, test: Pool, console: Console, max_pixels: int | None
) -> Provenance:
    """Of runs that read images alike, such as those of a study: all that they have seen is compared at once."""
    seen = [read_seen(source.run, source.metadata) for source in sources]
    marks = [marks_of(source.metadata) for source in sources]
    unknown = next((unknown_sight(s.run) for s, known in zip(sources, seen, strict=True) if known is None), "")
    if not any(marks) and not any(known is not None for known in seen):
        return unchecked(unknown)
    config = sources[0].reading
    config = config.model_copy(update={"max_pixels": max_pixels or config.max_pixels})
    found = sightings(test, _all_seen(seen), config, console, places=partial(_places, sources))
    return judge_seen(found, marks, grouped=pool.grouped, unknown=unknown)


def _places(sources: Sequence[AnySource]) -> dict[str, Path]:
    return {digest: place for source in sources for digest, place in places_of(source.run).items()}


def _all_seen(seen: Sequence[Seen | None]) -> Seen:
    """What any of some runs has seen, by role: an image that one was chosen on may be one that another trained on."""
    parts = [known for known in seen if known is not None]
    if len(parts) == 1:
        return parts[0]
    return {
        role: joined(*(p[role] for p in parts if role in p)) for role in SEEN_ROLES if any(role in p for p in parts)
    }


def judge_seen(
    seen: Sightings, marks: Sequence[Mapping[str, Mark]], *, grouped: bool, unknown: str = "",
) -> Provenance:  # fmt: skip
    """Status of a pool of which images were seen, and the marks that the runs carry for it.

    Args:
        marks: of each run, by digest of the pool.
        grouped: whether the pool names its persons (groups).
        unknown: why nobody knows all that was seen; "" where it is known.
    """
    test = seen.pool
    overlap, review = ({path: _told(min(how, key=_first_role)) for path, how in found.items()}
                       for found in (seen.copies, seen.review))  # fmt: skip
    found: list[Mark] = [own[test.digest] for own in marks if test.digest in own]
    compared = len(found) == len(marks)
    found += [Mark(MEANS["test"][role], "") for role in {s.role for how in seen.copies.values() for s in how}]
    if unknown:
        found.append(Mark("not-checked", unknown))
    if review:
        reason = f"{len(review)} images {MAY_BE} were seen in training: {NOT_AT_HAND} (review)"
        found.append(Mark("not-checked", reason))
    if test.unreadable:
        found.append(Mark("not-checked", f"{len(test.unreadable)} images could not be read"))
    if not grouped:
        found.append(Mark("photos-clean", "these images name no persons (groups), so shared ones cannot be ruled out"))
    elif not compared:
        found.append(Mark("photos-clean", "runs keep no names of persons (groups), so shared ones cannot be ruled out"))
    mark = worst_mark([*found, Mark("clean", NOTHING_SHARED)])
    why = [f"{len(overlap)} of {len(test.files)} images were seen in training"] if overlap else []
    why += [mark.reason] if mark.reason else []
    if seen.blind:
        why.append(
            f"of {seen.blind} images that were seen no picture is in the cache or where it was: cropped or turned "
            "copies of them are not found"
        )
    return Provenance(mark.status, test.digest, overlap, tuple(why), review)


def _first_role(sighting: Sighting) -> int:
    return SEEN_ROLES.index(sighting.role)


def _told(how: Sighting) -> str:
    return f"{'perhaps ' if how.kind == 'review' else ''}{SAID[how.role]} ({how.kind}, {how.score:.2f})"
