"""A gallery: labeled images that predict by their neighbours. The only file that knows names inside one.

runs/gallery-001/
├── gallery.json                 which run or study embeds, what was added when, the names of the files below
├── rows-4be1….parquet           the embeddings table: every image with its labels, group and vector
├── seen-train-90aa….npz         what was put in, for the leakage guard, as beside a checkpoint
├── validation-07c3….parquet     the images that the network was not trained on, by their neighbours of other groups
└── predictions/<pool>/

Files are named after their content and gallery.json is written last, so that a kill leaves the gallery of before or the
one of after. Nothing in them depends on the time: what is added and removed again leaves the bytes of before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

from ssl_mask.data.manifest import Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError, MismatchError, did_you_mean
from ssl_mask.files import holding, write_json
from ssl_mask.reading import parse_json, read_text, reading
from ssl_mask.runs.base import Count, Positive, Record, parse_record
from ssl_mask.runs.records import LeakageRecord, LeakageStatus, SeenRecord, as_schema, as_submission
from ssl_mask.runs.seal import file_digest, is_whole, sealed, unsealed

RECORD = "gallery.json"
BUILT = ""
"""The name of the part that a gallery was built of."""


class GalleryPart(Record):
    """Images that were put in by one command."""

    number: Count
    """In the column `part` of the rows."""
    name: str
    """The class as it was named; "" for what the gallery was built of."""
    classes: tuple[str, ...]
    """Of each factor; () for what the gallery was built of."""
    images: Count
    data: str
    """Where they were."""
    code: str
    """Version of sslmask."""
    checked: bool
    """Whether the leakage guard was on."""
    leakage: LeakageStatus
    leakage_reason: str
    marks: dict[str, LeakageStatus]


class Embedder(Record):
    """A run whose network embeds."""

    run: str
    checkpoint_sha256: str
    width: Annotated[int, Field(gt=0)]
    """Of its part of the vectors, which stand side by side."""


class GalleryRecord(LeakageRecord):
    """gallery.json."""

    source: str
    """Path of the run or the study."""
    members: tuple[Embedder, ...] = Field(min_length=1)
    base: Annotated[LabelSchema, BeforeValidator(as_schema), PlainSerializer(LabelSchema.to_json)]
    """The classes of the run."""
    base_submission: Annotated[Submission, BeforeValidator(as_submission), PlainSerializer(Submission._asdict)]
    k: Annotated[int, Field(gt=0)]
    """Groups that vote."""
    temperature: Positive
    parts: tuple[GalleryPart, ...]
    images: Count
    rows_sha256: str
    seen_file: SeenRecord | None
    """What is known of what was put in; `seen` is not set where it is not all."""
    validation_sha256: str | None

    @property
    def label_schema(self) -> LabelSchema:
        """The classes of the run, each factor followed by what was added to it."""
        return extended(self.base, [part.classes for part in self.parts])

    @property
    def submission(self) -> Submission:
        """That of the run; once a class was added, with class names: the numbers of the old classes would change."""
        given = self.base_submission
        if given.answers == "names" or self.label_schema == self.base:
            return given
        return Submission(given.id_column, tuple(self.base.sizes), "names")


def extended(base: LabelSchema, added: Sequence[tuple[str, ...]]) -> LabelSchema:
    """The schema with more classes, new ones after the others, in the order in which they came.

    Args:
        added: a class of each factor; () adds none.
    """
    added = [classes for classes in added if classes]
    return LabelSchema(tuple(
        Factor(f.name, tuple(dict.fromkeys([*f.classes, *(classes[i] for classes in added)])))
        for i, f in enumerate(base.factors)
    ))  # fmt: skip


@dataclass(frozen=True)
class GalleryDir:
    """Paths inside one gallery."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def best(self) -> Path:
        """What says all of it: it names the other files by their digests."""
        return self.path / RECORD

    def rows(self, record: GalleryRecord) -> Path:
        return self._file("rows", record.rows_sha256, ".parquet")

    def validation(self, record: GalleryRecord) -> Path | None:
        """None: no image is in it that the network was not trained on."""
        digest = record.validation_sha256
        return None if digest is None else self._file("validation", digest, ".parquet")

    def seen(self, role: str = "train") -> Path:
        """The fingerprints of what was put in, in the role of training images."""
        known = self.record().seen_file
        return self._file(f"seen-{role}", "" if known is None else known.sha256, ".npz")

    def fingerprints(self, record: GalleryRecord) -> list[Path]:
        """The file of what was put in; none where nothing is known of it."""
        known = record.seen_file
        return [] if known is None else [self._file("seen-train", known.sha256, ".npz")]

    def record(self) -> GalleryRecord:
        """The content of gallery.json.

        Raises:
            DataError: missing or damaged. MismatchError: it was changed after it was written.
        """
        hint = "Restore it from a copy, or build it anew: sslmask gallery build"
        with reading(self.best, DataError, hint=hint):
            content = parse_json(read_text(self.best))
        found = parse_record(GalleryRecord, unsealed(content), str(self.best), error=DataError, hint=hint)
        if not is_whole(content):
            raise MismatchError(f"{self.best} has changed since it was written.", hint=hint)
        return found

    def keep(self, kind: str, suffix: str, write: Callable[[Path], Any]) -> str:
        """Write a file and name it after its content; returns its digest. It counts once gallery.json names it."""
        fresh = self.path / f"{kind}-new{suffix}"
        write(fresh)
        digest = file_digest(fresh)
        fresh.replace(self._file(kind, digest, suffix))
        return digest

    def commit(self, record: GalleryRecord) -> None:
        """Make a record and the files that it names the gallery, at once; what it does not name is removed."""
        write_json(self.best, sealed(record.to_json()))
        named = {self.rows(record), self.validation(record), *self.fingerprints(record)}
        for path in self.path.glob("*-*.*"):
            if path.is_file() and path.name.startswith(("rows-", "seen-", "validation-")) and path not in named:
                path.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the gallery for this process. Raises DataError when another one works on it."""
        with holding(self.path / ".lock") as free:
            if not free:
                raise DataError(f"Another process is working on {self.path}.", hint="Wait for it, or stop it.")
            yield

    def _file(self, kind: str, digest: str, suffix: str) -> Path:
        return self.path / f"{kind}-{digest[:16]}{suffix}"


def is_gallery(path: Path) -> bool:
    return (path / RECORD).is_file()


def list_galleries(runs: Path) -> list[GalleryDir]:
    """All galleries in a folder of runs, by name."""
    return [GalleryDir(path.parent) for path in sorted(runs.glob(f"[!.]*/{RECORD}"))]  # a hidden one is being made


def find_gallery(reference: str | Path, runs: Path) -> GalleryDir:
    """A gallery by path, by name in `runs`, or `latest`: the one that was changed last.

    Raises:
        DataError: no such gallery.
    """
    found = list_galleries(runs)
    if str(reference) == "latest" and found:
        return max(found, key=lambda gallery: gallery.best.stat().st_mtime_ns)
    for path in (Path(reference), runs / reference):
        if is_gallery(path):
            return GalleryDir(path)
    if not found:
        raise DataError(f"There is no gallery in {runs.absolute()}.", hint="Build one: sslmask gallery build --run RUN")
    raise DataError(f"No gallery {str(reference)!r}.", hint=did_you_mean(str(reference), [g.name for g in found]))
