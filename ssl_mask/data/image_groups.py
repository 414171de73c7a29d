"""Which images of a folder or a CSV show the same group (person): images that no layout has read."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ssl_mask.data.image_files import is_image_name
from ssl_mask.data.layouts.images import group_and_label
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.names import plain
from ssl_mask.errors import InputError

FLAG = "--group-regex"
HOW_TO_NAME_GROUPS = f"Name them with {FLAG}, or with a CSV that has the columns image and group."


def with_groups(rows: Manifest, sources: Sequence[Path], root: Path, group_regex: str | None) -> Manifest:
    """The rows, each with its group, "" where it is not known: what an expression finds, else what a CSV says, else
    what the row has.

    Args:
        sources: what was named; a CSV among them may have a group column (`group`, `person` …).
        root: of the data set; the expression sees paths relative to it.
        group_regex: finds the group in a path: its first group in brackets, or the whole match. Given, it alone tells.

    Raises:
        InputError: no regular expression. DataError: a CSV that cannot be read.
    """
    pattern = _compiled(group_regex)
    tables = [path for path in sources if path.is_file() and not is_image_name(path.name)]
    named = {os.path.normpath(file): group for t in tables for file, (group, _) in group_and_label(t).items()}

    def group_of(file: Path, own: str) -> str:
        if pattern is not None:
            match = pattern.search(plain(path_below(file, root)))
            return (match[1] if match.groups() else match[0]) or "" if match else ""
        return plain(named.get(os.path.normpath(file), "")) or own

    found = tuple(
        row._replace(group=group_of(file, row.group)) for row, file in zip(rows.rows, rows.files, strict=True)
    )
    return replace(rows, rows=found, grouped=any(row.group for row in found))


def path_below(file: Path, root: Path) -> str:
    """The path relative to a folder, or the whole path of a file elsewhere; with forward slashes."""
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()


def _compiled(group_regex: str | None) -> re.Pattern[str] | None:
    try:
        return None if group_regex is None else re.compile(group_regex)
    except re.error as error:
        raise InputError(
            f"{FLAG} {group_regex!r} is not a regular expression: {error}.", hint=r"Such as 'person\d+'."
        ) from None
