"""The images that may be labeled next: where they are, and which of them show the same group."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.image_files import is_image_name
from ssl_mask.data.layouts.images import group_and_label
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.names import plain
from ssl_mask.data.unlabeled import read_unlabeled
from ssl_mask.errors import InputError

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
    tables = [p for s in sources for p in (Path(s), manifest.root / s) if p.is_file() and not is_image_name(p.name)]
    named = {os.path.normpath(file): group for t in tables for file, (group, _) in group_and_label(t).items()}
    pattern = _compiled(group_regex)

    def group_of(file: Path, own: str) -> str:
        if pattern is not None:
            match = pattern.search(plain(path_below(file, manifest.root)))
            return (match[1] if match.groups() else match[0]) or "" if match else ""
        return plain(named.get(os.path.normpath(file), "")) or own

    rows = tuple(row._replace(group=group_of(file, row.group)) for row, file in zip(pool.rows, pool.files, strict=True))
    return replace(pool, rows=rows, grouped=any(row.group for row in rows))


def _compiled(group_regex: str | None) -> re.Pattern[str] | None:
    try:
        return None if group_regex is None else re.compile(group_regex)
    except re.error as error:
        raise InputError(
            f"--group-regex {group_regex!r} is not a regular expression: {error}.", hint=r"Such as 'person\d+'."
        ) from None


def path_below(file: Path, root: Path) -> str:
    """The path relative to a folder, or the whole path of a file elsewhere; with forward slashes."""
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()


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
