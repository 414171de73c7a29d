"""What a verb tells other programs (`--json`), what it says while it loads, and how an error ends it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from ssl_mask.errors import InputError, Interrupted, SslMaskError

if TYPE_CHECKING:
    from ssl_mask.runs.run import Run
    from ssl_mask.workflows.compare import Comparison


@contextmanager
def answering(as_json: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yields `answer(content)`, which sets what `--json` prints; without `--json` it does nothing.

    stdout gets exactly one object, when the verb ends: the answer, or `{"error", "hint", "exit_code"}` of an error that
    came before there was one. Whatever else is printed meanwhile goes to stderr.
    """
    if not as_json:
        yield lambda content: None  # noqa: ARG005
        return
    answers: list[Mapping[str, Any]] = []
    try:
        with redirect_stdout(sys.stderr):
            yield answers.append
    except BaseException as error:
        problem = as_problem(error)
        if problem is not None and not answers:
            answers.append({"error": problem.problem, "hint": problem.hint, "exit_code": problem.exit_code})
        raise
    finally:
        if answers and _is_first():
            print(json.dumps(answers[-1], indent=2, default=str))


@contextmanager
def loading(what: str, *, quiet: bool = False) -> Iterator[None]:
    """Say on stderr what is loading, around imports that take seconds; a terminal shows it only meanwhile."""
    if quiet or "torch" in sys.modules or not _is_first():
        yield
        return
    on_terminal = sys.stderr.isatty()
    print(f"Loading {what} …", end="" if on_terminal else "\n", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if on_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _is_first() -> bool:
    """Whether this is the only process, or the first of those that `accelerate launch` started."""
    return os.environ.get("RANK", "0") == "0"


def run_answer(run: Run | None) -> dict[str, Any]:
    """What `--json` says of a run; of a dry run only that it was one."""
    if run is None:
        return {"run": None, "status": "dry-run"}
    status = run.status.to_json()
    return {"run": str(run.path), **{key: status[key] for key in ("status", "best", "leakage")}}


def study_answer(study: Comparison) -> dict[str, Any]:
    """What `--json` says of a study of several seeds: its runs, and their comparison with the supervised baseline."""
    from ssl_mask.runs.run import Run, list_runs

    return {
        "study": str(study.path),
        "runs": [run_answer(Run(r)) for r in list_runs(study.path)],
        **study.result.to_json(),
    }


def as_problem(error: BaseException) -> SslMaskError | None:
    """An error as it is told to the user: with a message, a hint and an exit code. None: a fault of ours."""
    if isinstance(error, SslMaskError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("Interrupted; nothing was left half-written.", signal_number=signal.SIGINT)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return InputError(f"{where}{error.strerror or error}")
    return None


def for_terminal(text: str) -> str:
    """Text whose lines end between words on a terminal; flags and paths stay whole. In a log lines stay as they are."""
    if not sys.stderr.isatty():
        return text
    width = shutil.get_terminal_size().columns
    wrap = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrap.fill(line) for line in text.splitlines())
