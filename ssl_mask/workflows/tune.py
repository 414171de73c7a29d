"""`sslmask tune`: a search over settings whose winner must prove itself.

    open -> trials -> confirm -> verdict

Each trial is a study of folds. The journal alone decides what is tried next, so any number of processes may work on a
search, and one that was killed goes on as if nothing had happened. Then the best trial and the default are trained on
splits that the search has not seen: the best of many trials always looks better than it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from ssl_mask import devices
from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.errors import InputError, Interrupted, TrainingError, nothing_written
from ssl_mask.files import write_json
from ssl_mask.reports import tune_card
from ssl_mask.runs.study import Study, resumed_study
from ssl_mask.runs.trials import DEFAULT, Metric, TrialRecord, TrialStudy, VerdictRecord
from ssl_mask.studies.estimates import estimate_search
from ssl_mask.training.trackers.tracking import refuse_missing
from ssl_mask.tuning.confirm import ConfirmationError, confirm
from ssl_mask.tuning.engines import run_here
from ssl_mask.tuning.journal import Journal
from ssl_mask.tuning.progress import TrialLines
from ssl_mask.tuning.ray_engine import run_on_ray
from ssl_mask.tuning.report import report
from ssl_mask.tuning.search import checked_settings, extended, journal_of, new_search
from ssl_mask.tuning.trial import lighten, tell_lost
from ssl_mask.tuning.verdict import judge, winner_of
from ssl_mask.workflows import tune_folds
from ssl_mask.workflows.train import two_steps

Engine = Literal["optuna", "ray"]


@dataclass(frozen=True)
class Search:
    """A finished search."""

    study: TrialStudy
    verdict: VerdictRecord

    @property
    def path(self) -> Path:
        return self.study.path

    @property
    def best(self) -> Path:
        """The winner, for `--config`."""
        return self.study.best


def tune(
    config: RunConfig,
    *,
    space: Path | None = None,
    trials: int | None = None,
    folds: int = 3,
    repeats: int = 1,
    metric: Metric = "macro_f1",
    confirm: int = 2,
    engine: Engine = "optuna",
    parallel: int = 1,
    resume: str | Path | None = None,
    dry_run: bool = False,
    quiet: bool = False,
) -> Search | None:
    """Search settings, then compare the best trial with the default on other splits.

    Args:
        config: the default, which trial 0 trains; `config.name` names the search.
        space: YAML file of the search space.
        trials: over all processes, the default included; 30 where it is not given. With `resume`, a higher number
            goes on searching.
        folds: of each trial; its score is macro-F1 of the pooled out-of-fold predictions at the common step.
        repeats: splits of each trial.
        metric: what the search looks at.
        confirm: other splits on which the winner is compared with the default.
        engine: `optuna` works on one trial after another in this process; `ray` gives them to Ray Tune.
        parallel: trials at the same time, with `ray`.
        resume: a search to go on with; its own settings count.
        dry_run: check configuration, space and data, run two steps, print what all of it would cost; returns None.
        quiet: print nothing.

    Raises:
        SslMaskError: any bad input, or no trial has finished; what has ended is kept.
        Interrupted: says how to go on.

    Examples:
        >>> from pathlib import Path
        >>> import ssl_mask
        >>> _ = Path("space.yaml").write_text("optim.lr: [1.0e-3, 3.0e-3]")
        >>> config = ssl_mask.load_config({"data": {"root": "faces"}}, preset="laptop")
        >>> search = ssl_mask.tune(config, space=Path("space.yaml"), trials=2, folds=2, confirm=0, quiet=True)
        >>> search.verdict.recommended
        False
    """
    if resume is None:
        refuse_missing(config.train.trackers)
    accelerator = devices.make_accelerator(config.train.precision)
    if accelerator.num_processes > 1:
        raise InputError(
            "A search does not train one trial in several processes.",
            hint="Start sslmask tune once per GPU, with the same --name: they share the trials of one search.",
        )
    console = Console(quiet=quiet)
    with nothing_written("this search"):
        if resume is None:
            asked = checked_settings(config, space, trials, folds, repeats, metric, confirm, console)
            if dry_run:
                two = partial(two_steps, accelerator=accelerator, console=console)
                estimate_search(config, asked, two, console)
                return None
            search = new_search(config, asked, console)
        elif dry_run:
            raise InputError("--dry-run is of a new search.", hint="Leave out --resume.")
        else:
            search = extended(TrialStudy(resumed_study(resume, config.runs, "tune")), trials)
    journal = journal_of(search)
    journal.trials()  # a damaged journal, or no Optuna: said before anything starts
    hint = f"Continue with: sslmask tune --resume {search.path}"
    try:
        search_trials(journal, engine, parallel, console)
        return Search(search, finish(journal, console))
    except Interrupted as stopped:
        raise Interrupted(
            "Stopped; what has ended is kept.", signal_number=stopped.exit_code - 128, hint=hint
        ) from None
    except KeyboardInterrupt as stopped:
        raise Interrupted.by(stopped, "what has ended is kept.", hint=hint) from None


# ---- trials ----


def search_trials(journal: Journal, engine: Engine, parallel: int, console: Console) -> None:
    """Work on trials until all have ended.

    Raises:
        TrainingError: all have failed.
    """
    asked, lines = journal.study.settings(), TrialLines(journal, console)
    lines.begin(asked)
    if engine == "ray":
        # As many threads as this process would use: their number changes the last digits of a sum.
        threads = max(1, torch.get_num_threads() // parallel)
        work = partial(work_on_disk, str(journal.study.path.absolute()), threads)
        run_on_ray(journal.next_trial, work, lines, lost=partial(tell_lost, journal), parallel=parallel)
    else:
        run_here(journal.next_trial, partial(tune_folds.work_on_trial, journal), lines)
    refuse_no_result(journal.ended(), journal.study)


def work_on_disk(path: str, threads: int, number: int) -> bool:
    """A trial of a search that is known by its folder only: in a process that Ray has started."""
    torch.set_num_threads(threads)
    return tune_folds.work_on_trial(journal_of(TrialStudy(Study(Path(path)))), number)


def refuse_no_result(records: list[TrialRecord], search: TrialStudy) -> None:
    """Raises TrainingError when all trials have failed."""
    if all(r.state == "failed" for r in records):
        raise TrainingError(
            f"All {len(records)} trials of {search.path} failed. The first: {records[0].reason}",
            hint="Change what it says with -c or --set, and begin a new search.",
        )


# ---- confirm, verdict ----


def finish(journal: Journal, console: Console) -> VerdictRecord:
    """Compare the winner with the default on other splits, and write what the search has found."""
    search, records = journal.study, journal.ended()
    if not search.verdict_file.is_file():
        winner = winner_of(records, journal.metric)
        assert winner is not None  # some trial has finished: only after that others are pruned
        verdict = verdict_on(search, winner, records[DEFAULT], console)
        report(journal, records, verdict)
        for record in records:
            kept = record.state == "finished" and record.number in {DEFAULT, winner.number}
            lighten(search.trial(record.number), keep_weights=kept)
        write_json(search.verdict_file, verdict.to_json())
    verdict = search.verdict()
    console.rich.print(tune_card.trials_table(records, journal.metric))
    for sentence in filter(None, tune_card.sentences(verdict)):
        console.say(sentence)
    use = f"sslmask train --folds 5 -c {search.best}"
    console.say(f"Saved  {search.path}  (read {search.card.name}; to use it: {use})")
    return verdict


def verdict_on(search: TrialStudy, winner: TrialRecord, default: TrialRecord, console: Console) -> VerdictRecord:
    pairs, failed = {}, ""
    grouped = search.trial(winner.number).record().grouped
    if winner.number != DEFAULT and default.state == "finished":
        if asked := search.settings().confirm:
            console.say(
                f"Best   trial {winner.number}; now it and the default are trained on {tune_card.splits(asked)}"
            )
        try:
            pairs = confirm(search, winner, tune_folds.train_trial, console)
        except ConfirmationError as error:
            failed = str(error)
    verdict = judge(winner, default, pairs, grouped=grouped)
    return verdict.model_copy(update={"reason": failed}) if failed else verdict
