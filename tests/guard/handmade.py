"""Findings written by hand: pools of named images, and the pairs that a test wants to be there."""

from __future__ import annotations

import hashlib
from typing import Any

from ssl_mask.guard.findings import File, Findings, Kind, Pair, PoolRecord, Role, Unchecked, content_digest


def sha(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def record(name: str, role: Role, *images: str, grouped: bool = True, bad: dict[str, str] | None = None) -> PoolRecord:
    """`images` are `path`, `path@group`, `path=label` or `path@group=label`; each its own bytes."""
    files = []
    for image in images:
        rest, _, label = image.partition("=")
        path, _, group = rest.partition("@")
        files.append(File(path, "" if path in (bad or {}) else sha(path), group or path if grouped else "", label))
    digest = content_digest(f.sha256 for f in files)
    return PoolRecord(name, role, digest, tuple(sorted(files)), bad or {}, "by hand" if grouped else "")


def pair(first: PoolRecord, one: str, second: PoolRecord, other: str, kind: Kind = "near", score: float = 0.97) -> Pair:
    a, b = (next(f for f in pool.files if f.path == path) for pool, path in ((first, one), (second, other)))
    group = a.group if kind == "group" else ""
    return Pair(first.name, second.name, kind, score, one, other, a.sha256, b.sha256, a.label, b.label, group, 2)


def findings(*pools: PoolRecord, pairs: tuple[Pair, ...] = (), unchecked: tuple[Unchecked, ...] = ()) -> Findings:
    method: dict[str, Any] = {"version": "by-hand", "near": 0.94, "review": 0.9}
    return Findings(pools, pairs, unchecked, method)
