"""`sslmask gallery`: labeled images that predict by their neighbours. Build one, put in, take out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_mask.console import Console
from ssl_mask.data.embeddings import EmbeddingTable, read_embeddings
from ssl_mask.data.image_groups import HOW_TO_NAME_GROUPS
from ssl_mask.errors import DataError, nothing_written
from ssl_mask.inference.embeddings import embedded, embedders, named_source, one_process, refuse_other_embeddings
from ssl_mask.inference.gallery_contents import (
    classes_named,
    folds_of,
    honest_of,
    named_rows,
    new_rows,
    parts_left,
    refuse_unlabeled,
    rows_of_class,
    with_origin,
    write_gallery,
)
from ssl_mask.inference.gallery_intake import Guard, compared, groups_in, new_fingerprints, new_part
from ssl_mask.inference.gallery_predictor import read_rows, refuse_other_weights
from ssl_mask.inference.gallery_scores import OldAndNew, old_and_new
from ssl_mask.inference.labeled import LABELED, labeled_images
from ssl_mask.inference.load import load_predictor
from ssl_mask.reports.gallery_card import scores_told
from ssl_mask.runs.create import create_folder, refuse_taken
from ssl_mask.runs.gallery import BUILT, GalleryDir, GalleryRecord, find_gallery
from ssl_mask.runs.sources import gallery_source

K, TEMPERATURE = 10, 0.1
"""Groups that vote, and how much nearer ones count more."""


@dataclass(frozen=True)
class Gallery:
    """A gallery after it was built or changed."""

    path: Path
    record: GalleryRecord
    images: int
    """That were put in or taken out."""
    groups: int
    """That these are of; an image whose group is not known is a group of its own."""
    scores: OldAndNew | None = None
    """What that does to the classes; None: no image is in it that the network was not trained on."""


def build_gallery(
    run: str | Path = "latest",
    *,
    runs_folder: str | Path = "runs",
    embeddings: str | Path | None = None,
    name: str | None = None,
    k: int = K,
    temperature: float = TEMPERATURE,
    guard: Guard | None = None,
    drop_overlap: bool = False,
    cache: str = "auto",
    quiet: bool = False,
) -> Gallery:
    """Build a gallery of the labeled images of a run or a study.

    Args:
        run: what embeds: name or path of a run or a study, or `latest`.
        embeddings: a file of `embed` with labels. None: the images that the run was trained and validated on.
        name: of the gallery, in `runs_folder`. None: the next free one, such as `gallery-001`.
        k: persons (groups) that vote.
        temperature: of their cosines, above 0.
        guard: compare the images with the test images; None: as the run was configured.
        drop_overlap: leave out those that are also in the test set, instead of refusing all.

    Raises:
        DataError: no labeled images, other classes. MismatchError: vectors of another network.
        GuardError: images of the test set. InputError: the name is taken.

    Examples:
        >>> import ssl_mask
        >>> gallery = ssl_mask.build_gallery("first", name="faces", quiet=True)
        >>> predictions = ssl_mask.predict([gallery.path], write=False, quiet=True)
        >>> predictions.probs.shape == (len(predictions.manifest), 18)
        True
    """
    runs, compute = Path(runs_folder), one_process(quiet=quiet)
    with nothing_written():
        if name:
            refuse_taken(runs / name)
        source = named_source(run, runs)
        predictor = load_predictor([source], compute, cache=cache)
        if embeddings is not None:
            table = read_embeddings(Path(embeddings))
            refuse_other_embeddings(table, str(embeddings), source, predictor)
        else:
            table = embedded(source, predictor, labeled_images(source), LABELED)
        refuse_unlabeled(table, str(embeddings or source.path))
        table = with_origin(table, source, 0)
        table, gate = compared(table, predictor, source, compute, guard=guard, drop_overlap=drop_overlap)
        part = new_part(0, BUILT, (), table, str(embeddings or LABELED), gate)
    config = source.members[0].config().model_copy(update={"runs": runs, "name": name})
    first = GalleryRecord(
        source=str(source.path.absolute()), members=embedders(source, predictor), base=predictor.schema,
        base_submission=predictor.submission, k=k, temperature=temperature, parts=(), images=0, rows_sha256="",
        seen_file=None, validation_sha256=None, leakage="not-checked",
    )  # fmt: skip

    def fill(folder: Path, _: str) -> None:
        home = GalleryDir(folder)
        write_gallery(home, first, (part,), table, folds_of(source), new_fingerprints(home, gate))

    gallery = GalleryDir(create_folder(config, "gallery", fill))
    record = gallery.record()
    groups = groups_in(table)
    compute.console.say(
        f"Saved  {gallery.path}  ({len(table)} images of {groups} groups; next: sslmask predict --run {gallery.path})"
    )
    return Gallery(gallery.path, record, len(table), groups, old_and_new(None, honest_of(gallery, record)))


def add_to_gallery(
    name: str,
    images: str | Path,
    *,
    gallery: str | Path = "latest",
    runs_folder: str | Path = "runs",
    group_regex: str | None = None,
    guard: Guard | None = None,
    drop_overlap: bool = False,
    cache: str = "auto",
    quiet: bool = False,
) -> Gallery:
    """Put images of one class into a gallery, whether it knows the class or not. Nothing is trained.

    Args:
        name: the class; with several factors a class of each, such as `worn/male/<30`.
        images: a folder, an image, a glob, or a CSV with an image column and perhaps a group column.
        group_regex: finds the group (person) in the path of an image. None: as the data set of the run finds it. All
            images of a group have one vote.
        guard: compare the images with the test images; None: as the run was configured.
        drop_overlap: leave out those that are also in the test set, instead of refusing all.

    Raises:
        DataError: no such gallery, no images, or images that are in it under another class.
        ImageError: an unreadable image. GuardError: images of the test set. InputError: no regular expression.

    Examples:
        >>> from pathlib import Path
        >>> import ssl_mask
        >>> gallery = ssl_mask.add_to_gallery("cloth/male/<30", Path("faces/extra"), gallery="faces", quiet=True)
        >>> gallery.record.label_schema.factors[0].classes[-1]
        'cloth'
    """
    runs, compute = Path(runs_folder), one_process(quiet=quiet)
    home = find_gallery(gallery, runs)
    with home.locked(), nothing_written():
        record, source = home.record(), gallery_source(home, runs)
        refuse_other_weights(record, source)
        embedder = load_predictor(source.parts, compute, cache=cache)
        classes, table = classes_named(name, record.base), read_rows(home, record)
        number = 1 + max(part.number for part in record.parts)
        rows = rows_of_class(images, classes, record, source.members[0].trained_config().data, group_regex)
        fresh = new_rows(embedded(source.parts[0], embedder, rows, str(images)), table, str(images))
        fresh = with_origin(fresh, source.parts[0], number)
        fresh, gate = compared(fresh, embedder, source.parts[0], compute, guard=guard, drop_overlap=drop_overlap)
        part = new_part(number, "/".join(classes), classes, fresh, str(images), gate)
        before, prints = honest_of(home, record), [*home.fingerprints(record), *new_fingerprints(home, gate)]
        after = write_gallery(
            home, record, (*record.parts, part), table.joined(fresh), folds_of(source.parts[0]), prints
        )
    if alone := int((fresh.group == "").sum()):
        compute.console.warn(
            f"{alone} images have no known group (person): each is a group of its own, with a vote of its own. "
            + HOW_TO_NAME_GROUPS
        )
    return _told(home, after, fresh, old_and_new(before, honest_of(home, after)), "Added", compute.console)


def remove_from_gallery(
    what: str,
    *,
    gallery: str | Path = "latest",
    runs_folder: str | Path = "runs",
    quiet: bool = False,
) -> Gallery:
    """Take images out of a gallery: those that were added as a class, or those of a folder.

    What was added last and is removed leaves the bytes of before.

    Args:
        what: the class as `add` was told it; or a folder, an image, or a glob.

    Raises:
        DataError: no such gallery, nothing of the kind in it, or nothing would be left.

    Examples:
        >>> import ssl_mask
        >>> ssl_mask.remove_from_gallery("cloth/male/<30", gallery="faces", quiet=True).record.parts[-1].number
        0
    """
    runs, compute = Path(runs_folder), one_process(quiet=quiet)
    home = find_gallery(gallery, runs)
    with home.locked(), nothing_written():
        record, source = home.record(), gallery_source(home, runs)
        table = read_rows(home, record)
        gone = named_rows(what, record, table)
        taken, left = table.at(gone), table.at(~gone)
        if not len(left):
            raise DataError(f"{home.path} would hold no images any more.", hint="Delete its folder instead.")
        before, parts = honest_of(home, record), parts_left(record.parts, left)
        after = write_gallery(home, record, parts, left, folds_of(source.parts[0]), home.fingerprints(record))
    return _told(home, after, taken, old_and_new(before, honest_of(home, after)), "Removed", compute.console)


def _told(
    home: GalleryDir, record: GalleryRecord, moved: EmbeddingTable, scores: OldAndNew | None, verb: str,
    console: Console,
) -> Gallery:  # fmt: skip
    """Args: moved: the images that were put in or taken out."""
    groups = groups_in(moved)
    console.say(f"{verb:<6} {len(moved)} images of {groups} groups; {home.path} holds {record.images} images of "
                f"{len(record.label_schema.joint_classes)} classes")  # fmt: skip
    for sentence in scores_told(scores):
        console.say(sentence)
    return Gallery(home.path, record, len(moved), groups, scores)
