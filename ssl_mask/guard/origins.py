"""What prepared images were made of (`sslmask prepare`), so that a part of a test photo is still that test photo.

A pool's images carry their sources as `prepared.csv` names them. Two images of one source are the same photo, whatever
was cut off; and where the source's picture is in the cache or at its place, it is compared as the image itself is: a
crop of a re-encoded test photo is found too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.prepare.record import Prepared, Source, read_prepared
from ssl_mask.guard.copies.fingerprints import Fingerprints
from ssl_mask.guard.copies.sketches import BYTES, SAMPLES, Sketches, joined, sketched
from ssl_mask.guard.findings import Pool

NO_PIXELS = "0" * 64
"""Stands for the digest of the pixels of a source whose picture nobody has: no picture has it."""


def sources_of(files: Sequence[Path], digests: Sequence[str] = ()) -> tuple[tuple[Source, ...], ...]:
    """What each file was made of, as the record of the prepared folder that it lies in says; () for all others.

    Raises:
        DataError, MismatchError: a record is damaged, or its table was changed.
    """
    records: dict[Path, Prepared | None] = {}
    found = []
    for file, digest in zip(files, digests or ("",) * len(files), strict=True):
        record = _record_above(file.absolute().parent, records)
        path = file.absolute().relative_to(record.root).as_posix() if record else ""
        found.append(record.sources(path, digest) if record else ())
    return tuple(found)


def _record_above(folder: Path, known: dict[Path, Prepared | None]) -> Prepared | None:
    """That of the nearest prepared folder that a folder is in, or is."""
    if folder not in known:
        record = read_prepared(folder)
        known[folder] = record if record or folder == folder.parent else _record_above(folder.parent, known)
    return known[folder]


class Made(NamedTuple):
    """An image of a pool, by its row, and a source of it."""

    row: int
    sha256: str


@dataclass(frozen=True)
class Origins:
    """The sources of a pool's images."""

    made: tuple[Made, ...]
    prints: Fingerprints | None
    """Of those sources whose picture is at hand; None: of none."""
    owners: NDArray[np.int64]
    """The image that each row of `prints` is a source of."""

    def sketches(self, rows: Sequence[int]) -> Sketches:
        """Of the sources of some images, to be kept as seen; those without a picture are known by their bytes alone."""
        wanted = {*rows}
        bare = sorted({m.sha256 for m in self.made if m.row in wanted})
        blank = np.zeros((len(bare), SAMPLES, BYTES), np.uint8)
        alone = Sketches(tuple(bare), (NO_PIXELS,) * len(bare), blank)
        if self.prints is None:
            return alone
        shown = sketched(self.prints, [i for i, row in enumerate(self.owners.tolist()) if row in wanted])
        return joined(shown, alone)  # the first of equal ones counts


def origins_of(pool: Pool, order: Sequence[int], read: Any) -> Origins:
    """The sources of a pool whose images are taken in this order.

    Args:
        read: (files, digests=) -> their fingerprints, such as `fingerprint`; what is neither in the cache nor at its
            place is unreadable.
    """
    sources = [(row, source) for row, position in enumerate(order)
               for source in (pool.sources[position] if pool.sources else ())]  # fmt: skip
    made = tuple(Made(row, source.sha256) for row, source in sources)
    if not made:
        return Origins((), None, np.empty(0, np.int64))
    # What is stored is found by its digest: where no place is known, a name will do.
    files = [source.place or Path(source.sha256) for _, source in sources]
    prints = read(files, digests=[source.sha256 for _, source in sources])
    there = [i for i in range(len(prints)) if i not in prints.unreadable]
    owners = np.array([made[i].row for i in there], np.int64)
    return Origins(made, prints.at(there) if there else None, owners)


def same_source(
    first: tuple[Sequence[str], Origins], second: tuple[Sequence[str], Origins]
) -> Iterator[tuple[int, int]]:
    """Rows of two pools, given by the digests of their images and their sources, that go back to one file."""
    by_digest: dict[str, list[int]] = {}
    for row, digest in _all(*second):
        by_digest.setdefault(digest, []).append(row)
    found = {(i, j) for i, digest in _all(*first) for j in by_digest.get(digest, ())}
    yield from sorted(found)


def _all(digests: Sequence[str], origins: Origins) -> Iterator[tuple[int, str]]:
    yield from ((row, digest) for row, digest in enumerate(digests) if digest)
    yield from ((made.row, made.sha256) for made in origins.made)
