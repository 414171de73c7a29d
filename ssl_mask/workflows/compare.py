"""`sslmask uda --baseline --seeds …`: a run per seed, its supervised baseline, and the difference with its interval.

A semi-supervised score without its baseline says nothing: the unlabeled images may as well have made it worse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_mask import devices
from ssl_mask.config import RunConfig, validate
from ssl_mask.console import Console
from ssl_mask.data.predictions import read_validation
from ssl_mask.evaluation.metrics import paired_bootstrap
from ssl_mask.files import write_json, write_text
from ssl_mask.reports.comparison import WITH, comparison_card, comparison_table, verdict_of
from ssl_mask.reports.reference import reference_sentence, score_against
from ssl_mask.reports.run_card import run_card
from ssl_mask.runs.comparison import ComparisonRecord, DifferenceRecord, ReferenceScore, ScoreRecord, SeedRecord
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seeds import Seeds, baseline_name, run_name
from ssl_mask.runs.study import Study, begin_study, resumed_study
from ssl_mask.studies.members import Trainer, at_work, train_member
from ssl_mask.training.trackers.tracking import refuse_missing
from ssl_mask.workflows.train import train


@dataclass(frozen=True)
class Comparison:
    """A finished study."""

    path: Path
    result: ComparisonRecord
    """As in comparison.json; without rows on all processes but the first."""


def compare(
    config: RunConfig,
    *,
    seeds: Sequence[int] = (0,),
    baseline: bool = True,
    resume: str | Path | None = None,
    quiet: bool = False,
) -> Comparison:
    """Train a run per seed, and its supervised baseline at equal optimizer steps; report the paired difference.

    Args:
        config: of the semi-supervised runs; `config.name` names the study.
        resume: a study to continue; its own seeds and configuration count, finished runs are not redone.

    Raises:
        SslMaskError: any bad input. Interrupted: everything is saved, the message says how to go on.

    Examples:
        >>> import ssl_mask
        >>> data = {"root": "faces", "unlabeled": ["extra"]}
        >>> settings = {"data": data, "algorithm": {"name": "uda"}, "guard": {"drop_overlap": True}}
        >>> config = ssl_mask.load_config(settings, preset="uda_laptop")
        >>> comparison = ssl_mask.compare(config, seeds=[0], quiet=True)
        >>> [row.seed for row in comparison.result.rows]
        [0]
    """
    if resume is None:
        refuse_missing(config.train.trackers)
    accelerator = devices.make_accelerator(config.train.precision)
    console = Console(quiet=quiet or not accelerator.is_main_process)
    asked = Seeds(seeds=tuple(seeds), baseline=baseline)
    study = devices.broadcast(accelerator, lambda: _open(config, asked, resume))
    config, plan = _plan(study)

    members = list(_members(study, config, plan))
    console.say(f"Study  {study.path}: {len(members)} runs")
    with at_work(study, accelerator):
        for member in members:
            train_member(study, member, Trainer(train, accelerator, console, quiet))
        result = _report(study, plan, console) if accelerator.is_main_process else ComparisonRecord(rows=())
    return Comparison(study.path, result)


def _open(config: RunConfig, plan: Seeds, resume: str | Path | None) -> Study:
    if resume is not None:
        return resumed_study(resume, config.runs, "uda")
    config.refuse_no_validation("A comparison")
    config.refuse_factors("A comparison")
    config.refuse_auto_batch("a comparison")
    return begin_study(config, "study", "uda", "seeds", plan.to_json())


def _plan(study: Study) -> tuple[RunConfig, Seeds]:
    """The configuration that the runs have in common, and their seeds."""
    return validate(study.record().config), study.settings_as(Seeds)


def _members(study: Study, config: RunConfig, plan: Seeds) -> Iterator[RunConfig]:
    """The baseline goes first, so that `latest` is the other run."""
    for seed in plan.seeds:
        if plan.baseline:
            yield study.member(config, baseline_name(seed), seed=seed, algorithm={"name": "supervised"})
        yield study.member(config, run_name(seed), seed=seed)


def _report(study: Study, plan: Seeds, console: Console) -> ComparisonRecord:
    """Write comparison.json and .md, and put the comparison on the run cards."""
    rows = tuple(_row(study, seed, baseline=plan.baseline) for seed in plan.seeds)
    difference = _difference(study, plan.seeds) if plan.baseline else None
    result = ComparisonRecord(rows=rows, difference=difference, reference=_reference(study, plan.seeds))
    write_json(study.comparison, result.to_json())
    write_text(study.card, comparison_card(study.path.name, result))
    for seed in plan.seeds if plan.baseline else ():
        run = study.run(run_name(seed))
        run.update(comparison=result)
        write_text(run.card, run_card(run))
    console.rich.print(comparison_table(result))
    if result.difference is not None:
        console.say(" ".join(verdict_of(result.difference)))
    if result.reference is not None:
        console.say(f"Probe  {reference_sentence(result.reference, WITH)}")
    console.say(f"Saved  {study.path}  (read {study.card.name}; next: sslmask predict --run {study.path})")
    return result


def _row(study: Study, seed: int, *, baseline: bool) -> SeedRecord:
    """Scores of a seed; with a baseline also what the run had reached when it had used the baseline's CPU time."""
    run = study.run(run_name(seed))
    if not baseline:
        return SeedRecord(seed=seed, ours=_scores(run))
    labels_only = _scores(study.run(baseline_name(seed)))
    reached = [r for r in run.records() if r["kind"] == "val" and r["cpu_seconds"] <= labels_only.cpu_seconds]
    best = max(reached, key=lambda r: float(r["macro_f1"]), default=None)
    early = best and ScoreRecord(**{k: best[k] for k in ("macro_f1", "accuracy", "step", "cpu_seconds")})
    return SeedRecord(seed=seed, ours=_scores(run), labels_only=labels_only, ours_at_equal_cpu=early)


def _scores(run: RunDir) -> ScoreRecord:
    best, cpu = run.scores(), run.cpu_seconds()
    return ScoreRecord(
        macro_f1=best.macro_f1, accuracy=best.accuracy, step=best.step, weights=best.weights, cpu_seconds=cpu
    )


def _difference(study: Study, seeds: Sequence[int]) -> DifferenceRecord:
    """Ours less the supervised baseline on validation, averaged over seeds, with a 95 % interval by group."""
    ours = [read_validation(study.run(run_name(s)).validation) for s in seeds]
    baselines = [read_validation(study.run(baseline_name(s)).validation) for s in seeds]
    first = ours[0]
    intervals = paired_bootstrap(
        first.true,
        np.stack([t.predicted for t in baselines]),
        np.stack([t.predicted for t in ours]),
        first.group,
        len(first.classes),
    )
    return DifferenceRecord.model_validate({key: interval._asdict() for key, interval in intervals.items()})


def _reference(study: Study, seeds: Sequence[int]) -> ReferenceScore | None:
    """The runs with unlabeled images against their reference, which is the same for all seeds: it has none itself."""
    runs = [study.run(run_name(seed)) for seed in seeds]
    if not runs[0].reference_file.exists():
        return None
    return score_against(read_validation(runs[0].reference), [read_validation(run.validation) for run in runs])
