"""The journal of a search: Optuna's file of what was asked and what came out of it, shared by all processes.

A trial is asked from what the journal holds and a seed of its own number, and is written with all its parameters in
one line. So a search that was killed anywhere asks the same trials as one that was not, and a trial without an end
whose lock nobody holds is one that a killed process has left.
"""

from __future__ import annotations

import fcntl
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from ssl_mask.errors import DataError, InputError
from ssl_mask.files import one_at_a_time
from ssl_mask.runs.trials import DEFAULT, Metric, TrialRecord, TrialStudy
from ssl_mask.tuning.space import Choice, Dimension, Space

NAME = "search"
Next = int | Literal["wait", "done"]


def optuna() -> Any:
    """The library, quiet.

    Raises:
        InputError: it is not installed.
    """
    try:
        import optuna as library
    except ImportError as error:
        raise InputError("A search needs Optuna.", hint='Install it: pip install "sslmask[tune]"') from error
    library.logging.set_verbosity(library.logging.ERROR)
    return library


def distribution(dimension: Dimension) -> Any:
    """A dimension as Optuna knows it."""
    kinds = optuna().distributions
    if isinstance(dimension, Choice):
        return kinds.CategoricalDistribution(dimension.labels)
    if dimension.whole:
        step = 1 if dimension.step is None else int(dimension.step)
        return kinds.IntDistribution(int(dimension.low), int(dimension.high), dimension.log, step)
    return kinds.FloatDistribution(dimension.low, dimension.high, dimension.log, dimension.step)


