"""Which images of a pool can be labeled next: read, with their groups, without those that could not be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.checks import check_names
from ssl_mask.data.image_groups import HOW_TO_NAME_GROUPS, path_below
from ssl_mask.data.image_set import ImageSet, open_images
from ssl_mask.data.labeling_pool import FLAG, numbered_groups, read_labeling_pool
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.data.unlabeled import usable
from ssl_mask.errors import InputError
from ssl_mask.inference.labeled import labeled_images
from ssl_mask.runs.sources import Source


def open_pool(
    named: Sequence[str], dataset: Manifest, labeled: Manifest, group_regex: str | None, reading: DataConfig, size: int,
    console: Console,
) -> ImageSet:  # fmt: skip
    """The images that can be chosen, with digests and groups.

    Left out are unreadable images, those that have a label already, copies within the pool, and images of groups that
    the run is validated on: they could not be trained on. Here a copy has the same bytes.
    """
    rows = read_labeling_pool(named, dataset, group_regex)
    check_names(rows, console)
    with console.counting("Reading the pool") as on_progress:
        opened = open_images(rows, reading, size, tolerant=True, on_progress=on_progress)
    found = usable(opened, labeled, on_bad=reading.on_bad)
    alone = sum(not row.group for row in found.manifest.rows)
    console.say(
        f"Pool   {len(found)} images of {numbered_groups(found.manifest)[1]} groups, {len(found.left_out)} left out"
    )
    if alone:
        console.warn(f"{alone} images have no known group: each is a group of its own. {HOW_TO_NAME_GROUPS}")
    return found


def refuse_budget(budget: int, pool: Manifest) -> None:
    """Raises InputError where there are fewer groups than are to be chosen."""
    groups = numbered_groups(pool)[1]
    if budget > groups:
        raise InputError(
            f"--budget is {budget}, but the pool has only {groups} groups that can be labeled.",
            hint=f"Lower --budget, or name more images: {FLAG}",
        )


def labeled_by(sources: Sequence[Source], dataset: Manifest) -> Manifest:
    """All that the runs have labels of, each image once. Images of what one run alone validates on are `val`."""
    rows: dict[str, Row] = {}
    alone = len(sources) == 1 and len(sources[0].models) == 1
    for source in sources:
        for row in labeled_images(source).rows:
            rows.setdefault(row.path, row if alone else row._replace(split="train"))
    return replace(dataset, rows=tuple(rows.values()), schema=sources[0].schema)


def as_training_images(pool: Manifest, root: Path) -> Manifest:
    """The images as the training images that they may become: below the root of the data set where they are there."""
    rows = tuple(
        row._replace(path=path_below(file, root), split="train")
        for row, file in zip(pool.rows, pool.files, strict=True)
    )
    return replace(pool, root=root, rows=rows)
