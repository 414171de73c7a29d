"""What the leakage guard found, pairs side by side, and which unlabeled images it left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ssl_mask.errors import DataError
from ssl_mask.guard.findings import Pair
from ssl_mask.guard.report import GuardReport, read_report
from ssl_mask.reports.html.album import Picture
from ssl_mask.reports.pair_sheet import strongest
from ssl_mask.reports.verify_card import read_card
from ssl_mask.runs.run import RunDir

MOST = 24
"""Pairs that are shown."""
KIND_WORDS = {
    "bytes": "the same file", "pixels": "the same pixels", "near": "an altered copy", "review": "perhaps a copy",
    "group": "the same group",
}  # fmt: skip


class Kinds(NamedTuple):
    """How many pairs there are of two pools."""

    first: str
    second: str
    kind: str
    pairs: int


class Guarded(NamedTuple):
    """What the guard says of a run."""

    status: str
    reason: str
    warnings: tuple[str, ...]
    kinds: tuple[Kinds, ...]
    left_out: dict[str, int]
    """Pool -> images that the run did not use, because of what was found."""
    shown: tuple[tuple[str, Picture, Picture], ...]
    """In words what a pair is, and its two images."""
    total: int


def guarded(run: RunDir) -> Guarded | None:
    """None where the guard was off, so there are no findings. Raises DataError when a file is damaged."""
    if not run.findings.is_file():
        return None
    report = read_report(run.findings)
    pairs = [p for p in report.findings.pairs if p.first_pool != p.second_pool or p.is_conflict]
    counts = Counter((p.first_pool, p.second_pool, p.kind) for p in pairs)
    roots = roots_of(run, report)
    verdict = report.verdict
    return Guarded(
        verdict.status, verdict.reason, verdict.warnings, tuple(Kinds(*key, n) for key, n in counts.items()),
        {pool: len(paths) for pool, paths in verdict.drops.items() if paths},
        tuple((words_of(p), *pictures_of(p, roots)) for p in strongest(pairs, MOST)), len(pairs),
    )  # fmt: skip


def roots_of(run: RunDir, report: GuardReport) -> dict[str, Path]:
    """Where the images of each pool are, as its card in the run says."""
    roots: dict[str, Path] = {}
    for pool in report.findings.pools:
        for file in sorted(run.data_cards.glob("*.json")):
            if file == run.findings:
                continue
            try:
                predicate = read_card(file)["predicate"]
            except DataError:
                continue
            if predicate["name"] == pool.name:
                roots[pool.name] = file.parent / predicate["root"]
    return roots


def pictures_of(pair: Pair, roots: Mapping[str, Path]) -> tuple[Picture, Picture]:
    """Its two images, each with its pool and its label."""
    first, second = (
        Picture(path, roots.get(pool, Path()) / path, digest, note=f"{pool}{f', label {label}' if label else ''}")
        for pool, path, digest, label in (
            (pair.first_pool, pair.first, pair.first_sha256, pair.first_label),
            (pair.second_pool, pair.second, pair.second_sha256, pair.second_label),
        )
    )
    return first, second


def words_of(pair: Pair) -> str:
    """What a pair is."""
    if pair.kind == "group":
        return f"group {pair.group} is in {pair.first_pool} and {pair.second_pool}, {pair.images} images"
    conflict = "; the labels differ" if pair.is_conflict else ""
    score = "" if pair.kind in {"bytes", "pixels"} else f" ({pair.score:.2f})"
    return f"{KIND_WORDS[pair.kind]}{score}: {pair.first_pool} and {pair.second_pool}{conflict}"
