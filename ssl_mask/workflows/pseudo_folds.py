"""`sslmask pseudo --folds K`: rounds of pseudo-labels whose score stays honest.

Each round is a study of folds. Student k learns from teachers that have not seen fold k: the models of fold k of the
round before. So the out-of-fold score of every round can be compared with that of labels only.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ssl_mask import cluster, devices
from ssl_mask.config import RunConfig, validate
from ssl_mask.console import Console
from ssl_mask.errors import ConfigError, nothing_written
from ssl_mask.evaluation.answers import read_answers
from ssl_mask.pseudo_labeling.audit import refuse_answers_as_pool
from ssl_mask.pseudo_labeling.fold_report import publish, report_round, stopped_early
from ssl_mask.pseudo_labeling.fold_setting import Setting
from ssl_mask.pseudo_labeling.fold_students import changes_of, is_missing, refit_student, round_config, student_of
from ssl_mask.pseudo_labeling.folds import select_for_students
from ssl_mask.pseudo_labeling.rounds import each_round
from ssl_mask.runs.folds import FoldsSettings
from ssl_mask.runs.rounds import RoundsSettings, RoundStudy
from ssl_mask.runs.study import begin_study, resumed_study
from ssl_mask.studies.fold_checks import checked_config
from ssl_mask.studies.folds import Changes, create_folds, run_folds
from ssl_mask.studies.members import Trainer, at_work
from ssl_mask.studies.refit import train_refit
from ssl_mask.training.trackers.tracking import refuse_missing
from ssl_mask.workflows.train import train


def pseudo_folds(
    config: RunConfig,
    *,
    folds: int = 5,
    repeats: int = 1,
    refit: bool = False,
    resume: str | Path | None = None,
    audit_answers: Path | None = None,
    engine: cluster.Engine = "local",
    quiet: bool = False,
) -> RoundStudy:
    """Train `config.pseudo.rounds` rounds after round 0, each a study of folds; the best one predicts.

    Args:
        config: of every run; `config.name` names the study.
        folds: as that of `train_folds`; so is `repeats`.
        refit: also train one model on all labels and pseudo-labels of all teachers; it has no validation of its own.
        resume: a study to continue; its own settings count.
        audit_answers: the pool's true labels, a CSV as `evaluate` takes. Only reported: no round depends on it.
        engine: as `pseudo`.
        quiet: print nothing.

    Raises:
        SslMaskError: any bad input; finished runs are kept. Interrupted: the message says how to go on.

    Examples:
        >>> import ssl_mask
        >>> settings = {
        ...     "data": {"root": "faces", "unlabeled": ["extra"]},
        ...     "pseudo": {"rounds": 1, "rule": "percentile", "teachers": ["study-001"]},  # a study of folds
        ...     "guard": {"drop_overlap": True},
        ... }
        >>> config = ssl_mask.load_config(settings, preset="pseudo_laptop")
        >>> study = ssl_mask.pseudo_folds(config, folds=2, quiet=True)
        >>> [round.round for round in study.record().rounds]
        [0, 1]
    """
    if resume is None:
        refuse_missing(config.train.trackers)
    accelerator = devices.make_accelerator(config.train.precision)
    console = Console(quiet=quiet or not accelerator.is_main_process)
    found = RoundStudy(resumed_study(resume, config.runs, "pseudo")) if resume is not None else None
    config = validate(found.study.record().config) if found is not None else config
    asked: FoldsSettings = FoldsSettings(folds=folds, repeats=repeats, refit=refit)
    if found is not None:
        own = found.settings()
        asked = FoldsSettings(folds=own.folds, repeats=own.repeats, refit=own.refit or refit)
    setting = Setting(config, asked, accelerator, console)
    with nothing_written("this study" if found is None else "this round"), cluster.engine(engine):
        check_first(setting, audit_answers, new=found is None)
    whole = found or devices.broadcast(accelerator, partial(begin, setting))
    with at_work(whole.study, accelerator):
        if accelerator.is_main_process and asked.refit and not whole.settings().refit:
            whole.study.change_settings(refit=True)
        trainer = Trainer(train, accelerator, console, quiet)
        stopped = run_rounds(setting, whole, audit_answers, trainer, engine=engine)
        if asked.refit:
            run_refit(setting, whole, trainer, engine=engine)
    if accelerator.is_main_process:
        publish(whole, stopped)
    console.say(f"Saved  {whole.path}  (read {whole.card.name}; next: sslmask predict --run {whole.path})")
    accelerator.wait_for_everyone()
    return whole


def check_first(setting: Setting, answers: Path | None, *, new: bool) -> None:
    """What would stop a later round stops the study before round 0."""
    config = setting.config
    config.refuse_factors("sslmask pseudo")
    config.refuse_auto_batch("rounds of pseudo-labels")
    refuse_answers_as_pool(config, answers)
    if config.pseudo.from_predictions is not None:
        raise ConfigError("Stored predictions are of one model; folds need one per fold.", hint="Leave out --folds.")
    if new:
        devices.broadcast(setting.accelerator, lambda: checked_config(config, setting.asked, setting.console))
    first = next(iter(setting.manifests.values()))
    if answers is not None:
        read_answers(answers, first.schema, first.submission)
    _ = setting.named
    if new:
        _ = setting.overlapping


def begin(setting: Setting) -> RoundStudy:
    config = setting.config
    asked = RoundsSettings(**setting.asked.model_dump(), rounds=config.pseudo.rounds, round_zero=setting.round_zero)

    return RoundStudy(begin_study(config, "pseudo", "pseudo", "rounds", asked.to_json()))


def run_rounds(
    setting: Setting, whole: RoundStudy, answers: Path | None, trainer: Trainer, *, engine: cluster.Engine = "local"
) -> str:
    """Train and report all rounds.

    Returns:
        A sentence: why there are fewer rounds than were asked for; empty where there are not.
    """
    accelerator, console, asked = setting.accelerator, setting.console, whole.settings()
    taught = bool(setting.config.pseudo.teachers)
    first = f"is {asked.round_zero}" if asked.round_zero else "are the teachers" if taught else "on labels only"
    console.say(f"Study  {whole.path}: round 0 {first}, then {asked.rounds} of pseudo-labels, {asked.folds} folds each")

    def report(number: int) -> None:
        if accelerator.is_main_process:
            report_round(whole, number, answers, console)

    def fell(number: int) -> bool:
        return devices.broadcast(accelerator, partial(stopped_early, whole, number))

    numbers = range(1 if taught and asked.round_zero is None else 0, asked.rounds + 1)
    one_round = partial(train_round, setting, whole, trainer, engine=engine)
    return each_round(numbers, one_round, report, fell, console, taught=taught, scored="Out-of-fold")


def train_round(setting: Setting, whole: RoundStudy, trainer: Trainer, number: int, *, engine: cluster.Engine) -> None:
    """Select what is not selected yet, and train what is not trained yet, of a round."""
    accelerator, console = setting.accelerator, setting.console
    folds = whole.round(number)
    decide = partial(devices.broadcast, accelerator)
    if decide(lambda: folds.finished):
        run_folds(folds, trainer)
        return
    console.say(f"\nRound {number}" + (" (labels only)" if number == 0 else ""), style="bold")
    if not decide(folds.study.record_file.is_file):
        decide(lambda: bool(create_folds(folds.path, "pseudo", round_config(setting.config, number), setting.asked)))
    changes: Changes = {}
    if number > 0:
        missing = decide(lambda: [f for f in setting.folds if is_missing(folds, *f)])
        if missing:
            students = {fold: student_of(setting, whole, number, fold) for fold in setting.folds}
            with cluster.engine(engine):  # not while they train
                select_for_students(
                    setting.config, number, list(students.values()), [students[fold] for fold in missing],
                    setting.overlapping, accelerator, console,
                    scores=whole.taught_as_mean if number == 1 and not whole.round(0).finished else None,
                )  # fmt: skip
        changes = {fold: changes_of(setting.config, whole, number, *fold) for fold in setting.folds}
    run_folds(folds, trainer, changes=changes)


def run_refit(setting: Setting, whole: RoundStudy, trainer: Trainer, *, engine: cluster.Engine) -> None:
    """One model on all labels, with pseudo-labels by all teachers of the best round and thresholds from all folds."""
    accelerator, console = setting.accelerator, setting.console
    best: int = devices.broadcast(accelerator, lambda: whole.record().best_round)
    folds = whole.round(best)
    if best == 0:
        train_refit(folds, trainer)
        return
    run = folds.refit
    if devices.broadcast(
        accelerator, lambda: folds.study.settle(run.name) == "new" and not run.pseudo_labels.is_file()
    ):
        students = [student_of(setting, whole, best, fold) for fold in setting.folds]
        refit = refit_student(setting, run, students)
        with cluster.engine(engine):
            select_for_students(setting.config, best, students, [refit], setting.overlapping, accelerator, console)
    changes = {"data": {"pseudo_labels": str(run.pseudo_labels)}}
    train_refit(folds, trainer, changes=changes)
