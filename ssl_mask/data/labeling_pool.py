"""The images that may be labeled next: where they are, and which of them show the same group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.image_groups import with_groups
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.unlabeled import read_unlabeled

FLAG = "--pool"


def read_labeling_pool(sources: Sequence[str], manifest: Manifest, group_regex: str | None) -> Manifest:
    """The data set's own unlabeled rows and the images of all sources, each with its group, "" where it is not known.

    A group is what the expression finds, or what a column of a CSV says (`group`, `person` …), or what the data set
    says of its own unlabeled rows.

    Args:
        manifest: the data set; its root is what the expression sees paths relative to.
        group_regex: finds the group in a path: its first group in brackets, or the whole match.

    Raises:
        DataError: no such images. InputError: no regular expression.
    """
    pool = read_unlabeled(sources, manifest, flag=FLAG)
    places = [place for source in sources for place in (Path(source), manifest.root / source)]
    return with_groups(pool, places, manifest.root, group_regex)


def numbered_groups(rows: Manifest) -> tuple[NDArray[np.int64], int]:
    """(n,) the number of each row's group, and how many there are; a row without a group is a group of its own.

    Groups are in the order of their smallest digests: the same images give the same numbers, whatever their names.
    """
    names = [row.group or f"\0{row.path}" for row in rows.rows]
    first: dict[str, str] = {}
    for name, row in zip(names, rows.rows, strict=True):
        first[name] = min(first.get(name, row.digest), row.digest)
    number = {name: i for i, name in enumerate(sorted(first, key=lambda name: (first[name], name)))}
    return np.asarray([number[name] for name in names], dtype=np.int64), len(number)
