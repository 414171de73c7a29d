"""A round's choice from predictions that were stored in shards: the same rules, without the pool in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.errors import DataError
from ssl_mask.sections import PseudoConfig
from ssl_mask.selection.rules import Beliefs, above, balanced_limit, believe, curriculum_share, quotas
from ssl_mask.selection.select import RANKED, HeadSelection, Judged, bars_of
from ssl_mask.workflows.choice import Choice, Probs, Scored, make_rule
from ssl_mask.workflows.member import Member
from ssl_mask.workflows.stored_predictions import count_predicted, read_shards, select_stored

MADE_BY = b"sslmask.checkpoint_sha256"
"""Key in a shard's metadata: which weights predicted."""


def choose_stored(asked: PseudoConfig, folder: Path, member: Member, judged: Scored, labeled: Manifest) -> Choice:
    """Select whole images (the joint distribution) from shards of predictions.

    Memory is in proportion to what is selected. Labeled images and copies of them are left out.

    Args:
        member: the run that made the predictions; the bars come from its validation.

    Raises:
        DataError: shards of another run, missing or damaged ones.
    """
    schema = labeled.schema
    classes = schema.joint_classes
    refuse_other_weights(folder, classes, member)
    rule = make_rule(asked)
    limits: Any = None
    bars, source = np.zeros(len(classes)), tuple(str(rule.name) for _ in classes)
    if rule.name in RANKED:
        share = curriculum_share(1, rule.percentile_step)
        limits = rule.top_k if rule.name == "top_k" else quotas(count_predicted(folder, classes), share)
    else:
        seen = Judged(judged.probs, judged.manifest.joint, judged.manifest.groups)
        nothing = Beliefs(np.empty(0, np.int64), np.empty(0), np.empty(0))
        bars, source = bars_of(nothing, np.empty(0, np.str_), seen, rule, 1)
    given = np.asarray([r.digest for r in labeled.rows], dtype=np.bytes_)

    def decide(probs: Probs, keys: NDArray[np.bytes_]) -> NDArray[np.bool_]:
        return above(believe(probs), bars) & ~np.isin(keys, given)

    found = select_stored(folder, classes, decide=decide, limits=limits)
    if rule.cap is not None and found.digests:
        beliefs = believe(found.probs)
        limit = balanced_limit(np.ones(len(found.digests), dtype=np.bool_), beliefs, len(classes), rule.cap)
        capped = limit if limits is None else np.minimum(limits, limit)
        found = select_stored(folder, classes, decide=decide, limits=capped)
    pairs = zip(found.paths, found.digests, strict=True)
    rows = [Row(path, "", "unlabeled", folder.as_posix(), None, digest=digest) for path, digest in pairs]
    return _whole(labeled.with_rows(rows), found.probs, judged, bars, source)


def _whole(pool: Manifest, probs: Any, judged: Scored, bars: Any, source: tuple[str, ...]) -> Choice:
    """A choice in which every row is believed as a whole."""
    schema, beliefs = pool.schema, believe(probs)
    lowest = np.full(len(schema.joint_classes), np.inf)
    np.minimum.at(lowest, beliefs.predicted, beliefs.confidence)
    seen = believe(judged.probs)
    kept = above(seen, np.maximum(bars, lowest))
    right = float((seen.predicted == judged.manifest.joint)[kept].mean()) if kept.any() else float("nan")
    selected = np.ones(len(pool), dtype=np.bool_)
    head = HeadSelection(selected, np.maximum(bars, lowest), source, float(kept.mean()), right)
    parts = [p.max(axis=1) for p in schema.marginals(probs).values()]
    return Choice(
        Scored(pool, probs), np.ones((len(pool), len(schema.factors)), dtype=np.bool_), schema.part(beliefs.predicted),
        np.stack([beliefs.confidence, *parts], axis=1).astype(np.float32), {"joint": head},
    )  # fmt: skip


def refuse_other_weights(folder: Path, classes: tuple[str, ...], member: Member) -> None:
    """Raises DataError when a shard was predicted by other weights than the run's."""
    for shard in read_shards(folder, classes):
        made_by = (pq.read_schema(shard).metadata or {}).get(MADE_BY, b"").decode()
        if made_by != member.sha256:
            raise DataError(
                f"{shard} was not predicted by {member.run.path}.",
                hint="Name the run that made the shards: --start-from RUN",
            )
