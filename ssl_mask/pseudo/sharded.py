"""A round's choice from predictions that were stored in shards: the same rules, without the pool in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ssl_mask.config import PseudoConfig
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.errors import DataError
from ssl_mask.inference.predictor import Member
from ssl_mask.pseudo.select import Probs, Scored, Selection, make_rule
from ssl_mask.pseudo.streaming import count_predicted, read_shards, select_stored
from ssl_mask.selection.rules import TopPrediction, above, balanced_limit, curriculum_share, quotas, top_prediction
from ssl_mask.selection.select import RANKED, HeadSelection, ValidationPredictions, lowest_selected, thresholds_of

MADE_BY = b"sslmask.checkpoint_sha256"
"""Key in a shard's metadata: which weights predicted."""
MIRRORED = b"sslmask.mirrored"
"""Key in a shard's metadata: whether the mirrored view is averaged in; `yes` or `no`."""


def select_from_shards(asked: PseudoConfig, folder: Path, judged: Scored, barred: Manifest) -> Selection:
    """Select whole images (the joint distribution) from shards of predictions.

    Memory is in proportion to what is selected.

    Args:
        judged: validation, of the weights and in the views of the predictions (see `shards_are_mirrored`).
        barred: rows with digests; they and their copies are left out.

    Raises:
        DataError: missing or damaged shards.
    """
    classes = barred.schema.joint_classes
    rule = make_rule(asked)
    limits: Any = None
    thresholds, source = np.zeros(len(classes)), tuple(str(rule.name) for _ in classes)
    if rule.name not in RANKED:
        seen = ValidationPredictions(judged.probs, judged.manifest.joint, judged.manifest.groups)
        nothing = TopPrediction(np.empty(0, np.int64), np.empty(0), np.empty(0))
        thresholds, source = thresholds_of(nothing, np.empty(0, np.str_), seen, rule, 1)
    given = np.asarray([r.digest for r in barred.rows], dtype=np.bytes_)

    def decide(probs: Probs, keys: NDArray[np.bytes_]) -> NDArray[np.bool_]:
        return above(top_prediction(probs), thresholds) & ~np.isin(keys, given)

    if rule.name == "top_k":
        limits = rule.top_k
    elif rule.name == "percentile":
        limits = quotas(count_predicted(folder, classes, decide=decide), curriculum_share(1, rule.percentile_step))
    found = select_stored(folder, classes, decide=decide, limits=limits)
    if rule.cap is not None and found.digests:
        tops = top_prediction(found.probs)
        limit = balanced_limit(np.ones(len(found.digests), dtype=np.bool_), tops, len(classes), rule.cap)
        capped = limit if limits is None else np.minimum(limits, limit)
        found = select_stored(folder, classes, decide=decide, limits=capped)
    pairs = zip(found.paths, found.digests, strict=True)
    rows = [Row(path, "", "unlabeled", folder.as_posix(), None, digest=digest) for path, digest in pairs]
    pool = Scored(barred.with_rows(rows), found.probs)
    if rule.name in RANKED or rule.cap is not None:
        thresholds = lowest_selected(np.ones(len(rows), dtype=np.bool_), top_prediction(pool.probs), len(classes))
    offered = sum(int(pq.read_metadata(shard).num_rows) for shard in read_shards(folder, classes))
    return _whole(pool, judged, thresholds, source, offered)


def _whole(pool: Scored, judged: Scored, thresholds: Any, source: tuple[str, ...], offered: int) -> Selection:
    """A choice in which every row of `pool` is believed as a whole."""
    schema, tops = pool.manifest.schema, top_prediction(pool.probs)
    seen = top_prediction(judged.probs)
    kept = above(seen, thresholds)
    right = float((seen.predicted == judged.manifest.joint)[kept].mean()) if kept.any() else float("nan")
    head = HeadSelection(np.ones(len(pool.probs), dtype=np.bool_), thresholds, source, float(kept.mean()), right)
    parts = [p.max(axis=1) for p in schema.marginals(pool.probs).values()]
    return Selection(
        pool, np.ones((len(pool.probs), len(schema.factors)), dtype=np.bool_), schema.part(tops.predicted),
        np.stack([tops.confidence, *parts], axis=1).astype(np.float32), {"joint": head}, offered,
    )  # fmt: skip


def shards_are_mirrored(folder: Path, member: Member) -> bool:
    """Whether the predictions of a folder are averaged over the plain and the mirrored view.

    Raises:
        DataError: shards of another run than `member`'s, of different views, missing or damaged ones.
    """
    views: set[bytes] = set()
    for shard in read_shards(folder, member.schema.joint_classes):
        about: dict[bytes, bytes] = pq.read_schema(shard).metadata or {}
        if about.get(MADE_BY, b"").decode() != member.sha256:
            raise DataError(
                f"{shard} was not predicted by {member.run.path}.",
                hint="Name the run that made the shards: --start-from RUN",
            )
        views.add(about.get(MIRRORED, b""))
    if len(views) > 1:
        raise DataError(f"{folder}: some shards average mirrored views, some do not.", hint="Predict all alike.")
    return views == {b"yes"}
