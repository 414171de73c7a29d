"""What is in a gallery: rows that are put in and taken out, and what is written of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_mask.config import DataConfig
from ssl_mask.data.embeddings import EmbeddingTable, write_embeddings
from ssl_mask.data.image_groups import with_groups
from ssl_mask.data.layouts.images import read_images
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.names import plain
from ssl_mask.data.predictions import PredictionTable, read_validation, write_table
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.evaluation.neighbours import Voting
from ssl_mask.guard.seen import merge_seen
from ssl_mask.guard.status import Mark, worst, worst_mark
from ssl_mask.guard.teachers import learned_by
from ssl_mask.inference.gallery_scores import MOST_NETWORKS, PART, UNSEEN, honest_table
from ssl_mask.runs.gallery import BUILT, GalleryDir, GalleryPart, GalleryRecord, extended
from ssl_mask.runs.records import SeenRecord
from ssl_mask.runs.sources import Source
from ssl_mask.text import shown


def write_gallery(
    home: GalleryDir, record: GalleryRecord, parts: tuple[GalleryPart, ...], table: EmbeddingTable,
    folds: Mapping[str, int], seen: Sequence[Path],
) -> GalleryRecord:  # fmt: skip
    """Make these images the gallery, at once. All that is written depends on them alone.

    Args:
        record: of before; what says of the images is replaced.
        folds: digest -> the fold that an image was validation of.
        seen: files with the fingerprints of these images, and maybe of others; none where the guard was off.

    Raises:
        StorageError: the disk refuses; the gallery is as it was.
    """
    schema = extended(record.base, [part.classes for part in parts])
    widths = [member.width for member in record.members]
    honest = honest_table(table, widths, schema, Voting(record.k, record.temperature), folds)
    known = _seen_of(home, table, seen)
    mark = worst_mark([Mark(part.leakage, part.leakage_reason) for part in parts])
    pools = sorted({digest for part in parts for digest in part.marks})
    marks = {digest: worst(*(part.marks[digest] for part in parts if digest in part.marks)) for digest in pools}
    after = record.model_copy(update={
        "parts": parts, "images": len(table),
        "rows_sha256": home.keep("rows", ".parquet", lambda path: write_embeddings(path, table)),
        "validation_sha256": None if honest is None else home.keep(
            "validation", ".parquet", lambda path: write_table(path, honest)
        ),
        "seen_file": known,
        "seen": {"train": known} if known is not None and all(part.checked for part in parts) else None,
        "leakage": mark.status, "leakage_reason": mark.reason,
        "marks": marks,
    })  # fmt: skip
    home.commit(after)
    return after


def _seen_of(home: GalleryDir, table: EmbeddingTable, seen: Sequence[Path]) -> SeenRecord | None:
    """The fingerprints that are known of these images, as a file; None where none is."""
    if not seen:
        return None
    digests, kept = frozenset(table.sha256.tolist()), list[int]()
    sha256 = home.keep("seen-train", ".npz", lambda path: kept.append(merge_seen(path, seen, digests)))
    return SeenRecord(images=kept[0], sha256=sha256) if kept[0] else None


def honest_of(home: GalleryDir, record: GalleryRecord) -> PredictionTable | None:
    """The predictions of the images that the network was not trained on; None where there are none."""
    path = home.validation(record)
    return None if path is None else read_validation(path, record.label_schema)


def folds_of(source: Source) -> Mapping[str, int]:
    """Digest -> the fold that an image was validation of."""
    tables = [read_validation(path) for path in source.tables if path.is_file()]
    return {digest: fold for t in tables for digest, fold in zip(t.sha256.tolist(), t.fold.tolist(), strict=True)}


def classes_named(name: str, schema: LabelSchema) -> tuple[str, ...]:
    """A class of each factor. Raises DataError where there is not one for each."""
    factors, found = list(schema.sizes), _classes_in(name, schema)
    if len(found) != len(factors) or not all(found):
        example = schema.joint_classes[0]
        raise DataError(
            f"{name!r} does not name a class of each factor ({', '.join(factors)}).",
            hint=f"Separate them by a slash, as in {example!r}." if len(factors) > 1 else "Name a class.",
        )
    return found


def _classes_in(name: str, schema: LabelSchema) -> tuple[str, ...]:
    """The classes in a name; the only factor may have a slash in its own."""
    return (plain(name),) if len(schema.factors) == 1 else tuple(map(plain, name.split("/")))


def with_origin(table: EmbeddingTable, source: Source, number: int) -> EmbeddingTable:
    """With the part that the images are of, and which networks were not trained on them or their groups."""
    unseen = np.zeros(len(table), np.int64)
    for bit, run in enumerate(source.members[:MOST_NETWORKS]):
        learned = learned_by(run)
        new = [
            not learned.unknown and digest not in learned.digests and not (group and group in learned.groups)
            for digest, group in zip(table.sha256.tolist(), table.group.tolist(), strict=True)
        ]
        unseen |= np.asarray(new, np.int64) << bit
    return replace(table, more={PART: np.full(len(table), number, np.int64), UNSEEN: unseen}, header={})


def rows_of_class(
    images: str | Path, classes: tuple[str, ...], record: GalleryRecord, data: DataConfig, group_regex: str | None
) -> Manifest:
    """The images, each with these classes and its group.

    Args:
        data: the data set of the run that embeds.
        group_regex: as `with_groups`; None: that of the data set.

    Raises:
        DataError: no images. InputError: no regular expression.
    """
    schema = extended(record.base, [*(part.classes for part in record.parts), classes])
    rows = read_images(images, schema, record.base_submission, flag="the folder")
    rows = with_groups(rows, [Path(images)], data.root, group_regex or data.options.get("group_regex"))
    labels = schema.encode(dict(zip(schema.sizes, classes, strict=True)), where="/".join(classes))
    return rows.with_rows(row._replace(labels=labels) for row in rows.rows)


def new_rows(fresh: EmbeddingTable, table: EmbeddingTable, data: str) -> EmbeddingTable:
    """Those of some images that are not in the gallery yet, each once.

    Args:
        data: where they are, for messages.

    Raises:
        DataError: one is in it under another class, or none is new.
    """
    there = {digest: i for i, digest in enumerate(table.sha256.tolist())}
    new: list[int] = []
    for i, digest in enumerate(fresh.sha256.tolist()):
        old = there.setdefault(digest, -1 - i)
        if old >= 0:
            own = [[str(t.labels[f][row]) for f in t.labels] for t, row in ((fresh, i), (table, old))]
            if own[0] != own[1]:
                raise DataError(
                    f"{fresh.path[i]} is in the gallery already, as {shown('/'.join(own[1]))} ({table.path[old]}).",
                    hint="Remove it there first: sslmask gallery remove IMAGE",
                )
        elif old == -1 - i:
            new.append(i)
    if not new:
        raise DataError(
            f"All {len(fresh)} images of {data} are in the gallery already.",
            hint="Add other images. Or, to name other groups, remove these first: sslmask gallery remove CLASS",
        )
    return fresh.at(new)


def parts_left(parts: Sequence[GalleryPart], table: EmbeddingTable) -> tuple[GalleryPart, ...]:
    """The parts that rows are of, with how many there are."""
    counts = np.bincount(table.more[PART], minlength=1 + max(part.number for part in parts)).tolist()
    left = (part.model_copy(update={"images": counts[part.number]}) for part in parts)
    return tuple(part for part in left if part.images)


def named_rows(what: str, record: GalleryRecord, table: EmbeddingTable) -> NDArray[np.bool_]:
    """(n,) whether a row was added as this class, or is one of these images.

    Raises:
        DataError: nothing was added as that, and it names no image of the gallery.
    """
    numbers = [part.number for part in record.parts if part.classes and part.classes == _classes_in(what, record.base)]
    if numbers:
        return np.isin(table.more[PART], numbers)
    if not Path(what).exists() and not any(c in what for c in "*?["):
        added = ", ".join(repr(part.name) for part in record.parts if part.name != BUILT) or "nothing"
        raise DataError(f"Nothing was added as {what!r}.", hint=f"Added: {added}. Or name a folder or an image.")
    files = {str(file.absolute()) for file in read_images(what, record.base, record.base_submission).files}
    found = np.isin(table.path, sorted(files))
    if not found.any():
        raise DataError(f"No image of {what} is in the gallery.", hint="See what is: sslmask gallery show")
    return found


def refuse_unlabeled(table: EmbeddingTable, where: str) -> None:
    """Raises DataError: no images, or one without a label."""
    if not len(table):
        raise DataError(f"{where} holds no images, so there is nothing to build a gallery of.", hint="Name another.")
    for factor, names in table.labels.items():
        if (lacking := names == "").any():
            raise DataError(
                f"{where}: {int(lacking.sum())} images have no {factor}, such as {table.path[int(lacking.argmax())]}.",
                hint="A gallery needs labels: embed labeled images (sslmask embed without --images).",
            )
