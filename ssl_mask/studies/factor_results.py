"""When all factors are trained: their predictions of labeled images joined, scored, and corrected where that helps."""

from __future__ import annotations

import numpy as np

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.predictions import PredictionTable, read_validation, write_table
from ssl_mask.data.schema import LabelSchema
from ssl_mask.evaluation.calibration import expected_calibration_error
from ssl_mask.evaluation.factors import corrected_by_fold, dependence, gain_of, join_tables
from ssl_mask.evaluation.metrics import Interval, bootstrap, log_loss
from ssl_mask.files import write_json, write_text
from ssl_mask.guard.lineage import mark_of
from ssl_mask.guard.status import worst_mark
from ssl_mask.reports.factors import factors_card, factors_table, prior_sentence, score_sentence
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.factors import FactorsRecord, FactorStudy, PartRecord, PriorRecord
from ssl_mask.runs.seal import file_digest


def join(factors: FactorStudy, config: RunConfig, rows: Manifest) -> FactorsRecord:
    """Write the joined predictions, their scores and the card; oof.json comes last.

    Args:
        rows: of the data set, for its schema and its submission.

    Raises:
        DataError: the parts were not validated on the same images.
    """
    schema = rows.schema
    tables = {f.name: read_validation(factors.table(f.name), LabelSchema((f,))) for f in schema.factors}
    plain = join_tables(tables, schema)
    prior, joined = settle_prior(plain, schema) if config.factor_prior == "oof" else (None, plain)
    write_table(factors.oof, joined)
    parts = {name: part_of(factors, name, table) for name, table in tables.items()}
    record = record_of(factors, rows, joined, parts, prior)
    write_text(factors.card, factors_card(factors.path.name, record, folds=factors.settings().folds))
    write_json(factors.record_file, record.to_json())
    return record


def settle_prior(plain: PredictionTable, schema: LabelSchema) -> tuple[PriorRecord, PredictionTable]:
    """The correction of the product: decided with each fold corrected by the labels of the others, kept if it helps.

    Returns:
        What is stored (its numbers come from all labels), and the table that is scored.
    """
    corrected = corrected_by_fold(plain, schema)
    gain = gain_of(plain, corrected)
    prior = PriorRecord(
        ratio=tuple(dependence(plain.true, schema).tolist()),
        used=gain.helps,
        macro_f1=interval(gain.macro_f1),
        nll_plain=gain.nll_plain,
        nll_corrected=gain.nll_corrected,
    )
    return prior, corrected if gain.helps else plain


def part_of(factors: FactorStudy, name: str, table: PredictionTable) -> PartRecord:
    """Scores of one factor, and what its models are."""
    scores = bootstrap(table.true, table.predicted, table.group, len(table.classes))
    return PartRecord(
        macro_f1=interval(scores["macro_f1"]),
        accuracy=scores["accuracy"].value,
        nll=log_loss(table.true, table.probs),
        checkpoints=factors.checkpoints(name),
        table_sha256=file_digest(factors.table(name)),
    )


def record_of(
    factors: FactorStudy, rows: Manifest, joined: PredictionTable, parts: dict[str, PartRecord],
    prior: PriorRecord | None,
) -> FactorsRecord:  # fmt: skip
    """oof.json."""
    schema, runs = rows.schema, [run for name in parts for run in factors.runs(name)]
    mark = worst_mark(mark_of(run.status()) for run in runs)
    scores = bootstrap(joined.true, joined.predicted, joined.group, len(joined.classes))
    return FactorsRecord.model_validate({
        "schema": schema,
        "submission": rows.submission,
        "parts": parts,
        "prior": prior,
        "counts": np.bincount(joined.true, minlength=len(joined.classes)).tolist(),
        "images": len(joined),
        "groups": len(np.unique(joined.group)),
        "grouped": rows.grouped,
        "macro_f1": interval(scores["macro_f1"]),
        "accuracy": interval(scores["accuracy"]),
        "nll": log_loss(joined.true, joined.probs),
        "ece": expected_calibration_error(joined.probs, joined.true),
        "cpu_seconds": sum(run.cpu_seconds() for run in runs),
        "leakage": mark.status,
        "leakage_reason": mark.reason,
        "oof_sha256": file_digest(factors.oof),
    })  # fmt: skip


def interval(score: Interval) -> IntervalRecord:
    return IntervalRecord(**score._asdict())


def tell(factors: FactorStudy, console: Console) -> None:
    """The scores, what was decided, and what to do next."""
    record = factors.record()
    console.rich.print(factors_table(record))
    console.say(f"OOF    {score_sentence(record, factors.settings().folds)}")
    if record.prior is not None:
        console.say(f"Prior  {prior_sentence(record.prior)}")
    console.say(f"Guard  {record.leakage} ({record.leakage_reason})")
    console.say(f"Saved  {factors.path}  (read {factors.card.name}; next: sslmask predict --run {factors.path})")
