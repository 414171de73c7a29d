"""`sslmask pseudo`: train on labels, believe some of the pool, train on both, and again; keep the best round.

Every round is an ordinary run. What stands on disk decides what is done next, so a killed series goes on where it was:
a finished round is never redone, a begun one is resumed, and everything in between is made anew from the same seeds.
"""

from __future__ import annotations

import shutil
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from ssl_mask import devices
from ssl_mask.config import RunConfig, validate
from ssl_mask.console import Console
from ssl_mask.data.checks import refuse_other_validation
from ssl_mask.data.load import read_manifest
from ssl_mask.data.unlabeled import read_unlabeled
from ssl_mask.errors import DataError, InputError, Interrupted
from ssl_mask.files import storage
from ssl_mask.pseudo.report import publish, report_round, stopped_early
from ssl_mask.pseudo.round import guard_pool, select_round
from ssl_mask.runs.run import Run, RunDir, find_run
from ssl_mask.runs.study import SeriesDir, create_series, find_series
from ssl_mask.workflows.train import train


def pseudo(
    config: RunConfig,
    *,
    resume: str | Path | None = None,
    audit_answers: Path | None = None,
    quiet: bool = False,
) -> Run:
    """Train `config.pseudo.rounds` rounds after round 0 and return the series, whose weights are the best round's.

    Args:
        config: of every round. `config.name` names the series.
        resume: a series to continue; its own configuration counts.
        audit_answers: the pool's true labels, a CSV as `evaluate` takes. Only reported: no round depends on it.

    Raises:
        SslMaskError: any bad input; finished rounds are kept. Interrupted: the message says how to go on.
    """
    accelerator = devices.make_accelerator(config.train.precision)
    console = Console(quiet=quiet or not accelerator.is_main_process)
    found = find(config, resume)
    check_first(config if found is None else found.config(), audit_answers)
    if found is None and config.pseudo.from_predictions is None:
        # Before round 0, not after it: what will be refused is refused at once.
        manifest = read_manifest(config.data, Console(quiet=True))
        guard_pool(config, manifest, read_unlabeled(config.data.unlabeled, manifest), accelerator, console)
    series: SeriesDir = shared(accelerator, lambda: found or create_series(config))
    with series.locked() if accelerator.is_main_process else nullcontext():
        if accelerator.is_main_process:
            series.update(status="running")
        try:
            do_rounds(series, accelerator, audit_answers, console, quiet=quiet)
        except (Interrupted, KeyboardInterrupt) as stopped:
            if accelerator.is_main_process:
                series.update(status="interrupted")
            raise interrupted(series, stopped) from None
        if accelerator.is_main_process:
            series.update(status="finished")
            console.say(f"Saved  {series.path}  (read {series.card.name}; next: sslmask predict --run {series.path})")
    accelerator.wait_for_everyone()
    return Run(series)


def interrupted(series: SeriesDir, stopped: Interrupted | KeyboardInterrupt) -> Interrupted:
    """The same interruption, with how to go on."""
    hint = f"Continue with: sslmask pseudo --resume {series.path}"
    if isinstance(stopped, Interrupted):
        return Interrupted(stopped.problem, signal_number=stopped.exit_code - 128, hint=hint)
    return Interrupted("Interrupted; finished rounds are saved.", signal_number=signal.SIGINT, hint=hint)


def do_rounds(
    series: SeriesDir, accelerator: Accelerator, answers: Path | None, console: Console, *, quiet: bool
) -> None:
    """Every round that is not done, its report, and the best round so far as the series' own."""
    config = series.config()
    first = f"is {config.pseudo.start_from}" if config.pseudo.start_from else "on labels only"
    console.say(f"Series {series.path}: round 0 {first}, then {config.pseudo.rounds} of pseudo-labels")
    for number in range(config.pseudo.rounds + 1):
        do_round(config, series, number, accelerator, console, quiet=quiet)
        if accelerator.is_main_process:
            report_round(config, series, number, answers, console)
            publish(config, series, number)
        if shared(accelerator, lambda number=number: stopped_early(config, series, number)):
            console.say(f"Stop   validation macro-F1 fell beyond its interval in round {number}; the best is kept.")
            break


