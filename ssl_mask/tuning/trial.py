"""One trial, from its lock to its record: whatever happens to it, it ends with a state and a reason."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ssl_mask.errors import ConfigError, ModelError, SslMaskError, TrainingError
from ssl_mask.files import storage, write_json
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.folds import FoldStudy
from ssl_mask.runs.trials import TrialRecord
from ssl_mask.tuning.journal import Journal

Report = Callable[[int, float], None]
"""Told the metric after so many folds. Raises PrunedError where the trial is not worth its other folds."""


class Outcome(NamedTuple):
    """What came out of all folds of a trial."""

    macro_f1: IntervalRecord
    nll: float
    step: int
    weights: str
    cpu_seconds: float


Objective = Callable[[int, Mapping[str, Any], Report], Outcome]
"""Trains a trial: its number, key of a setting -> value, and where to report."""


class PrunedError(Exception):
    """A trial is stopped: it is worse than the others were at the same number of folds."""


OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "insufficient memory")


def failure(error: Exception) -> str:
    """Why a trial failed, if it is the fault of its settings; nothing if the search cannot go on either.

    Settings are at fault when training diverges, the model or the configuration refuses them, or memory runs out.
    A full disk, changed data or the leakage guard would stop every other trial, too.
    """
    text = str(error)
    if isinstance(error, MemoryError) or any(words in text.lower() for words in OUT_OF_MEMORY):
        return f"out of memory: {text.splitlines()[0]}" if text else "out of memory"
    if isinstance(error, TrainingError | ModelError | ConfigError):
        return " ".join(error.problem.split())
    return ""


def run_trial(journal: Journal, number: int, objective: Objective) -> bool:
    """Train a trial to its end, or what is left of it; returns False where another process works on it.

    Raises:
        SslMaskError: the search cannot go on. Interrupted: everything is saved.
    """
    with journal.study.holding(journal.study.trial(number)) as free:
        if free and not journal.has_ended(number):
            record = _ended(journal, number, objective)
            write_json(journal.study.trial_file(number), record.to_json())
            journal.tell(record)
        return free


def _ended(journal: Journal, number: int, objective: Objective) -> TrialRecord:
    params, curve = journal.params(number), dict[int, float]()

    def report(folds: int, value: float) -> None:
        curve[folds] = value
        if why := journal.report(number, folds, value):
            raise PrunedError(why)

    def record(state: str, **more: Any) -> TrialRecord:
        reported = tuple(curve[n] for n in sorted(curve))
        return TrialRecord.model_validate(
            {"number": number, "params": params, "state": state, "curve": reported, **more}
        )

    try:
        return record("finished", **objective(number, params, report)._asdict())
    except PrunedError as pruned:
        return record("pruned", reason=str(pruned))
    except (SslMaskError, MemoryError, RuntimeError) as error:
        reason = failure(error)
        if not reason:
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the network, and the next trial needs its memory
        gc.collect()
        return record("failed", reason=reason)


def tell_lost(journal: Journal, number: int) -> None:
    """A trial whose process has died has failed, unless it had ended before."""
    with journal.study.holding(journal.study.trial(number)) as free:
        if free and not journal.has_ended(number):
            reason = "its process died, most likely out of memory"
            record = TrialRecord(number=number, params=journal.params(number), state="failed", reason=reason)
            write_json(journal.study.trial_file(number), record.to_json())
            journal.tell(record)


def lighten(folds: FoldStudy, *, keep_weights: bool) -> None:
    """Remove what nobody needs of a trial that has ended: a search would fill a disk with states to resume from."""
    for run in folds.members() if folds.study.record_file.is_file() else ():  # refused before it was begun
        with storage(run.path):
            run.last.unlink(missing_ok=True)
            for weights in () if keep_weights else run.path.glob("checkpoints/**/*.safetensors"):
                weights.unlink(missing_ok=True)
