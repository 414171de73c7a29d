"""What a search says while it runs: a line per trial that has ended, with the total, the best and the time left."""

from __future__ import annotations

import time

from ssl_mask.console import Console
from ssl_mask.reports.tune_card import splits
from ssl_mask.runs.trials import DEFAULT, TrialRecord, TuneSettings
from ssl_mask.tuning.journal import Journal
from ssl_mask.tuning.verdict import winner_of


class TrialLines:
    """Call it now and then: it says what has ended since, whichever process has done it."""

    def __init__(self, journal: Journal, console: Console) -> None:
        self.journal, self.console = journal, console
        self.told = {r.number for r in journal.ended()}
        self.before, self.began = len(self.told), time.monotonic()

    def begin(self, asked: TuneSettings) -> None:
        """What will be done at most: pruned trials train less."""
        runs = asked.folds * asked.repeats
        at_most = asked.trials * runs + 2 * asked.confirm * asked.folds
        self.console.say(
            f"Search {self.journal.study.path}: {asked.trials} trials of {runs} runs"
            + f", then the winner and the default on {splits(asked.confirm)}" * (asked.confirm > 0)
            + f"; at most {at_most} trainings"
        )
        if self.told:
            self.console.say(f"       ended before: {len(self.told)} of {asked.trials}")

    def __call__(self) -> None:
        new = [r for r in self.journal.ended() if r.number not in self.told]
        for record in new:
            self.told.add(record.number)
            self.console.say(self._line(record))

    def _line(self, record: TrialRecord) -> str:
        metric, done, total = self.journal.metric, len(self.told), self.journal.total
        best = winner_of([r for r in self.journal.ended() if r.number in self.told], metric)
        parts = [f"{done} of {total} ended"]
        if best is not None:
            parts.append(f"best {best.value(metric):.4f} (trial {best.number})")
        seconds = (time.monotonic() - self.began) / (done - self.before) * (total - done)
        parts.append(f"ETA {minutes(seconds)}")
        return f"Trial {record.number:3d}  {summary(record)}  |  " + ", ".join(parts)


def summary(record: TrialRecord) -> str:
    """How a trial has ended."""
    if record.state != "finished":
        return f"{record.state}: {record.reason}"
    assert record.macro_f1 is not None
    default = " (the default)" if record.number == DEFAULT else ""
    return f"macro-F1 {record.macro_f1.value:.4f}, log-loss {record.nll:.4f}{default}"


def minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