def shared(accelerator: Accelerator, decide: Any) -> Any:
    """What the first process decides, in all processes: each would look at the disk at another moment."""
    box = [decide() if accelerator.is_main_process else None]
    if accelerator.num_processes > 1:
        broadcast_object_list(box)
    return box[0]


def find(config: RunConfig, resume: str | Path | None) -> SeriesDir | None:
    """The series to resume, or None where a new one is wanted."""
    found = find_series(resume, config.runs) if resume is not None else None
    if resume is not None and found is None:
        raise InputError(f"{resume} is not a series of rounds.", hint="Resume a single run with its own verb.")
    return found


def check_first(config: RunConfig, answers: Path | None) -> None:
    """What would stop a later round stops the series here."""
    refuse_answers_as_pool(config, answers)
    if config.pseudo.start_from is not None:
        check_start(config)


def do_round(
    config: RunConfig, series: SeriesDir, number: int, accelerator: Accelerator, console: Console, *, quiet: bool
) -> None:
    """Select and train round `number`, as far as it is not done."""
    state = shared(accelerator, lambda: state_of(config, series, number))
    if state == "finished":
        return
    console.say(f"\nRound {number}" + (" (labels only)" if number == 0 else ""), style="bold")
    if state == "new" and number > 0:
        before = series.round(number - 1) if number > 1 else None
        select_round(
            config, number, teacher_of(config, series, number), before, series.round(number), accelerator, console
        )
    settings = round_config(config, series, number)
    train(settings, resume=series.round(number).path if state == "begun" else None, quiet=quiet)


def state_of(config: RunConfig, series: SeriesDir, number: int) -> str:
    """`finished`, `begun` (resume it), `selected` (train it) or `new`."""
    if number == 0 and config.pseudo.start_from is not None:
        return "finished"
    run = series.round(number)
    if run.status_file.is_file():
        if run.status().status == "finished" and run.card.is_file():
            return "finished"
        if run.last.is_file():
            return "begun"
    if run.path.is_dir():
        forget(run)  # killed before its first save: nothing of it can be continued
    return "selected" if run.pseudo_labels.is_file() else "new"


def forget(run: RunDir) -> None:
    """Remove what there is of a round's training, not its selection. The status goes first: without it it is no run."""
    with storage(run.path):
        run.status_file.unlink(missing_ok=True)
        for path in sorted(run.path.iterdir()):
            if path not in {run.pseudo_labels, run.pool, run.selection}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not any(run.path.iterdir()):
            run.path.rmdir()


def teacher_of(config: RunConfig, series: SeriesDir, number: int) -> RunDir:
    """The run that predicts the pool for round `number`."""
    if number == 1 and config.pseudo.start_from is not None:
        return find_run(config.pseudo.start_from, config.runs)
    return series.round(number - 1)


def check_start(config: RunConfig) -> None:
    """Raises DataError when the run to start from is not finished, or was validated on other images."""
    run = find_run(config.pseudo.start_from or "", config.runs)
    if run.status().status != "finished":
        raise DataError(f"{run.path} is not finished.", hint=f"Finish it: sslmask train --resume {run.path}")
    refuse_other_validation(run.path, run.manifest, read_manifest(config.data, Console(quiet=True)).where("val"))


def round_config(config: RunConfig, series: SeriesDir, number: int) -> RunConfig:
    """The configuration of one round. Round 0 knows labels only, whatever the algorithm of the others."""
    tree = config.model_dump(mode="json") | {"runs": str(series.rounds), "name": f"{number:02d}"}
    if number == 0:
        tree["algorithm"] = {**tree["algorithm"], "name": "supervised"}
    else:
        tree["data"] = {**tree["data"], "pseudo_labels": str(series.round(number).pseudo_labels)}
    if number > 0 and config.pseudo.warm_start:
        tree["init_from"] = str(teacher_of(config, series, number).path)
    return validate(tree)


def refuse_answers_as_pool(config: RunConfig, answers: Path | None) -> None:
    """Raises DataError when the file of answers is also named as the pool."""
    if answers is None:
        return
    if not answers.is_file():
        raise DataError(f"No file {answers}.", hint="--audit-answers takes a CSV: image, answer.")
    for source in config.data.unlabeled:
        if answers.resolve() in {Path(source).resolve(), (config.data.root / source).resolve()}:
            raise DataError(
                f"{source} holds the answers; it cannot be the pool too.",
                hint="Give --unlabeled the folder of the images.",
            )
