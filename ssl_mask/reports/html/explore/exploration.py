"""Everything that a page says of a data set before training, as numbers; `page` and `text` put it into words."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_mask.config import DataConfig
from ssl_mask.reports.html.advice import Step, data_flags, train_corrected
from ssl_mask.reports.html.explore.copies import Copies
from ssl_mask.reports.html.explore.counts import RARE_GROUPS, class_counts, mixed_groups
from ssl_mask.reports.html.explore.embedding import Difference, Embedding
from ssl_mask.reports.html.explore.images import Images
from ssl_mask.reports.html.explore.pixels import unusual

IMBALANCE = 3.0
"""The most frequent class has so many times as many images as the rarest: worth a sentence."""


@dataclass(frozen=True)
class Pixels:
    """What some images are like."""

    rows: NDArray[np.int64]
    values: NDArray[np.float64]
    """(n, 4), see `ssl_mask.reports.html.explore.pixels`."""


@dataclass(frozen=True)
class Exploration:
    """What is known of a data set."""

    reading: DataConfig
    """Where it is, and how it is read."""
    message: str
    """What was found, in a sentence."""
    notes: tuple[str, ...]
    refusal: str
    """Why training would refuse the data; "" it would not."""
    images: Images
    copies: Copies
    pixels: Pixels
    embedding: Embedding | None

    @property
    def grouped(self) -> bool:
        """Whether the labeled images name groups."""
        own = self.images.group[self.images.labeled]
        return bool(len(own)) and bool((own != "").all())


def in_short(found: Exploration) -> list[tuple[str, str]]:
    """What a person should know first, each with the section that shows it; the gravest first."""
    said = [(f"Training would refuse these data: {found.refusal}", "classes")] if found.refusal else []
    said += [*_copies(found.copies), *_labels(found), *_differences(found), *_classes(found), *_pixels(found)]
    if not found.grouped and found.images.labeled.any():
        said.append(("The data name no groups. If several images show one person, object or scene, name them in a "
                     "`group` column: otherwise copies of a kind train and validate.", "groups"))  # fmt: skip
    return said or [("Nothing stands out.", "classes")]


def _copies(copies: Copies) -> list[tuple[str, str]]:
    said = []
    if copies.conflicts:
        said.append((f"Pairs of copies with different labels: {len(copies.conflicts)}. At least one label of each pair "
                     "is wrong.", "copies"))  # fmt: skip
    if copies.between:
        said.append((f"Pairs of copies in two pools: {copies.between}. A score on them does not measure new images.",
                     "copies"))  # fmt: skip
    if copies.groups:
        said.append((f"Groups in two pools: {copies.groups}.", "copies"))
    if copies.same_files:
        where = ", ".join(f"{n} in {pool}" for pool, n in copies.same_files.items())
        said.append((f"Files that another file of the same pool equals, byte for byte: {where}.", "copies"))
    if copies.unreadable:
        where = ", ".join(f"{len(why)} in {pool}" for pool, why in copies.unreadable.items())
        said.append((f"Images that cannot be read: {where}.", "copies"))
    return said


def _labels(found: Exploration) -> list[tuple[str, str]]:
    return [
        (f"{m.factor} is the same on all images of a group, except in {m.differing} of {m.groups} groups: look at "
         "their labels.",
         "groups")
        for m in mixed_groups(found.images) if m.rare
    ]  # fmt: skip


def _differences(found: Exploration) -> list[tuple[str, str]]:
    differences = () if found.embedding is None else found.embedding.differences
    return [(f"{verdict(d)} (AUC {told(d)}).", "shift") for d in differences]


def verdict(found: Difference) -> str:
    """What the AUC means."""
    low, auc = found.shift.auc.low, found.shift.auc.value
    if low <= 0.5:
        return f"The {found.other} images are not shown to differ from the labeled ones"
    if low <= found.chance:
        return f"The {found.other} images differ no more from the labeled ones than groups from each other"
    if auc < 0.65:
        return f"The {found.other} images differ a little from the labeled ones"
    if auc < 0.85:
        return f"The {found.other} images differ from the labeled ones"
    return f"The {found.other} images differ much from the labeled ones: a validation score may say little about them"


def told(found: Difference) -> str:
    """The AUC with its interval; where there is one, that of two halves of the labeled groups too."""
    auc, halves = found.shift.auc, found.halves
    same = (
        "" if halves is None else f"; of two halves of the labeled groups {halves.value:.2f}, up to {halves.high:.2f}"
    )
    return f"{auc.value:.2f}, 95 % interval {auc.low:.2f} to {auc.high:.2f}{same}"


def _classes(found: Exploration) -> list[tuple[str, str]]:
    there = class_counts(found.images)
    some = sorted((c for c in there if c.images), key=lambda c: c.images)
    said = []
    if len(some) > 1 and some[-1].images >= IMBALANCE * some[0].images:
        said.append((f"The classes are uneven: {some[-1].images} images of {some[-1].name}, {some[0].images} of "
                     f"{some[0].name}. Macro-F1 counts each class equally.", "classes"))  # fmt: skip
    empty = [c.name for c in there if not c.images]
    if empty and some:
        said.append((f"No labeled image is of {listed(empty)}.", "classes"))
    rare = [c.name for c in some if c.groups < RARE_GROUPS]
    if found.grouped and rare:
        said.append((f"Fewer than {RARE_GROUPS} groups have {listed(rare)}: not every fold can have one.", "classes"))
    return said


def _pixels(found: Exploration) -> list[tuple[str, str]]:
    ends = unusual(found.pixels.values)
    if not ends:
        return []
    words = ", ".join(f"{len(u.rows)} {u.words}" for u in ends)
    return [(f"Of {len(found.pixels.rows):,} images some are unlike the others: {words}.", "pixels")]


def next_steps(found: Exploration) -> list[Step]:
    """At most five steps, the most important first."""
    steps, data = [], data_flags(found.reading)
    named = "".join(f" --unlabeled {shlex.quote(source)}" for source in found.reading.unlabeled)
    if found.copies.conflicts or any(m.rare for m in mixed_groups(found.images)):
        steps.append(Step("Look at the labels that contradict each other, and write the right ones into a CSV with the "
                          "columns path (or group) and a column for each factor.",
                          train_corrected(found.reading)))  # fmt: skip
    if found.copies.between or found.copies.groups:
        steps.append(Step("See which images are in two pools, and which of them to leave out.",
                          f"sslmask audit {data}{named} --drop-list drop.csv"))  # fmt: skip
    if set(found.copies.unreadable) & {"train", "val"}:
        steps.append(Step("Repair the images that cannot be read, or train without them.",
                          f"sslmask train {data} --on-bad skip"))  # fmt: skip
    if found.refusal:
        steps.append(Step("Repair what training would refuse, and try.", f"sslmask train {data} --dry-run"))
    else:
        steps.append(Step("Train on the labels, each validated by a model that has not seen its group.",
                          f"sslmask train {data} --folds 5"))  # fmt: skip
    if "unlabeled" in found.images.roles and not found.refusal:
        steps.append(Step("The unlabeled images may help. The baseline shows whether they do.",
                          f"sslmask uda {data}{named} --baseline"))  # fmt: skip
    return steps[:5]


def listed(names: list[str], most: int = 4) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