@dataclass(frozen=True)
class Journal:
    """The trials of a search, as all its processes see them."""

    study: TrialStudy
    space: Space
    start: Mapping[str, Any]
    """The default, where it is in the space: key -> what the journal has for it. Else empty."""
    seed: int
    metric: Metric
    total: int
    """Trials over all processes."""

    @cached_property
    def store(self) -> Any:
        """Raises DataError when the file is damaged."""
        library, file = optuna(), self.study.journal
        try:
            backend = library.storages.journal.JournalFileBackend(str(file), lock_obj=FileLock(file))
            found = library.storages.JournalStorage(backend)
            with one_at_a_time(self.study.path / ".new.lock"):
                if not found.get_all_studies():
                    found.create_new_study([self._direction], NAME)
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise DataError(
                f"{file} is damaged: {error}.", hint="Restore it from a copy, or begin a new search."
            ) from error
        return found

    @property
    def _asking(self) -> Path:
        return self.study.path / ".asking.lock"

    @property
    def _direction(self) -> Any:
        directions = optuna().study.StudyDirection
        return directions.MAXIMIZE if self.metric == "macro_f1" else directions.MINIMIZE

    def trials(self) -> list[Any]:
        """Optuna's records of all trials, by number."""
        found: list[Any] = self.store.get_all_trials(self.store.get_study_id_from_name(NAME), deepcopy=False)
        return found

    def next_trial(self, mine: Collection[int] = ()) -> Next:
        """The number of a trial to work on: one that a killed process has left, or a new one that is asked now.

        Args:
            mine: numbers that this process has given out already.

        Returns:
            `wait` while other processes work on what is left, `done` when all trials have ended.
        """
        with one_at_a_time(self._asking):
            trials = self.trials()
            running = [t.number for t in trials if not t.state.is_finished()]
            left: int | None = next((n for n in running if n not in mine and not self.study.is_held(n)), None)
            if left is not None:
                return left
            if len(trials) < self.total:
                return self._ask(trials)
            return "wait" if running else "done"

    def _ask(self, trials: Sequence[Any]) -> int:
        number = len(trials)
        params = self.start if number == DEFAULT else self._suggest(number, trials)
        library = optuna()
        trial = library.trial.create_trial(
            state=library.trial.TrialState.RUNNING,
            params=dict(params),
            distributions={key: distribution(self.space[key]) for key in params},
        )
        self.store.create_new_trial(self.store.get_study_id_from_name(NAME), trial)
        return number

    def _suggest(self, number: int, trials: Sequence[Any]) -> dict[str, Any]:
        """What TPE (Bergstra et al. 2011) asks next. The random numbers are a function of the trial's number."""
        library = optuna()
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        study = library.create_study(direction=self._direction, sampler=library.samplers.TPESampler(seed=seed))
        study.add_trials([t for t in trials if t.params])
        params: dict[str, Any] = study.ask({key: distribution(d) for key, d in self.space.items()}).params
        return params

    def params(self, number: int) -> dict[str, Any]:
        """Key of a setting -> its value in a trial; of the default: none."""
        if number == DEFAULT:
            return {}
        asked = self.trials()[number].params
        return {key: dimension.value(asked[key]) for key, dimension in self.space.items()}

    def has_ended(self, number: int) -> bool:
        return bool(self.trials()[number].state.is_finished())

    def report(self, number: int, folds: int, value: float) -> str:
        """Note the metric of a trial after some folds; returns why it is to be pruned, or nothing."""
        trials = self.trials()
        self.store.set_trial_intermediate_value(trials[number]._trial_id, folds, value)
        states = optuna().trial.TrialState
        others = [
            t.intermediate_values[folds]
            for t in trials
            if t.number != number and t.state == states.COMPLETE and folds in t.intermediate_values
        ]
        return "" if number == DEFAULT else why_prune(value, others, self.metric, folds)

    def tell(self, record: TrialRecord) -> None:
        """Note how a trial has ended."""
        states = optuna().trial.TrialState
        state = {"finished": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[record.state]
        values = (
            None if record.state == "failed" else [record.value(self.metric)] if record.state == "finished" else None
        )
        self.store.set_trial_state_values(self.trials()[record.number]._trial_id, state, values)

    def ended(self) -> list[TrialRecord]:
        """The trials that have ended, by number."""
        return [self.study.record(t.number) for t in self.trials() if t.state.is_finished()]

    def importance(self) -> dict[str, float]:
        """How much of the metric's variation each setting explains (PED-ANOVA, arXiv 2304.10255); they sum to 1.

        Empty where too few trials have finished, or all are equal.
        """
        library = optuna()
        complete = [t for t in self.trials() if t.state == library.trial.TrialState.COMPLETE and t.params]
        if len(complete) < FEWEST_FOR_IMPORTANCE or len({t.value for t in complete}) < 2:
            return {}
        study = library.create_study(direction=self._direction)
        study.add_trials(complete)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # older versions call it experimental
            evaluator = library.importance.PedAnovaImportanceEvaluator()
            shares: dict[str, float] = library.importance.get_param_importances(study, evaluator=evaluator)
        return shares


FEWEST_FOR_IMPORTANCE = 4
FEWEST_TO_PRUNE = 5
"""Finished trials that a median is taken of."""


def why_prune(value: float, others: Sequence[float], metric: Metric, folds: int) -> str:
    """Why a trial is not worth its other folds: it is worse than the median of the finished trials. Empty: it is.

    Args:
        value: the metric after `folds` folds.
        others: the same of the finished trials, after as many folds.
    """
    if len(others) < FEWEST_TO_PRUNE:
        return ""
    median = float(np.median(others))
    worse = value < median if metric == "macro_f1" else value > median
    count = f"{folds} fold" + "s" * (folds > 1)
    return f"after {count}: {value:.4f}, the median of the finished trials is {median:.4f}" if worse else ""


class FileLock:
    """For a journal file. A killed process gives it back at once; of Optuna's own ones it keeps for half a minute."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.held: IO[bytes] | None = None

    def acquire(self) -> bool:
        self.held = self.file.with_name(f".{self.file.name}.lock").open("wb")
        fcntl.flock(self.held, fcntl.LOCK_EX)
        _drop_torn_line(self.file)
        return True

    def release(self) -> None:
        if self.held is not None:
            self.held.close()


def _drop_torn_line(file: Path) -> None:
    """Remove what a kill in the middle of a write has left at the end: nobody has acted on it yet."""
    if not file.is_file():
        return
    content = file.read_bytes()
    if content and not content.endswith(b"\n"):
        with file.open("r+b") as journal:
            journal.truncate(content.rfind(b"\n") + 1)
