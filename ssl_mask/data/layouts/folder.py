"""Class folders: `<class>/…`, or `train/<class>/…`; with either, `val/<class>/…` and `test/…` if there are any.

A split folder may have any name of its split (`Training`, `validation`, `test_images`), in upper or lower case.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import field_validator

from ssl_mask.config.base import Settings
from ssl_mask.data.image_files import find_images, holds_images
from ssl_mask.data.layouts.paths import entries, is_written_by_us
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.names import Split, is_never_a_class, plain, split_of_folder
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError

_SYSTEM_FOLDERS = {
    "__pycache__", "appdata", "desktop", "dist-packages", "documents", "downloads", "etc", "node_modules", "proc",
    "program files", "sbin", "site-packages", "temp", "tmp", "users", "usr", "var", "venv", "windows",
}  # fmt: skip


class Options(Settings):
    group_regex: str | None = None
    """The group is what this regular expression finds in an image's path (its first group, or the whole match)."""
    group_csv: Path | None = None
    """CSV with the columns `image` (path below the data folder) and `group`."""

    @field_validator("group_regex")
    @classmethod
    def _compiles(cls, text: str | None) -> str | None:
        try:
            re.compile(text or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return text


def detect(root: Path) -> bool:
    return len(_class_folders(_split_folders(root).get("train", [root])[0])) >= 2


def read(root: Path, options: Options) -> Manifest:
    """Images by class folder. Test images in class folders get their labels too, but only for scoring.

    Raises:
        DataError: no class folders, two folders of one split, a split or a pool among the classes, an image without a
            group, a validation class that is not in train.
    """
    splits: dict[Split, Path] = {"train": root}
    for split, folders in _split_folders(root).items():
        if len(folders) > 1:
            raise DataError(
                f"{root}: {folders[0].name}/ and {folders[1].name}/ both say that they are the {split} images.",
                hint="Put their images into one folder, or move one of them out of the data folder.",
            )
        splits[split] = folders[0]
    train = splits["train"]
    if train != root:
        _refuse_splits_as_classes(train)
    folders = _class_folders(train)
    classes = tuple(sorted({plain(f.name) for f in folders}))
    if len(classes) < 2:
        raise DataError(
            f"{root}: fewer than two class folders with images.",
            hint="Put the images into train/<class>/, one folder per class.",
        )
    schema = LabelSchema((Factor("class", classes),))
    group_of = _grouping(root, options)
    images: dict[Split, list[Path]] = {"train": sorted((p for f in folders for p in find_images(f)), key=Path.as_posix)}
    others: tuple[Split, ...] = ("val", "test")
    images |= {split: find_images(splits[split]) for split in others if split in splits}
    rows = [
        _row(root, splits[split], image, split, schema, group_of) for split, found in images.items() for image in found
    ]
    listed = ", ".join(classes[:5]) + (", …" if len(classes) > 5 else "")
    counts = ", ".join(f"{len(found)} {split}" for split, found in images.items() if found)
    return Manifest(
        root=root,
        layout="folder",
        schema=schema,
        rows=tuple(rows),
        grouped=bool(options.group_regex or options.group_csv),
        submission=Submission("image", ("class",), "names"),
        message=f"folder layout: {len(classes)} classes ({listed}), {counts}",
        notes=_unknown_test_classes(splits, rows),
    )


def doubt(root: Path) -> str:
    """Why the folders in `root` may be no classes, as the start of a sentence; "" where nothing speaks against it.

    Only class folders right in `root` are a guess: a folder called train says what is in it.
    """
    if "train" in _split_folders(root):
        return ""
    inner: dict[frozenset[str], str] = {}
    for folder in _class_folders(root):
        if folder.name.lower() in _SYSTEM_FOLDERS:
            return f"{folder.name}/ is no class of images"
        below = _class_folders(folder, every=True)
        split = next((p for p in below if split_of_folder(p.name) is not None), None)
        if split is not None:
            return f"{folder.name}/ holds {split.name}/, so it looks like a data set of its own"
        names = frozenset(p.name for p in below)
        if len(names) > 1 and inner.setdefault(names, folder.name) != folder.name:
            listed = ", ".join(sorted(names)[:3])
            return f"{inner[names]}/ and {folder.name}/ hold the same folders ({listed}, …), so they look like splits"
    return ""


def _split_folders(root: Path) -> dict[Split, list[Path]]:
    """The folders with images that are called like a split."""
    found: dict[Split, list[Path]] = {}
    for folder in entries(root):
        split = split_of_folder(folder.name)
        if split not in {None, "unlabeled"} and folder.is_dir() and holds_images(folder):
            found.setdefault(split, []).append(folder)
    return found


def _class_folders(folder: Path, *, every: bool = False) -> list[Path]:
    """The folders with images; without splits, pools and what sslmask writes, unless `every`."""
    inside = [p for p in entries(folder) if every or not is_never_a_class(p.name)]
    return [p for p in inside if p.is_dir() and (every or not is_written_by_us(p)) and holds_images(p)]


def _refuse_splits_as_classes(train: Path) -> None:
    for folder in _class_folders(train, every=True):
        if split_of_folder(folder.name) is not None:
            raise DataError(
                f"{train.name}/{folder.name}: the folder's name says that it is a split or a pool, not a class.",
                hint=f"Put it beside {train.name}/. If it is a class, give it another name.",
            )


def _row(
    root: Path, folder: Path, image: Path, split: Split, schema: LabelSchema, group_of: Callable[[str], str]
) -> Row:
    path = image.relative_to(root).as_posix()
    inner = image.relative_to(folder)
    known = schema.factors[0].classes
    name = plain(inner.parts[0]) if len(inner.parts) > 1 else ""
    labels = (known.index(name),) if name in known else None
    if labels is None and split == "val":
        raise DataError(
            f"{path}: its folder is not a class of the training images.", hint=f"Classes: {', '.join(known[:20])}."
        )
    group = "" if split == "test" else group_of(path)
    return Row(path, group, split, path, labels, id=inner.as_posix())


def _unknown_test_classes(splits: dict[Split, Path], rows: Sequence[Row]) -> tuple[str, ...]:
    """A note where some test images are in class folders and others are in folders that are no class."""
    tests = [r for r in rows if r.split == "test"]
    unknown = Counter(r.id.split("/")[0] for r in tests if r.labels is None and "/" in r.id)
    if not unknown or all(r.labels is None for r in tests):
        return ()
    listed = ", ".join(f"{name}/ {n}" for name, n in sorted(unknown.items())[:5])
    return (
        f"images in {splits['test'].name}/ that get no label, because no train folder has the name of theirs: "
        f"{sum(unknown.values())} ({listed}).",
    )


def _grouping(root: Path, options: Options) -> Callable[[str], str]:
    if options.group_csv is not None:
        return _by_table(root / options.group_csv)
    if options.group_regex is not None:
        return _by_expression(re.compile(options.group_regex))
    return lambda path: path


def _by_table(table: Path) -> Callable[[str], str]:
    known: dict[str, tuple[str, str]] = {}
    for where, cells in read_csv(table, columns=("image", "group")):
        image, group = plain(cells["image"]), plain(cells["group"])
        if not group:
            raise DataError(f"{where}: the group is empty.", hint="Fill it in: every labeled image needs a group.")
        if known.setdefault(image, (group, where))[1] != where:
            raise DataError(f"{where}: {image} is also named at {known[image][1]}.", hint="Keep one of the two rows.")

    def group_of(path: str) -> str:
        if plain(path) not in known:
            raise DataError(f"{path} is not in {table}.", hint="Add a row with its group: every image needs one.")
        return known[plain(path)][0]

    return group_of


def _by_expression(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def group_of(path: str) -> str:
        match = pattern.search(plain(path))
        group = match and (match[1] if match.groups() else match[0])
        if not group:
            raise DataError(
                f"{path}: data.options.group_regex {pattern.pattern!r} finds no group in this path.",
                hint="The expression must find a group in the path of every train and validation image.",
            )
        return group

    return group_of
