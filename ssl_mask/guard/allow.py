"""The allow file: overlaps that stay on purpose, each with a reason.

A CSV with the columns `first`, `second`, `reason`; an image is named by its path, as the audit prints it, or by the
SHA-256 of its file, in either order. For a group that is in two pools name the two examples of the audit.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError
from ssl_mask.guard.findings import Findings, Pair


class Allowed(NamedTuple):
    first: str
    second: str
    reason: str
    where: str
    """File and line."""


def read_allow(path: Path) -> tuple[Allowed, ...]:
    """The rows of an allow file.

    Raises:
        DataError: not readable, a missing column, a row without two images or without a reason; names the row.
    """
    rows: list[Allowed] = []
    for where, cells in read_csv(path, columns=("first", "second", "reason")):
        if not cells["first"] or not cells["second"]:
            raise DataError(f"{where}: a row allows a pair and needs `first` and `second`.")
        if not cells["reason"]:
            raise DataError(
                f"{where}: no reason to allow {cells['first']} with {cells['second']}.",
                hint="Say why this pair may stay, for whoever reads the card.",
            )
        rows.append(Allowed(cells["first"], cells["second"], cells["reason"], where))
    return tuple(rows)


def allowed_pairs(findings: Findings, allowed: Iterable[Allowed]) -> tuple[dict[Pair, str], list[str]]:
    """Pair -> reason for the pairs that the rows name, and a warning for each row that no finding needs.

    Raises:
        DataError: a row names an image that no pool has.
    """
    known = {name for pool in findings.pools for f in pool.files for name in (f.path, f.sha256)}
    by_names: dict[frozenset[str], list[Pair]] = {}
    for pair in findings.pairs:
        for first in (pair.first, pair.first_sha256):
            for second in (pair.second, pair.second_sha256):
                by_names.setdefault(frozenset((first, second)), []).append(pair)
    reasons: dict[Pair, str] = {}
    unused: list[str] = []
    for row in allowed:
        for name in (row.first, row.second):
            if name not in known:
                hint = "Give the path as sslmask audit prints it, or the file's SHA-256."
                raise DataError(f"{row.where}: {name} is no image of the pools.", hint=hint)
        pairs = by_names.get(frozenset((row.first, row.second)), [])
        if not pairs:
            unused.append(f"{row.where}: {row.first} and {row.second} are no copies of each other; remove the row.")
        reasons |= dict.fromkeys(pairs, row.reason)
    return reasons, unused
