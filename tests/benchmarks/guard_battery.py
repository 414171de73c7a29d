"""Altered copies as files: the alterations are those of the package (`ssl_mask/guard/copies/alterations.py`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ssl_mask.data.images import decode
from ssl_mask.guard.copies.alterations import ALL, Alteration, alter


class Copy(NamedTuple):
    """One altered file: of which original (its position), by which alteration."""

    original: int
    alteration: str
    path: Path


def write_copies(
    originals: Sequence[Path], folder: Path, names: Iterable[str], *, seed: int = 0,
    known: Mapping[str, Alteration] = ALL,
) -> list[Copy]:  # fmt: skip
    """Every original through every named alteration, into `folder`.

    File names are hashes, as in a scraped pool: nothing in them tells what a file is a copy of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copies = []
    for name in names:
        for position, original in enumerate(originals):
            data = alter(decode(original), original.read_bytes(), name, known[name], seed=seed)
            path = folder / (hashlib.sha256(data + name.encode()).hexdigest()[:20] + known[name].suffix)
            path.write_bytes(data)
            copies.append(Copy(position, name, path))
    return copies
