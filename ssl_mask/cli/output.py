"""What a verb tells other programs (`--json`), what it says while it loads, and how an error ends it."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from ssl_mask.errors import InputError, Interrupted, SslMaskError, Terminated

if TYPE_CHECKING:
    from ssl_mask.runs.factors import FactorStudy
    from ssl_mask.runs.folds import FoldStudy
    from ssl_mask.runs.rounds import RoundStudy
    from ssl_mask.runs.view import Run
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
    except (SslMaskError, KeyboardInterrupt, OSError, MemoryError, ModuleNotFoundError) as error:
        if not answers:
            answers.append(_as_answer(as_problem(error)))
        raise
    finally:
        if answers and _is_first():
            print(json.dumps(answers[-1], indent=2, default=str))


def _as_answer(problem: SslMaskError) -> dict[str, Any]:
    return {"error": problem.problem, "hint": problem.hint, "exit_code": problem.exit_code}


@contextmanager
def loading(what: str, *, quiet: bool = False, as_json: bool = False) -> Iterator[None]:
    """Say on stderr what is loading, around imports that take seconds; a terminal shows it only meanwhile.

    Ctrl-C and SIGTERM end it at once, with a sentence (and with `as_json` an object).
    """
    if "torch" in sys.modules:
        yield
        return
    told = not quiet and _is_first()
    on_terminal = told and sys.stderr.isatty()
    if told:
        print(f"Loading {what} …", end="" if on_terminal else "\n", file=sys.stderr, flush=True)
    try:
        with _leaving_at_once(as_json):
            yield
    finally:
        if on_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def _leaving_at_once(as_json: bool) -> Iterator[None]:
    """What a signal handler raises while a library is imported may come out as any error, or as none at all."""

    def leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        stop: KeyboardInterrupt = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        problem = Interrupted.by(stop, "nothing was written.")
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr)
        print(f"Stopped: {problem.problem}", file=sys.stderr, flush=True)
        if as_json and _is_first():
            print(json.dumps(_as_answer(problem), indent=2), file=sys.__stdout__, flush=True)
        os._exit(problem.exit_code)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A shell lets what it starts in the background ignore Ctrl-C.
    heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    from ssl_mask.runs.find import list_runs
    from ssl_mask.runs.view import Run

    return {
        "study": str(study.path),
        "runs": [run_answer(Run(r)) for r in list_runs(study.path)],
        **study.result.to_json(),
    }


def joined_answer(study: FoldStudy | FactorStudy | None) -> dict[str, Any]:
    """What `--json` says of a study of folds or factors: its runs, its out-of-fold scores; or that it was a dry run."""
    if study is None:
        return {"study": None, "status": "dry-run"}
    from ssl_mask.runs.find import list_runs
    from ssl_mask.runs.view import Run

    runs = [run_answer(Run(r)) for r in list_runs(study.path)]
    return {"study": str(study.path), "status": "finished", "runs": runs, **study.record().to_json()}


def rounds_answer(study: RoundStudy) -> dict[str, Any]:
    """What `--json` says of rounds by folds: their out-of-fold scores, and which one is the best."""
    return {"study": str(study.path), **study.record().to_json()}


def as_problem(
    error: SslMaskError | KeyboardInterrupt | OSError | MemoryError | ModuleNotFoundError,
) -> SslMaskError:
    """An error as it is told to the user: with a message, a hint and an exit code."""
    if isinstance(error, KeyboardInterrupt):
        return Interrupted.by(error, "nothing was left half-written.")
    if isinstance(error, MemoryError):
        hint = "Lower train.batch_size, train.workers or data.max_pixels, or run with more memory."
        return InputError("There is too little memory.", hint=hint)
    if isinstance(error, ModuleNotFoundError):
        hint = (
            "pip install sslmask installs all that its verbs need. Without torch only an exported network predicts: "
            "sslmask predict --run model.onnx."
        )
        name = (error.name or "of an import").split(".")[0]
        return InputError(f"The package {name} is not installed.", hint=hint)
    if isinstance(error, BrokenPipeError):
        return ReaderGoneError("Nobody reads the output any more.")
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return InputError(f"{where}{error.strerror or error}")
    return error


class ReaderGoneError(SslMaskError):
    """`sslmask runs | head -1`: whoever reads has what it wanted. Ends without a word, as by SIGPIPE."""

    exit_code = 141


def report(error: SslMaskError) -> int:
    """Print a problem and its next step to stderr; returns the exit code."""
    if not _can_write(sys.stdout):
        _discard(sys.stdout)
    if isinstance(error, ReaderGoneError):
        return error.exit_code
    from ssl_mask.console import Console

    console, stopped = Console(stderr=True), isinstance(error, Interrupted)
    try:
        problem = error.problem.removeprefix("Stopped ") if stopped else error.problem
        console.say(f"{'Stopped' if stopped else 'Error'}: {problem}", style=None if stopped else "red")
        if error.hint:
            console.say(error.hint)
    except OSError:
        _discard(sys.stderr)
    return error.exit_code


def replace_unprintable() -> None:
    """What the output cannot show (a name that is not UTF-8, any accent in ASCII) is shown as its escape sequence."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _can_write(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        return False
    return True


def _discard(stream: TextIO) -> None:
    """Send what waits in a stream that cannot be written nowhere: Python would try again at its end, and complain."""
    with suppress(OSError, ValueError):  # not a real file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
