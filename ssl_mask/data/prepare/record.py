"""What a prepared data folder says of itself: which photo each of its files was made of.

A photo that was cut out of a test photo is still a test photo. So beside the prepared files stand `prepared.csv`, with
the SHA-256 of each source and each result, and `prepared.json`, with the settings and the digest of the table. The
guard reads them (`ssl_mask.guard.origins`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ssl_mask.data.prepare.crop import Box
from ssl_mask.data.tables import header_of, read_csv
from ssl_mask.errors import DataError, MismatchError
from ssl_mask.files import write_json, write_text
from ssl_mask.reading import parse_json, read_text, reading
from ssl_mask.text import csv_text

TABLE, RECORD = "prepared.csv", "prepared.json"
COLUMNS = (
    "path", "what", "faces", "confidence", "other_faces", "left", "top", "right", "bottom", "source_sha256", "sha256",
)  # fmt: skip
FORMAT = 1
DRAWN = "drawn: "
"""What is said of a photo with a drawn mask begins with this."""
_HINT = "Restore both files as sslmask prepare wrote them, or prepare the photos again."


class PreparedRow(NamedTuple):
    """One photo."""

    path: str
    """Below the data folder, of the result and, but for a drawn mask, of the source."""
    what: str
    """`cropped`, `background only`, `drawn: ` and what, or `kept: ` and why it is as before."""
    faces: int
    """That were found."""
    confidence: float
    """Of the one that was chosen; 0 where none was."""
    other_faces: str
    """Left, top, right, bottom in pixels and confidence of those that were not chosen; `; ` between them."""
    box: Box | None
    """What was cut out of the upright photo, in pixels."""
    sources: tuple[str, ...]
    """SHA-256 of the photo that it was made of, then of the one that that was made of, where it was prepared too."""
    sha256: str

    @property
    def cells(self) -> list[str]:
        box = [str(value) for value in self.box] if self.box else [""] * 4
        confidence = f"{self.confidence:g}" if self.confidence else ""
        return [self.path, self.what, str(self.faces), confidence, self.other_faces, *box, " ".join(self.sources),
                self.sha256]  # fmt: skip


class Source(NamedTuple):
    """A photo that another one was made of."""

    sha256: str
    place: Path | None
    """Where it was, as the record says; it may be gone or changed. None: nowhere that is known."""


@dataclass(frozen=True)
class Prepared:
    """A prepared folder as its record describes it."""

    root: Path
    by_path: Mapping[str, tuple[Source, ...]]
    by_digest: Mapping[str, tuple[Source, ...]]

    def sources(self, path: str, digest: str) -> tuple[Source, ...]:
        """What a file was made of, by its path or its content: a file that was changed or moved keeps its source."""
        found = (*self.by_path.get(path, ()), *(self.by_digest.get(digest, ()) if digest else ()))
        once: dict[str, Source] = {}
        for source in found:
            once.setdefault(source.sha256, source)
        return tuple(once.values())


def write_prepared(folder: Path, source: Path, rows: Iterable[PreparedRow], content: Mapping[str, Any]) -> None:
    """Both files. Raises StorageError.

    Args:
        source: the data folder that the photos were read from.
        content: what else is to be said: settings, models, counts.
    """
    text = csv_text([COLUMNS, *(row.cells for row in sorted(rows))])
    write_text(folder / TABLE, text)
    digest = hashlib.sha256((folder / TABLE).read_bytes()).hexdigest()
    write_json(folder / RECORD, {"format": FORMAT, "source": str(source), **content, "table_sha256": digest})


def read_prepared(folder: Path) -> Prepared | None:
    """The record of a prepared folder; None where it is none.

    Raises:
        DataError: a file is damaged. MismatchError: the table is missing, or not the one of the record.
    """
    table, record = folder / TABLE, folder / RECORD
    if not record.is_file():
        if table.is_file() and header_of(table) == list(COLUMNS):
            raise MismatchError(f"{record} is missing beside {table}.", hint=_HINT)
        return None
    with reading(record, DataError, hint=_HINT):
        said = parse_json(read_text(record))
        if said["format"] != FORMAT:
            raise ValueError(f"its format is {said['format']!r}, not {FORMAT}")
        source, expected = Path(str(said["source"])), str(said["table_sha256"])
    with reading(table, DataError, hint=_HINT):
        found = hashlib.sha256(table.read_bytes()).hexdigest()
    if found != expected:
        raise MismatchError(f"{table} has changed since it was written.", hint=_HINT)
    by_path: dict[str, tuple[Source, ...]] = {}
    by_digest: dict[str, tuple[Source, ...]] = {}
    rows = [cells for _, cells in read_csv(table, columns=COLUMNS)]
    # The source of a photo with a drawn mask has another name, that of its own row.
    place = {cells["source_sha256"].split()[0]: source / cells["path"]
             for cells in rows if cells["source_sha256"] and not cells["what"].startswith(DRAWN)}  # fmt: skip
    for cells in rows:
        digests = cells["source_sha256"].split()
        own = None if cells["what"].startswith(DRAWN) else source / cells["path"]
        sources = tuple(Source(d, (own or place.get(d)) if i == 0 else None) for i, d in enumerate(digests))
        by_path[cells["path"]] = sources
        by_digest[cells["sha256"]] = (*by_digest.get(cells["sha256"], ()), *sources)
    return Prepared(folder, by_path, by_digest)


def row_of(text: str) -> PreparedRow:
    """A row of the journal, see `line_of`. Raises ValueError, KeyError or TypeError where the line is not whole."""
    given = json.loads(text)
    box = Box(*given["box"]) if given["box"] else None
    return PreparedRow(**{**given, "box": box, "sources": tuple(given["sources"])})


def line_of(row: PreparedRow) -> str:
    """A row as one line of the journal of a preparation that is not finished."""
    return json.dumps(row._asdict(), ensure_ascii=True) + "\n"
