"""Whether a data card still says the truth: its own digests, its page, and the files that it lists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ssl_mask.data.digests import digest_file
from ssl_mask.data.images import decode
from ssl_mask.errors import DataError, ImageError
from ssl_mask.guard.findings import content_digest
from ssl_mask.reading import one_line, parse_json, read_text, reading, regular
from ssl_mask.reports.card_record import PREDICATE, STATEMENT, CardRecord
from ssl_mask.reports.data_card import card_digest, surroundings
from ssl_mask.reports.data_page import pool_page
from ssl_mask.runs.base import parse_record
from ssl_mask.text import shown

THREADS = 4
ANEW = "Make it anew: sslmask audit"


def read_card(path: Path) -> dict[str, Any]:
    """The content of a card, given by its `.json` or its `.md`; checked.

    Raises:
        DataError: not there, not JSON, not a card of this version, or a part of it is missing or of another kind.
    """
    path = path.with_suffix(".json")
    card = _parsed(path)
    parse_record(CardRecord, card, str(path), error=DataError, hint=ANEW)
    return card


def _parsed(path: Path) -> dict[str, Any]:
    with reading(path, DataError, hint=ANEW):
        card = parse_json(read_text(path))
    if not isinstance(card, dict) or (card.get("_type"), card.get("predicateType")) != (STATEMENT, PREDICATE):
        raise DataError(f"{path} is no data card of this version.", hint=ANEW)
    return card


def verify_card(path: Path, root: Path | None = None) -> list[str]:
    """What has changed since the card was made, one line each; empty when all is as it says. Every file is read.

    Args:
        root: what the card's paths are relative to; not given: where it was, seen from the card.

    Raises:
        DataError: no card.
    """
    path = path.with_suffix(".json")
    card = _parsed(path)
    try:
        CardRecord.model_validate(card)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        what = one_line(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        return [f"{path.name}: edited by hand, a part is missing or of another kind ({what})"]
    problems = list(_edits(path, card))
    if root is None:
        # In words, as it was made: `..` of a linked folder would lead elsewhere.
        root = Path(os.path.abspath(path.parent / card["predicate"]["root"]))  # noqa: PTH100
    return problems + list(_changes(path, card["predicate"], root))


def _edits(path: Path, card: dict[str, Any]) -> Iterator[str]:
    predicate = card["predicate"]
    if card_digest(card) != predicate["card_digest"]:
        yield f"{path.name}: edited, its own digest does not fit"
    listed = content_digest(f["sha256"] for f in predicate["files"])
    if [s["digest"]["sha256"] for s in card["subject"]] != [listed] or predicate["content_digest"] != listed:
        yield f"{path.name}: edited, the listed files do not give the pool's content digest"
    if predicate["n"] != len(predicate["files"]):
        yield f"{path.name}: edited, it says {predicate['n']} images and lists {len(predicate['files'])}"
    page = path.with_suffix(".md")
    if page.exists() and regular(page).read_bytes() != pool_page(card).encode():
        yield f"{page.name}: edited, it is not what the JSON says"


def _changes(path: Path, predicate: dict[str, Any], root: Path) -> Iterator[str]:
    listed = [(f["path"], f["sha256"]) for f in predicate["files"]]
    with ThreadPoolExecutor(THREADS) as pool:
        states = pool.map(lambda item: _state(root / item[0], item[1]), listed)
        for (name, _), state in zip(listed, states, strict=True):
            if state:
                yield f"{shown(name)}: {state}"
    _, others = surroundings(root, [name for name, _ in listed], cards=path.parent)
    for name in sorted(set(others) - set(predicate["others_in_folder"])):
        yield f"{shown(name)}: added"


def _state(file: Path, sha256: str) -> str:
    """What happened to a file: "" nothing. One that was unreadable has no digest; it must be unreadable still."""
    if not file.exists() and (sha256 or not file.is_symlink()):
        return "missing"
    try:
        if not sha256:
            decode(file)
            return "changed, it can be read now"
        return "" if digest_file(file) == sha256 else "changed"
    except ImageError:
        return "changed, it cannot be read now" if sha256 else ""
