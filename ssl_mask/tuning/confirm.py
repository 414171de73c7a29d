"""The winner of a search and the default once more, on splits that the search has not seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.errors import SslMaskError
from ssl_mask.runs.folds import FoldsSettings, FoldStudy
from ssl_mask.runs.trials import DEFAULT, TrialRecord, TrialStudy, TuneSettings
from ssl_mask.tuning import engines
from ssl_mask.tuning.search import default_config
from ssl_mask.tuning.space import changed
from ssl_mask.tuning.trial import failure, lighten
from ssl_mask.tuning.verdict import Pair

Train = Callable[[FoldStudy, RunConfig, TuneSettings, FoldsSettings], object]
"""Trains what is missing of a study of folds."""


class ConfirmationError(Exception):
    """The default or the winner cannot be trained on another split."""


def confirm(search: TrialStudy, winner: TrialRecord, train: Train, console: Console) -> dict[int, Pair]:
    """The default and the winner on other splits: seed of the split -> their out-of-fold predictions.

    Several processes share the work.

    Args:
        train: of the workflow.

    Raises:
        ConfirmationError: one of them fails there, and why.
    """
    asked, base = search.settings(), default_config(search)
    todo = {(seed, number): search.confirmation(seed, number)
            for seed in other_splits(base, asked) for number in (DEFAULT, winner.number)}  # fmt: skip
    left = [key for key, folds in todo.items() if not folds.finished]
    with console.progress("Confirm", len(todo), unit="studies") as advance:
        while left:
            before = len(left)
            for key in list(left):
                seed, number = key
                advance(len(todo) - len(left), f"{called(number)}, split seed {seed}")
                with search.holding(todo[key]) as free:
                    if free or todo[key].finished:
                        params = winner.params if number == winner.number else {}
                        config = changed(base, {**params, "data.split_seed": seed})
                        with explained(f"{called(number)} failed on split seed {seed}"):
                            train(todo[key], config, asked, FoldsSettings(folds=asked.folds))
                        lighten(todo[key], keep_weights=True)
                        left.remove(key)
            if len(left) == before:
                time.sleep(engines.WAIT_SECONDS)
    return {seed: Pair(todo[seed, DEFAULT].oof, todo[seed, winner.number].oof) for seed in other_splits(base, asked)}


def other_splits(base: RunConfig, asked: TuneSettings) -> list[int]:
    """Seeds of splits that the search has not seen; its repeats have taken the first ones."""
    first = base.data.split_seed + asked.repeats
    return list(range(first, first + asked.confirm))


def called(number: int) -> str:
    """A trial in messages."""
    return "the default" if number == DEFAULT else f"trial {number}"


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Raises ConfirmationError for what would make a trial a failed one."""
    try:
        yield
    except (SslMaskError, MemoryError, RuntimeError) as error:
        if not (reason := failure(error)):
            raise
        raise ConfirmationError(f"{what}: {reason}") from None
