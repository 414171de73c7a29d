"""Examples of what a round of pseudo-labels selected and rejected."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_mask.data.predictions import read_predictions
from ssl_mask.data.schema import LabelSchema
from ssl_mask.reports.html.album import Picture
from ssl_mask.runs.rounds import RoundStudy
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source
from ssl_mask.runs.study import Study

MOST = 16


class Examples(NamedTuple):
    """Unlabeled images of a round."""

    round: int
    selected: int
    pool: int
    surest: list[Picture]
    """Selected, the most confident."""
    barely: list[Picture]
    """Selected, the least confident."""
    rejected: list[Picture]
    """Not selected, the most confident: what a lower threshold would have added."""


def round_run(source: Source) -> RunDir | None:
    """A run whose folder says what the best round selected; None where there are no rounds, or round 0 is best."""
    if source.kind == "rounds":
        study = RoundStudy(Study(source.path))
        number = max(1, study.record().best_round)
        return next((run for run in study.round(number).members() if run.pool.is_file()), None)
    if source.kind != "run":
        return None
    run = RunDir(source.path)
    status = run.status()
    if not status.rounds or len(status.rounds) < 2:
        return None
    found = run.round(max(1, status.best_round or 0))
    return found if found.pool.is_file() else None


def examples(run: RunDir, schema: LabelSchema, root: Path) -> Examples:
    """Of one round. Raises DataError when a file is damaged."""
    record, pool = run.selection_record(), read_predictions(run.pool, schema)
    flags = [v.astype(bool) for k, v in pool.more.items() if k.startswith("selected/")]
    chosen = np.logical_or.reduce(flags) if flags else np.zeros(len(pool), dtype=bool)
    known = pool.predicted >= 0
    confidence = np.where(known, np.nan_to_num(pool.probs).max(axis=1), -1.0)
    order = np.argsort(-confidence, kind="stable")
    selected = order[chosen[order]]

    def pictures(rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]], words: str) -> list[Picture]:
        return [
            Picture(str(pool.path[i]), root / str(pool.path[i]), str(pool.sha256[i]), str(pool.group[i]),
                    predicted=int(pool.predicted[i]), confidence=float(confidence[i]), note=words)
            for i in rows
        ]  # fmt: skip

    rejected = order[~chosen[order] & known[order]]
    return Examples(
        record.round, int(chosen.sum()), len(pool), pictures(selected[:MOST], "selected"),
        pictures(selected[::-1][:MOST], "selected") if len(selected) > MOST else [],
        pictures(rejected[:MOST], "rejected"),
    )  # fmt: skip
