"""The entry point of the command line: whatever happens ends with one sentence and an exit code, never a traceback."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from ssl_mask import devices
from ssl_mask.cli.output import as_problem, replace_unprintable, report
from ssl_mask.errors import SslMaskError, Terminated


def main() -> None:
    """Entry point of `sslmask` and `python -m ssl_mask`."""
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        replace_unprintable()
        try:
            from ssl_mask.cli.verbs import app  # late: Ctrl-C while it is imported is answered too

            app()
        finally:
            sys.stdout.flush()  # here a full disk or a closed pipe can still be told
    except SystemExit as end:
        if not end.code:
            devices.leave()
        raise
    except (Exception, KeyboardInterrupt) as error:
        problem = as_problem(error) if isinstance(error, SslMaskError | KeyboardInterrupt | OSError) else None
        elsewhere = devices.told_elsewhere(problem.exit_code if problem else 1, lost=isinstance(error, RuntimeError))
        if elsewhere is None and problem is None:
            raise  # a mistake of ours
        sys.exit(elsewhere if problem is None or elsewhere is not None else report(problem))
    finally:
        # For those who call this from Python. A process pool of theirs would inherit a handler that raises, and such a
        # pool now and then never ends: the worker that is told to go raises inside of a lock.
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # None: it was not set from Python


def _terminated(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise Terminated
