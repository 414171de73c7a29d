"""Who executes the trials: this process, one after another, or Ray. What is asked is decided by the journal alone."""

from __future__ import annotations

import time
from collections.abc import Callable

from ssl_mask.tuning.journal import Next

WAIT_SECONDS = 1.0

Work = Callable[[int], bool]
"""Trains a trial to its end; False where another process has taken it."""


def run_here(next_trial: Callable[[], Next], work: Work, after: Callable[[], None]) -> None:
    """Work on one trial after another, until all have ended; trials of other processes are waited for.

    Args:
        after: called when a trial has ended.
    """
    while (number := next_trial()) != "done":
        if number == "wait" or not work(number):
            time.sleep(WAIT_SECONDS)
        after()
