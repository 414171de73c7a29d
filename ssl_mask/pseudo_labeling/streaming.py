"""Pseudo-labels from predictions that do not fit in memory: shards, read a block of rows at a time.

Memory holds a few blocks and what is selected so far. The result equals what the rules in `selection/` select from
all rows at once, whatever the size of row groups and the order of rows.

Photos with the same content are one photo: it takes one place of a class and is selected once, as the most confident of
its rows (then the lowest class, then the first path). A row without digest was unreadable and is never selected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ssl_mask.config import PseudoConfig
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.inference import shards
from ssl_mask.pseudo_labeling.select import Probs, Selection, make_rule
from ssl_mask.selection.rules import (
    TopPrediction,
    above,
    balanced_limit,
    class_counts,
    curriculum_share,
    quotas,
    top_k,
    top_prediction,
)
from ssl_mask.selection.select import (
    RANKED,
    HeadSelection,
    ValidationPredictions,
    head_selection,
    lowest_selected,
    thresholds_of,
)

Decide = Callable[[Probs, NDArray[np.bytes_]], NDArray[np.bool_]]
"""(m, classes) probabilities and (m,) digests of a block -> (m,) which rows may be selected."""

_NO_LIMIT = np.iinfo(np.int64).max


class Selected(NamedTuple):
    """Rows in the order of their digests."""

    paths: list[str]
    digests: list[str]
    """SHA-256 of each photo, each one once."""
    probs: Probs
    """(n, joint classes)."""


class _Rows(NamedTuple):
    path: NDArray[np.object_]
    digest: NDArray[np.bytes_]
    probs: Probs
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]

    def take(self, which: NDArray[Any]) -> _Rows:
        return _Rows(*(column[which] for column in self))


def select_from_shards(asked: PseudoConfig, folder: Path, validation: PredictedImages, excluded: Manifest) -> Selection:
    """Select whole images (the joint distribution) from shards of predictions.

    Memory is in proportion to what is selected.

    Args:
        validation: of the weights and in the views of the shards (see `shards.shards_are_mirrored`).
        excluded: rows with digests; they and their copies are left out.

    Raises:
        DataError: missing or damaged shards.
    """
    classes = excluded.schema.joint_classes
    rule, val = make_rule(asked), validation.manifest
    seen = ValidationPredictions(validation.probs, val.joint, val.groups)
    limits: Any = None
    thresholds, source = np.zeros(len(classes)), tuple(str(rule.name) for _ in classes)
    if rule.name not in RANKED:
        nothing = TopPrediction(np.empty(0, np.int64), np.empty(0), np.empty(0))
        thresholds, source = thresholds_of(nothing, np.empty(0, np.str_), seen, rule, 1)
    given = np.asarray([r.digest for r in excluded.rows], dtype=np.bytes_)

    def decide(probs: Probs, keys: NDArray[np.bytes_]) -> NDArray[np.bool_]:
        return above(top_prediction(probs), thresholds) & ~np.isin(keys, given)

    if rule.name == "top_k":
        limits = rule.top_k
    elif rule.name == "percentile":
        limits = quotas(count_predicted(folder, classes, decide=decide), curriculum_share(1, rule.percentile_step))
    found = select_rows(folder, classes, decide=decide, limits=limits)
    if rule.cap is not None and found.digests:
        tops = top_prediction(found.probs)
        limit = balanced_limit(np.ones(len(found.digests), dtype=np.bool_), tops, len(classes), rule.cap)
        limits = limit if limits is None else np.minimum(limits, limit)
        found = select_rows(folder, classes, decide=decide, limits=limits)
    whole = np.ones(len(found.digests), dtype=np.bool_)
    if rule.name in RANKED or rule.cap is not None:
        thresholds = lowest_selected(whole, top_prediction(found.probs), len(classes))
    head = head_selection(whole, thresholds, source, seen)
    return _whole_images(found, folder, excluded, {"joint": head}, shards.count_rows(folder, classes))


def _whole_images(
    found: Selected, folder: Path, excluded: Manifest, heads: dict[str, HeadSelection], offered: int
) -> Selection:
    """A selection of which every row is selected as a whole."""
    pairs = zip(found.paths, found.digests, strict=True)
    rows = [Row(path, "", "unlabeled", folder.as_posix(), None, digest=digest) for path, digest in pairs]
    schema, tops = excluded.schema, top_prediction(found.probs)
    parts = [p.max(axis=1) for p in schema.marginals(found.probs).values()]
    return Selection(
        PredictedImages(excluded.with_rows(rows), found.probs, {}),
        np.ones((len(rows), len(schema.factors)), dtype=np.bool_),
        schema.part(tops.predicted),
        np.stack([tops.confidence, *parts], axis=1).astype(np.float32),
        heads,
        offered,
    )


def select_rows(
    folder: Path,
    classes: Sequence[str],
    *,
    decide: Decide | None = None,
    limits: int | NDArray[np.int64] | None = None,
) -> Selected:
    """Select rows of shards, each photo once.

    - threshold or precision: `decide=lambda probs, keys: above(top_prediction(probs), thresholds)`
    - top k: `limits=k`
    - percentile: `limits=quotas(count_predicted(folder, classes), share)`
    - with a cap: `np.minimum(limits, cap)`, or `limits=cap` beside `decide`

    Args:
        folder: holds all shards of a pool.
        classes: joint classes, in order.
        decide: which rows may be selected; None: all.
        limits: at most so many of each predicted class, the most confident; one number or (classes,).

    Raises:
        DataError: as `shards.read_blocks`.
    """
    most = np.broadcast_to(np.asarray(_NO_LIMIT if limits is None else limits), (len(classes),))
    floor = np.where(most > 0, -np.inf, np.inf)
    kept, waiting = _nothing(len(classes)), list[_Rows]()
    for rows in _rows(folder, classes, decide):
        waiting.append(rows.take(rows.confidence >= floor[rows.predicted]))
        # Sorting once what waits is as much as what is kept makes n rows cost n log n.
        if sum(len(w.digest) for w in waiting) >= max(shards.BLOCK, len(kept.digest)):
            kept, waiting = _best([kept, *waiting], most), []
            floor = _floor(kept, most)
    kept = _best([kept, *waiting], most)
    kept = kept.take(_distinct(kept, by_class=False))
    return Selected(kept.path.tolist(), [d.decode() for d in kept.digest.tolist()], kept.probs)


def count_predicted(folder: Path, classes: Sequence[str], *, decide: Decide | None = None) -> NDArray[np.int64]:
    """(classes,) how many of the rows that may be selected are predicted of each class.

    A photo that is in the shards twice counts twice. `decide`: as in `select_rows`.

    Raises:
        DataError: as `shards.read_blocks`.
    """
    counts = np.zeros(len(classes), dtype=np.int64)
    for probs, digest, _ in shards.read_blocks(folder, classes):
        tops = _readable(probs, digest)
        if decide is not None:
            tops = tops._replace(predicted=np.where(decide(probs, digest), tops.predicted, -1))
        counts += class_counts(tops, len(classes))
    return counts


def _rows(folder: Path, classes: Sequence[str], decide: Decide | None) -> Iterator[_Rows]:
    """The rows of each block that may be selected."""
    for probs, digest, path in shards.read_blocks(folder, classes):
        tops = _readable(probs, digest)
        mask = tops.predicted >= 0
        if decide is not None:
            mask &= decide(probs, digest)
        paths = path.filter(pa.array(mask)).to_numpy(zero_copy_only=False)
        yield _Rows(paths, digest[mask], probs[mask], tops.predicted[mask], tops.confidence[mask])


def _readable(probs: Probs, digest: NDArray[np.bytes_]) -> TopPrediction:
    tops = top_prediction(probs)
    return tops._replace(predicted=np.where(digest == b"", -1, tops.predicted))


def _nothing(classes: int) -> _Rows:
    probs = np.empty((0, classes), dtype=np.float32)
    return _Rows(np.empty(0, np.object_), np.empty(0, np.bytes_), probs, np.empty(0, np.int64), np.empty(0))


def _best(parts: list[_Rows], limits: NDArray[np.int64]) -> _Rows:
    """The most confident distinct rows of each class, in the order of their digests."""
    rows = _Rows(*map(np.concatenate, zip(*parts, strict=True)))
    distinct = _distinct(rows, by_class=True)
    confidence = rows.confidence[distinct]
    tops = TopPrediction(rows.predicted[distinct], confidence, confidence)
    return rows.take(distinct[top_k(tops, limits, np.arange(len(distinct)))])


def _floor(kept: _Rows, limits: NDArray[np.int64]) -> NDArray[np.float64]:
    """(classes,) confidence below which a further row has no chance."""
    lowest = np.full(len(limits), np.inf)
    np.minimum.at(lowest, kept.predicted, kept.confidence)
    full = np.bincount(kept.predicted, minlength=len(limits)) >= limits
    return np.where(full, lowest, -np.inf)


def _distinct(rows: _Rows, *, by_class: bool) -> NDArray[np.int64]:
    """Positions of one row a digest, or a digest and class, in the order of digests.

    A class keeps its own row of a photo while blocks come in: dropping it for a later, more confident row of another
    class would leave a place empty that was refused to a third photo.
    """
    order = np.argsort(rows.digest, kind="stable")
    again = rows.digest[order][1:] == rows.digest[order][:-1]
    repeated = np.append(again, False) | np.insert(again, 0, False) if len(order) else again
    part = rows.predicted if by_class else np.zeros(len(order), dtype=np.int64)

    def rank(i: int) -> tuple[Any, ...]:
        return rows.digest[i], part[i], -rows.confidence[i], rows.predicted[i], rows.path[i]

    # Repeats are few, and their ties are decided by path: a string of any length, which numpy does not sort well.
    order[repeated] = sorted(order[repeated].tolist(), key=rank)
    digest, part = rows.digest[order], part[order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (digest[1:] != digest[:-1]) | (part[1:] != part[:-1])
    return order[first]
