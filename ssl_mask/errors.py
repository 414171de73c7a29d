"""Every error a user can meet, drawn as one tree. Each branch has one exit code.

    SslMaskError
    ├── InputError               3   an input is wrong; the message names it and the next step
    │   ├── ConfigError              a key, a value or a flag
    │   ├── DataError                a table, a row, a folder, a split
    │   │   └── ImageError           one image file
    │   ├── ModelError               a backbone, its weights, a checkpoint
    │   ├── StorageError             a full disk, a folder that cannot be written
    │   └── WorkerError              processes of a cluster died, again and again
    ├── GuardError                   the leakage guard refuses
    │   ├── OverlapError         3   labeled images overlap validation or test images
    │   ├── UndeclaredError      4   unlabeled images overlap them, and this is not declared
    │   ├── MismatchError        5   a card, data or a checkpoint is not what its digest says
    │   └── IncompleteError      6   protected images could not be checked
    ├── TrainingError            3   training cannot go on (a loss that is not finite)
    └── Interrupted        130/143   Ctrl-C or SIGTERM; everything is saved

Exit code 2 is a wrong command line, 141 that nobody reads the output any more (`sslmask runs | head -1`).

A message has up to three parts: what is wrong, where (file, row or key), and what to do next.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

_LONG_WORD = re.compile(r"\S{400,}")  # no path or class name that a person wrote


def _shortened(word: re.Match[str]) -> str:
    return f"{word[0][:150]}…{word[0][-50:]}"


class SslMaskError(Exception):
    """Base of all errors that are reported without a traceback."""

    exit_code = 1

    def __init__(self, problem: str, *, hint: str = "") -> None:
        super().__init__(problem)
        self.problem = _LONG_WORD.sub(_shortened, problem)
        self.hint = _LONG_WORD.sub(_shortened, hint)

    def __str__(self) -> str:
        return f"{self.problem}\n{self.hint}" if self.hint else self.problem


class InputError(SslMaskError):
    """Something given to us is wrong."""

    exit_code = 3


class ConfigError(InputError):
    """A key, a value or a flag is wrong."""


class DataError(InputError):
    """A table, a row, a folder or a split is wrong."""


class ImageError(DataError):
    """One image file cannot be used."""


class ModelError(InputError):
    """A backbone, its weights or a checkpoint cannot be used."""


class StorageError(InputError):
    """A full disk, or a folder that cannot be written."""


class WorkerError(InputError):
    """Processes of a cluster died, again and again, or no machine is left for the work."""


class GuardError(SslMaskError):
    """The leakage guard refuses."""

    exit_code = 3


class OverlapError(GuardError):
    """Labeled images overlap validation or test images."""


class UndeclaredError(GuardError):
    """Unlabeled images overlap validation or test images, and nobody declared it."""

    exit_code = 4


class MismatchError(GuardError):
    """A card, images or a checkpoint are not what their digest says."""

    exit_code = 5


class IncompleteError(GuardError):
    """Protected images could not be checked."""

    exit_code = 6


class TrainingError(SslMaskError):
    """Training cannot go on, such as with a loss that is not finite."""

    exit_code = 3


class Interrupted(SslMaskError):  # noqa: N818 - an interruption is not an error
    """Raised after everything is saved. `signal_number` is 2 (Ctrl-C) or 15 (SIGTERM)."""

    def __init__(self, problem: str, *, signal_number: int, hint: str = "") -> None:
        super().__init__(problem, hint=hint)
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors are sent to other processes."""
        return partial(type(self), signal_number=self.exit_code - 128, hint=self.hint), (self.problem,)

    @classmethod
    def by(cls, stop: KeyboardInterrupt, what_now: str, *, hint: str = "") -> Interrupted:
        """Of a Ctrl-C or a SIGTERM that was not waited for: `Interrupted; {what_now}`."""
        if isinstance(stop, Terminated):
            return cls(f"Terminated; {what_now}", signal_number=signal.SIGTERM, hint=hint)
        return cls(f"Interrupted; {what_now}", signal_number=signal.SIGINT, hint=hint)


class Terminated(KeyboardInterrupt):
    """SIGTERM on the command line: like Ctrl-C, it passes through all code that handles errors."""


@contextmanager
def nothing_written(of: str = "") -> Iterator[None]:
    """While this is entered, Ctrl-C and SIGTERM end with a sentence that says that nothing was written.

    Args:
        of: what would have been written, where other things may be there already.

    Raises:
        Interrupted: in place of KeyboardInterrupt.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted.by(stop, f"nothing{of and f' of {of}'} was written.") from None


def did_you_mean(name: str, known: list[str]) -> str:
    """A sentence naming the closest known names, or all of them when nothing is close."""
    import difflib

    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(repr(c) for c in close)}?"
    return f"Known: {', '.join(sorted(known)[:40])}."
