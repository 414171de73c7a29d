"""`sslmask pseudo`: train on labels, pseudo-label what is likely right of the pool, train on both, and again.

Every round is an ordinary run of a study; the best one becomes the result. A killed study goes on where it was: a
selection that is written is kept, and everything that is not is made anew from the same seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from ssl_mask import cluster, devices
from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.errors import Interrupted, nothing_written
from ssl_mask.evaluation.answers import read_answers
from ssl_mask.files import write_text
from ssl_mask.pseudo_labeling.audit import refuse_answers_as_pool
from ssl_mask.pseudo_labeling.pool import Pool
from ssl_mask.pseudo_labeling.report import publish, report_round, round_zero, stopped_early
from ssl_mask.pseudo_labeling.round import select_round
from ssl_mask.pseudo_labeling.rounds import each_round
from ssl_mask.reports.run_card import run_card
from ssl_mask.runs.create import create_run
from ssl_mask.runs.run import RunDir, round_name
from ssl_mask.runs.sources import Source, run_source
from ssl_mask.runs.study import Study, create_study, resumed_study
from ssl_mask.runs.view import Run
from ssl_mask.studies.members import Trainer, at_work, train_member
from ssl_mask.training.trackers.tracking import refuse_missing
from ssl_mask.workflows.train import train


def pseudo(
    config: RunConfig,
    *,
    resume: str | Path | None = None,
    audit_answers: Path | None = None,
    engine: cluster.Engine = "local",
    quiet: bool = False,
) -> Run:
    """Train `config.pseudo.rounds` rounds after round 0; returns a run with the weights of the best round.

    Args:
        config: of every round. `config.name` names the study.
        resume: a study to continue; its own configuration counts.
        audit_answers: the pool's true labels, a CSV as `evaluate` takes. Only reported: no round depends on it.
        engine: `ray`: the processes of a cluster, or of a local Ray, read, compare and predict the pool of each round.

    Raises:
        SslMaskError: any bad input; finished rounds are kept. Interrupted: the message says how to go on.

    Examples:
        >>> import ssl_mask
        >>> data = {"root": "faces", "unlabeled": ["extra"]}
        >>> settings = {"data": data, "pseudo": {"rounds": 1, "rule": "percentile"}, "guard": {"drop_overlap": True}}
        >>> run = ssl_mask.pseudo(ssl_mask.load_config(settings, preset="pseudo_laptop"), quiet=True)
        >>> [round.round for round in run.status.rounds]
        [0, 1]
    """
    if resume is None:
        refuse_missing(config.train.trackers)
    accelerator = devices.make_accelerator(config.train.precision)
    console = Console(quiet=quiet or not accelerator.is_main_process)
    found = resumed_study(resume, config.runs, "pseudo") if resume is not None else None
    config = RunDir(found.home).config() if found is not None else config
    pool = Pool(config, accelerator, console)
    with nothing_written("this study" if found is None else "this round"), cluster.engine(engine):
        check_first(config, pool, audit_answers, new=found is None)
    study = found or devices.broadcast(accelerator, partial(begin, config, pool))
    whole = RunDir(study.home)
    with at_work(study, accelerator), keeping_status(whole) if accelerator.is_main_process else nullcontext():
        trainer = Trainer(train, accelerator, console, quiet)
        stopped = run_rounds(config, study, pool, audit_answers, trainer, engine=engine)
        if accelerator.is_main_process:
            whole.update(stopped=stopped)
            write_text(whole.card, run_card(whole))
    console.say(f"Saved  {whole.path}  (read {whole.card.name}; next: sslmask predict --run {whole.path})")
    accelerator.wait_for_everyone()
    return Run(whole)


def check_first(config: RunConfig, pool: Pool, answers: Path | None, *, new: bool) -> None:
    """What would stop a later round stops the study before round 0."""
    config.refuse_no_validation("Selecting pseudo-labels")
    config.refuse_factors("sslmask pseudo")
    config.refuse_auto_batch("rounds of pseudo-labels")
    refuse_answers_as_pool(config, answers)
    if answers is not None:
        read_answers(answers, pool.manifest.schema, pool.manifest.submission)
    _ = pool.teachers
    if new:
        pool.guard()


def begin(config: RunConfig, pool: Pool) -> Study:
    def fill(whole: RunDir) -> dict[str, Any]:
        settings = {"rounds": config.pseudo.rounds, "round_zero": pool.round_zero}
        create_study(whole.rounds, "pseudo", "rounds", config, settings)
        return {"rounds": ()}

    return Study(create_run(config, "pseudo", fill).rounds)


@contextmanager
def keeping_status(whole: RunDir) -> Iterator[None]:
    """Keep the status of the run that a study makes."""
    whole.update(status="running")
    try:
        yield
    except (Interrupted, KeyboardInterrupt):
        whole.update(status="interrupted")
        raise
    whole.update(status="finished")


def run_rounds(
    config: RunConfig, study: Study, pool: Pool, answers: Path | None, trainer: Trainer, *,
    engine: cluster.Engine = "local",
) -> str:  # fmt: skip
    """Select what each round trains on, train it, report it, and keep the best so far.

    Returns:
        A sentence: why there are fewer rounds than were asked for; empty where there are not.
    """
    accelerator, console, whole = pool.accelerator, pool.console, RunDir(study.home)
    zero, taught = round_zero(config, whole), bool(config.pseudo.teachers)
    first = ("on labels only" if not taught else f"is {zero.path}") if zero else "are the teachers"
    console.say(f"Study  {whole.path}: round 0 {first}, then {config.pseudo.rounds} of pseudo-labels")

    def train_round(number: int) -> None:
        todo = devices.broadcast(accelerator, partial(what_is_left, study, number))
        if todo != "nothing":
            console.say(f"\nRound {number}" + (" (labels only)" if number == 0 else ""), style="bold")
        if todo == "select":
            with cluster.engine(engine):  # not while it trains
                select_for_round(config, whole, number, pool, zero)
        train_member(study, round_config(config, study, number), trainer, title="")

    def report(number: int) -> None:
        if accelerator.is_main_process:
            report_round(config, whole, number, answers, console)
            publish(config, whole, number)

    def fell(number: int) -> bool:
        return devices.broadcast(accelerator, partial(stopped_early, config, whole, number))

    numbers = range(0 if zero else 1, config.pseudo.rounds + 1)
    return each_round(numbers, train_round, report, fell, console, taught=taught, scored="Validation")


def select_for_round(config: RunConfig, whole: RunDir, number: int, pool: Pool, zero: RunDir | None) -> None:
    """Write the pseudo-labels of a round (from 1)."""
    select_round(
        config, number, teachers_of(config, whole, number, pool), whole.round(number - 1) if number > 1 else None,
        whole.round(number), pool.manifest, pool.overlapping, pool.accelerator, pool.console,
        scores=None if zero or number > 1 else whole.round(0).validation,
    )  # fmt: skip


def teachers_of(config: RunConfig, whole: RunDir, number: int, pool: Pool) -> tuple[Source, ...]:
    """Who predicts the pool for a round: round 0 or the teachers, then the round before, with the teachers if asked."""
    if number == 1:
        return pool.teachers or (run_source(whole.round(0)),)
    return (run_source(whole.round(number - 1)), *(pool.teachers if config.pseudo.keep_teachers else ()))


def what_is_left(study: Study, number: int) -> str:
    """`select` (and train), `train` or `nothing`. Round 0 has no pseudo-labels."""
    state, run = study.settle(round_name(number)), study.run(round_name(number))
    if state == "finished":
        return "nothing"
    return "select" if number > 0 and state == "new" and not run.pseudo_labels.is_file() else "train"


def round_config(config: RunConfig, study: Study, number: int) -> RunConfig:
    """The configuration of one round. Round 0 knows labels only, whatever the algorithm of the others."""
    whole, name = RunDir(study.home), round_name(number)
    if number == 0:
        return study.member(config, name, algorithm={"name": "supervised"})
    changes: dict[str, Any] = {"data": {"pseudo_labels": str(whole.round(number).pseudo_labels)}}
    before = whole.round(number - 1) if number > 1 else round_zero(config, whole)
    if config.pseudo.warm_start and before is not None:
        changes["init_from"] = str(before.path)
    return study.member(config, name, **changes)
