"""Is the winner of a search better, or was it lucky? The best of many trials always looks better than it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_mask.data.predictions import PredictionTable, read_predictions
from ssl_mask.errors import DataError
from ssl_mask.evaluation.metrics import macro_f1, paired_bootstrap
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.trials import DEFAULT, Metric, SplitRecord, TrialRecord, VerdictRecord


class Pair(NamedTuple):
    """Out-of-fold predictions of the default and of the winner, on one split."""

    default: Path
    winner: Path


def winner_of(records: Sequence[TrialRecord], metric: Metric) -> TrialRecord | None:
    """The best finished trial, the earlier one of two equals; None where none has finished. It may be the default."""
    finished = [r for r in records if r.state == "finished"]
    sign = -1 if metric == "macro_f1" else 1
    return min(finished, key=lambda r: (sign * r.value(metric), r.number), default=None)


def judge(winner: TrialRecord, default: TrialRecord, pairs: Mapping[int, Pair], *, grouped: bool) -> VerdictRecord:
    """Compare the winner with the default on splits that the search has not seen.

    Args:
        pairs: seed of the split -> predictions. The same groups are drawn for both sides and all splits.
        grouped: whether groups are persons and not single images.

    Raises:
        DataError: the tables are not of the same images.
    """
    gain = f1_of(winner) - f1_of(default) if default.state == "finished" else None
    base = VerdictRecord(winner=winner.number, params=winner.params, search_gain=gain, recommended=False)
    if gain is None:
        return base.model_copy(update={"reason": f"the default, to compare it with, failed: {default.reason}"})
    if winner.number == DEFAULT:
        return base.model_copy(update={"reason": "no trial was better than the default"})
    if not pairs:
        return base.model_copy(update={"reason": "it was not compared on other splits (--confirm 0)"})
    tables = [(_by_path(p.default), _by_path(p.winner)) for p in pairs.values()]
    first = tables[0][0]
    _refuse_other_images(tables, pairs)
    before, after = (np.stack([pair[side].predicted for pair in tables]) for side in (0, 1))
    classes = len(first.classes)
    interval = paired_bootstrap(first.true, before, after, first.group, classes)["macro_f1"]
    splits = tuple(
        SplitRecord(
            split_seed=seed,
            default=macro_f1(first.true, before[i], classes),
            winner=macro_f1(first.true, after[i], classes),
        )
        for i, seed in enumerate(pairs)
    )
    return base.model_copy(
        update={
            "confirmed": IntervalRecord(**interval._asdict()),
            "splits": splits,
            "images": len(first),
            "groups": len(np.unique(first.group)),
            "grouped": grouped,
            "recommended": interval.low > 0,
        }
    )


def f1_of(record: TrialRecord) -> float:
    assert record.macro_f1 is not None
    return record.macro_f1.value


def _by_path(file: Path) -> PredictionTable:
    """A table with its rows in the order of their paths."""
    table = read_predictions(file)
    order = np.argsort(table.path)
    rows = {
        name: getattr(table, name)[order] for name in ("id", "path", "sha256", "group", "fold", "true", "predicted")
    }
    return PredictionTable(classes=table.classes, **rows, probs=table.probs[order], more={})


def _refuse_other_images(tables: Sequence[tuple[PredictionTable, PredictionTable]], pairs: Mapping[int, Pair]) -> None:
    first = tables[0][0]
    for sides, pair in zip(tables, pairs.values(), strict=True):
        for table, file in zip(sides, pair, strict=True):
            same = table.classes == first.classes and np.array_equal(table.sha256, first.sha256)
            if not same or not np.array_equal(table.true, first.true):
                raise DataError(
                    f"{file} is not of the same images and labels as {next(iter(pairs.values())).default}.",
                    hint="The data has changed during the search: restore it, or begin a new search.",
                )
