"""The unfinished folder of `sslmask prepare`: what is written there, and the journal of what is done.

The files of an unfinished folder need not be whole: only its journal says which are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ssl_mask.data.prepare import record
from ssl_mask.data.prepare.drawn_photos import INTO, Bare, drawn_path
from ssl_mask.data.prepare.record import PreparedRow
from ssl_mask.errors import DataError
from ssl_mask.files import storage, write_json

UNFINISHED = ".unfinished"
"""What the name of the new folder ends with until it is whole."""
JOURNAL, SETTINGS, LOCK = ".prepare.jsonl", ".prepare.json", ".prepare.lock"
How = Callable[[str], Iterable[tuple[PreparedRow, bytes]]]
"""Path of a photo -> what is written for it, and its rows."""


def begin(staged: Path, how: Mapping[str, Any]) -> Path:
    """The journal.

    Args:
        how: source, settings and models, as JSON can hold them.

    Raises:
        DataError: an unfinished folder of this name was begun in another way.
    """
    asked, said = json.loads(json.dumps(how)), staged / SETTINGS
    if not said.exists():
        write_json(said, asked)
    elif json.loads(said.read_text(encoding="utf-8")) != asked:
        raise DataError(
            f"{staged} was begun with other photos, settings or models.",
            hint="Continue with those, choose another --out, or remove it.",
        )
    return staged / JOURNAL


def done(journal: Path, root: Path, staged: Path, bare: Mapping[str, Bare]) -> dict[str, list[PreparedRow]]:
    """Photo -> its rows in the journal, where photo and results are what they were; a line that was cut off is left
    aside."""
    found: dict[str, list[PreparedRow]] = {}
    photo_of = {drawn_path(path, worn): path for path in bare for worn in bare[path].made}
    rows: dict[str, PreparedRow] = {}
    for line in journal.read_text(encoding="ascii").splitlines() if journal.exists() else ():
        try:
            row = record.row_of(line)
        except (ValueError, KeyError, TypeError):
            continue
        rows[row.path] = row
    for row in rows.values():
        photo = photo_of.get(row.path, row.path)
        if _digest(root / photo) == row.sources[0] and _digest(staged / row.path) == row.sha256:
            found.setdefault(photo, []).append(row)
    # A photo is written before what is drawn into it: its rows may be there in part.
    whole = {}
    for photo, own in found.items():
        first = next((row for row in own if row.path == photo), None)
        if first is not None and (first.what != INTO or len(own) == 1 + len(bare[photo].made)):
            whole[photo] = own
    return whole


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def prepare_all(
    staged: Path, todo: Sequence[str], journal: Path, how: How, threads: int, tell: Callable[[int], None],
) -> list[PreparedRow]:  # fmt: skip
    """Prepare and write some photos; returns their rows, in any order."""

    def one(path: str) -> list[PreparedRow]:
        rows = []
        for row, content in how(path):
            write(staged / row.path, content)
            rows.append(row)
        return rows

    rows: list[PreparedRow] = []
    with storage(journal), journal.open("a", encoding="ascii") as lines, ThreadPoolExecutor(threads) as pool:
        lines.write("\n")  # after what a kill may have cut off
        try:
            for number, each in enumerate([pool.submit(one, path) for path in todo], 1):
                rows += (own := each.result())
                lines.write("".join(map(record.line_of, own)))
                lines.flush()
                tell(number)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return rows


def write(path: Path, content: bytes) -> None:
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
