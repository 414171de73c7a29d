"""The data card of a pool: what it is, what it was compared with, what was found, what nobody looked at.

`<pool>.json` is shaped as an in-toto Statement (https://in-toto.io/Statement/v1) whose subject is the pool's content
digest; `<pool>.md` is the same for people, with the front matter of a Hugging Face dataset card. Neither holds a time:
the same images, checked in the same way, give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections import Counter
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from ssl_mask.data.image_files import find_images, images_beside
from ssl_mask.errors import DataError
from ssl_mask.files import storage, write_json, write_text
from ssl_mask.guard.findings import KINDS, Findings, Pair, PoolRecord, canonical
from ssl_mask.guard.gate import GateResult
from ssl_mask.guard.policy import Declaration, Verdict
from ssl_mask.guard.self_test import SelfTest
from ssl_mask.reports.card_record import PREDICATE, STATEMENT
from ssl_mask.reports.data_page import pool_page
from ssl_mask.runs.environment import code_version
from ssl_mask.runs.run import RunDir

DECODERS = ("numpy", "opencv-python-headless", "pillow")
EXAMPLES = 5


def pool_card(
    findings: Findings,
    verdict: Verdict,
    name: str,
    *,
    root: Path,
    folder: Path,
    declared: Declaration | None = None,
    self_test: SelfTest | None = None,
) -> dict[str, Any]:
    """The content of `<pool>.json`.

    Args:
        name: the pool.
        root: what its paths are relative to.
        folder: where the card will be.
        declared: that unlabeled images of an evaluation pool are trained on.
        self_test: what share of altered copies was found, of whichever pools.

    Raises:
        DataError: a folder of the pool cannot be listed.
    """
    pool = findings.pool(name)
    paths = [f.path for f in pool.files]
    top, others = surroundings(root, paths, cards=folder)
    status, reason = verdict.outcome(pool)
    predicate: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "role": pool.role,
        "status": status,
        "reason": reason,
        "n": len(pool.files),
        "content_digest": pool.digest,
        "root": Path(os.path.relpath(root.absolute(), folder.absolute())).as_posix(),
        "files": [{"path": f.path, "sha256": f.sha256} for f in pool.files],
        "folder": top,
        "others_in_folder": others,
        "unreadable": dict(pool.unreadable),
        "groups": {"source": pool.group_source, "count": len(pool.by_group), "complete": pool.grouped},
        "comparisons": [_comparison(findings, pool, other) for other in findings.pools if other.name != name],
        "conflicts": [p._asdict() for p in findings.conflicts if name in (p.first_pool, p.second_pool)][:EXAMPLES],
        "method": dict(findings.method),
        "self_test": self_test.to_json() if self_test and name in (self_test.pool, self_test.among) else None,
        "declaration": None if declared is None else vars(declared),
        "allowed": [
            {"first": p.first, "second": p.second, "reason": why}
            for p, why in sorted(verdict.allowed.items())
            if name in (p.first_pool, p.second_pool)
        ],
        "tool": {
            "sslmask": code_version(),
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in DECODERS},
        },
    }
    subject = [{"name": name, "digest": {"sha256": pool.digest}}]
    card = {"_type": STATEMENT, "subject": subject, "predicateType": PREDICATE, "predicate": predicate}
    return {**card, "predicate": {**predicate, "card_digest": card_digest(card)}}


def card_digest(card: dict[str, Any]) -> str:
    """SHA-256 of the card without this digest: shows a slip of the editor's hand, not a forger's."""
    predicate = {k: v for k, v in card["predicate"].items() if k != "card_digest"}
    return hashlib.sha256(canonical({**card, "predicate": predicate}).encode()).hexdigest()


def surroundings(root: Path, paths: Iterable[str], *, cards: Path) -> tuple[str, list[str]]:
    """The pool's topmost folder, and the images around the pool's that are not of it. Images beside the cards are ours.

    All that lies below a folder with images of the pool is looked at, and the folders beside these but not what lies
    below them: sources on two disks have no folder in common but `/`.

    Raises:
        DataError: a folder cannot be listed.
    """
    mine = set(paths)
    names = {os.path.dirname(p) for p in mine}  # noqa: PTH120 - a Path for each image costs most
    top = os.path.commonpath(names) if names else ""
    if not (root / top).is_dir():
        return top, []
    holding = {Path(name) for name in names}
    above = {p for folder in holding for p in folder.parents if p.is_relative_to(top)} - holding
    found = {path for folder in above for path in images_beside(root / folder)}
    for folder in holding:
        if holding.isdisjoint(folder.parents):
            found.update(find_images(root / folder))
    others = (p for p in found if not p.absolute().is_relative_to(cards.absolute()))
    return top, sorted({p.relative_to(root).as_posix() for p in others} - mine)


def write_card(folder: Path, card: dict[str, Any]) -> Path:
    """Write `<pool>.json` and `<pool>.md`; returns the first. A card of an earlier audit is replaced.

    Raises:
        DataError: a file of that name is there that is no card.
        StorageError: the folder cannot be written.
    """
    path = folder / f"{card['predicate']['name']}.json"
    page = path.with_suffix(".md")
    for file in (path, page):
        refuse_foreign(file, PREDICATE)
    with storage(page):
        # First, so that a kill leaves a card without a page (`sslmask card show` renders it), never one with another's.
        page.unlink(missing_ok=True)
    write_text(path, canonical(card))
    write_text(page, pool_page(card))
    return path


def refuse_foreign(path: Path, mark: str) -> None:
    """Raises DataError when a file is there that does not hold `mark`, so it is not ours to replace."""
    if path.exists() and mark not in path.read_text(encoding="utf-8", errors="replace"):
        raise DataError(
            f"{path} is there and was not made by an audit.", hint="Choose another place: --out, --drop-list."
        )


def _comparison(findings: Findings, pool: PoolRecord, other: PoolRecord) -> dict[str, Any]:
    """What was found between a pool and another one, from this pool's side."""
    between = [p for p in findings.pairs if {p.first_pool, p.second_pool} == {pool.name, other.name}]
    counts = Counter(p.kind for p in between)
    unchecked = [u.what for u in findings.not_checked if {u.first_pool, u.second_pool} == {pool.name, other.name}]
    return {
        "with": other.name,
        "role": other.role,
        "content_digest": other.digest,
        "n": len(other.files),
        "pairs": {kind: counts[kind] for kind in KINDS},
        "conflicts": sum(p.is_conflict for p in between),
        "examples": [_example(p, pool.name) for p in between[:EXAMPLES]],
        "not_checked": unchecked if pool.role != other.role else ["copies (two pools of one role)"],
    }


def _example(pair: Pair, name: str) -> dict[str, Any]:
    here, there = (pair.first, pair.second) if pair.first_pool == name else (pair.second, pair.first)
    return {"kind": pair.kind, "score": pair.score, "here": here, "there": there, "group": pair.group}


def write_cards(run: RunDir, gate: GateResult, also: Path) -> None:
    """A card per pool, in the run and in the folder `also`; and the findings behind them."""
    if gate.findings is None or gate.verdict is None:
        return
    write_json(run.findings, {"findings": gate.findings.to_json(), "verdict": gate.verdict.to_json()})
    for folder in (run.data_cards, also):
        for pool in gate.pools:
            card = pool_card(
                gate.findings, gate.verdict, pool.name, root=pool.root, folder=folder, declared=gate.declared
            )
            write_card(folder, card)
