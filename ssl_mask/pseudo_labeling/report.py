"""What a study of rounds shows: a table and plots after every round, and the best round as the run of the whole."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.predictions import read_validation
from ssl_mask.evaluation.answers import read_answers
from ssl_mask.evaluation.metrics import bootstrap, paired_bootstrap
from ssl_mask.files import atomic_path, write_json, write_text
from ssl_mask.pseudo_labeling.audit import audit
from ssl_mask.pseudo_labeling.select import read_pool
from ssl_mask.reports import round_plots
from ssl_mask.reports.round_table import class_table, round_tables
from ssl_mask.reports.run_card import run_card
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.records import RoundSummary, leakage_of
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import Study


def round_zero(config: RunConfig, whole: RunDir) -> RunDir | None:
    """The run of round 0, which may be one of before; None where several teachers are in its place."""
    if not config.pseudo.teachers:
        return whole.round(0)
    path = Study(whole.rounds).record().settings.get("round_zero")
    return None if path is None else RunDir(Path(path))


def run_of(config: RunConfig, whole: RunDir, number: int) -> RunDir:
    """The run of a round; of several teachers in place of round 0 there is only a table of validation predictions."""
    return (round_zero(config, whole) if number == 0 else None) or whole.round(number)


def report_round(config: RunConfig, whole: RunDir, number: int, answers: Path | None, console: Console) -> None:
    """Audit the round if answers are given, draw its plots, and print the rounds so far."""
    run = run_of(config, whole, number)
    metadata = read_metadata(run.best)
    schema = metadata.label_schema
    if number > 0:
        pool = read_pool(run.pool, schema)
        if answers is not None:
            write_json(run.audit, audit(pool, read_answers(answers, schema, metadata.submission).joint, schema))
        record = run.selection_record()
        if not (plot := run.plots / "selection.svg").is_file():  # a finished round is left alone
            round_plots.write_selection(plot, record, pool)
        console.rich.print(class_table(record))
    rows = summaries(config, whole, number)
    round_plots.write_rounds(whole.plots / "rounds.svg", rows)
    for table in round_tables(rows):
        console.rich.print(table)


def summaries(config: RunConfig, whole: RunDir, last: int) -> list[RoundSummary]:
    """A row a round: its scores with intervals, what it trained on, and how right that was."""
    rows: list[RoundSummary] = []
    for number in range(last + 1):
        run = run_of(config, whole, number)
        val = read_validation(run.validation)
        scores = bootstrap(val.true, val.predicted, val.group, len(val.classes))
        row: dict[str, Any] = {"round": number, "run": run.path.as_posix()}
        row |= {key: interval._asdict() for key, interval in scores.items()}
        if number == 0 and round_zero(config, whole) is None:
            teachers = [RunDir(Path(t.run)) for t in whole.round(1).selection_record().teachers]
            row |= {"teachers": len(teachers), "cpu_seconds": sum(teacher.cpu_seconds() for teacher in teachers)}
            row["taught_by"] = f"mean of {len(teachers)} teachers"
            rows.append(RoundSummary.model_validate(row))
            continue
        row["cpu_seconds"] = run.cpu_seconds()
        if number == 0:
            row["taught_by"] = taught_by(run)
        else:
            record = run.selection_record()
            row |= record.model_dump(include={"pool", "selected", "whole", "flipped", "agreement", "rule"})
            row["heads"] = {
                n: {"selected": h.selected, "val_precision": h.val_precision} for n, h in record.heads.items()
            }
            if run.audit.is_file():
                row["audit"] = run.audit_record()
        rows.append(RoundSummary.model_validate(row))
    return rows


def taught_by(run: RunDir) -> str:
    """What a round 0 learned from: it may be a run of before, with unlabeled images or pseudo-labels of its own."""
    data = run.data()
    more = [words for part, words in ((data.unlabeled, "unlabeled images"), (data.pseudo, "pseudo-labels")) if part]
    return " and ".join(["labels", *more]) if more else "labels only"


def best_round(rows: Sequence[RoundSummary]) -> int:
    """The round of the highest validation macro-F1 that has a run; of equal ones the first."""
    return max((r for r in rows if r.teachers is None), key=lambda r: r.macro_f1.value).round


def publish(config: RunConfig, whole: RunDir, last: int) -> None:
    """Make the best round so far that of the whole: its weights, its validation, its data; and write the card."""
    rows = summaries(config, whole, last)
    best = run_of(config, whole, best_round(rows))
    copied = [best.best, best.validation, best.manifest, best.environment, best.findings]
    copied += best.best.parent.glob("seen-*.npz")
    for source in (s for s in copied if s.is_file()):  # there are no findings where the guard was off
        with atomic_path(whole.path / source.relative_to(best.path)) as partial:
            shutil.copyfile(source, partial)
    status = best.status()
    whole.update(
        best_round=best_round(rows), seconds=sum(r.cpu_seconds for r in rows), rounds=rows, best=status.best,
        data=status.data, step=status.step, steps=status.steps, **dict(leakage_of(status)),
    )  # fmt: skip
    write_text(whole.card, run_card(whole))


def stopped_early(config: RunConfig, whole: RunDir, number: int) -> bool:
    """Whether this round's macro-F1 is below that of the best one before, beyond the 95 % interval by group."""
    if number == 0 or (number == 1 and round_zero(config, whole) is None):
        return False
    before = best_round(summaries(config, whole, number - 1))
    best, own = (read_validation(run_of(config, whole, n).validation) for n in (before, number))
    difference = paired_bootstrap(
        own.true, best.predicted[None], own.predicted[None], own.group, len(own.classes)
    )  # fmt: skip
    return bool(difference["macro_f1"].high < 0)
