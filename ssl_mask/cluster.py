"""Tasks that Ray gives to the processes of a cluster, or of a local Ray that is started and stopped here.

A task whose process or machine has died is given out again: each is done at least once, and its result counts once, in
the order of the tasks. What a task writes, it writes whole, and the same each time. All machines see the same files
under the same paths: a shared disk.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from ssl_mask.errors import InputError, SslMaskError, StorageError, WorkerError

Engine = Literal["local", "ray"]
"""Who works: this process (and those that it starts), or the processes of a cluster."""
Task = TypeVar("Task")
Result = TypeVar("Result")

RETRIES = 3
"""How often a task is given out again: one that kills each process that works on it would never end."""
PATIENCE = 30.0
"""Seconds without a result after which the cluster is asked whether it still has a machine for the task."""
AHEAD = 4
"""Tasks that are under way for each process: enough that none waits, few enough that results do not pile up."""
QUIET = {
    "RAY_raylet_start_wait_time_s": "200",  # a loaded machine takes its time
    "RAY_task_oom_retries": str(RETRIES),  # of a process that was killed for the memory it took; else without end
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "GLOG_minloglevel": "2",
}  # fmt: skip
_RAY: ContextVar[Any] = ContextVar("ray", default=None)


def ray() -> Any:
    """The library, quiet.

    Raises:
        InputError: it is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray as library
    except ImportError as error:
        raise InputError("--engine ray needs Ray.", hint='Install it: pip install "sslmask[ray]"') from error
    return library


def in_use() -> bool:
    """Whether `spread` has a cluster: inside of `engine("ray")`."""
    return _RAY.get() is not None


@contextmanager
def engine(name: Engine) -> Iterator[None]:
    """With `ray`, the machines of a cluster work on whatever is spread inside.

    Raises:
        InputError: no Ray, no cluster where RAY_ADDRESS says, or several processes that a launcher started.
    """
    if name == "local" or in_use():
        yield
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("--engine ray works with one process.", hint="Start it without a launcher.")
    library = ray()
    with connected(library):
        token = _RAY.set(library)
        try:
            yield
        finally:
            _RAY.reset(token)


@contextmanager
def connected(library: Any) -> Iterator[None]:
    """To the cluster that RAY_ADDRESS names or that `ray start` has started here; else to a local one of our own.

    Raises:
        InputError: there is no cluster where RAY_ADDRESS says.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, handler = library.is_initialized(), signal.getsignal(signal.SIGTERM)
        if not before:
            try:
                library.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=True)
            except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
                where, why = os.environ.get("RAY_ADDRESS"), str(error).splitlines()[0]
                raise InputError(
                    f"No Ray could be joined at {where}: {why}" if where else f"No local Ray could be started: {why}",
                    hint="Start one with `ray start --head`, and set RAY_ADDRESS to the address that it prints.",
                ) from error
            finally:
                if threading.current_thread() is threading.main_thread():
                    signal.signal(signal.SIGTERM, handler)  # Ray's own prints the machine's registers
        logging.getLogger("ray").setLevel(logging.ERROR)
        try:
            yield
        finally:
            if not before:
                library.shutdown()


class _Work(NamedTuple):
    do: Callable[[Any], Any]
    folder: str
    """Paths are relative to it."""
    settings: Mapping[str, str]
    """Variables of the environment."""


def spread(
    work: Callable[[Task], Result], tasks: Iterable[Task], *, cpus: int = 1, gpu: bool = False
) -> Iterator[Result]:
    """`work` of each task, in order. To be called inside of `engine("ray")`.

    Args:
        work, tasks: pickled. The work is sent to a machine once, a task whenever it is given out.
        cpus: cores that a task takes; at most as many as the largest machine has.
        gpu: a task takes a GPU and one core, where the cluster has GPUs.

    Raises:
        WorkerError: the processes that worked on a task died, or no machine is left that could.
        SslMaskError: raised by a task; the tasks behind it are given up.
    """
    library = _RAY.get()
    wanted = _wanted(library, cpus, gpu=gpu)
    # Without max_calls=0 a process with a GPU ends after each task, and with it the network that it has loaded.
    remote = library.remote(max_retries=RETRIES, max_calls=0, **_options(wanted))(_there)
    settings = {name: value for name, value in os.environ.items() if name.startswith("SSLMASK_")}
    sent = library.put(_Work(work, str(Path.cwd()), settings))
    waiting: deque[Any] = deque()
    try:
        for task in tasks:
            waiting.append(remote.remote(sent, task))
            if len(waiting) >= AHEAD * _processes(library, wanted):
                yield _result(library, waiting.popleft(), wanted)
        while waiting:
            yield _result(library, waiting.popleft(), wanted)
    finally:
        for reference in waiting:
            library.cancel(reference, force=True)


def _there(work: _Work, task: Any) -> Any:
    """In a process of Ray's: with the settings of the command, and in its folder where this machine has it."""
    if Path(work.folder).is_dir():
        os.chdir(work.folder)
    os.environ.update(work.settings)
    try:
        return work.do(task)
    except StorageError as error:  # whose disk?
        raise StorageError(f"On the machine {platform.node()}: {error.problem}", hint=error.hint) from error


def _wanted(library: Any, cpus: int, *, gpu: bool) -> dict[str, float]:
    """What a task takes of a machine."""
    largest = max((machine.get("CPU", 0.0) for machine in _machines(library)), default=0.0)
    if gpu and library.cluster_resources().get("GPU", 0.0) >= 1:
        return {"CPU": 1.0, "GPU": 1.0}
    return {"CPU": min(float(cpus), max(largest, 1.0))}


def _options(wanted: Mapping[str, float]) -> dict[str, float]:
    return {"num_cpus": wanted["CPU"], "num_gpus": wanted.get("GPU", 0.0)}


def _machines(library: Any) -> list[Mapping[str, float]]:
    """What each living machine has."""
    return [node["Resources"] for node in library.nodes() if node["Alive"]]


def _processes(library: Any, wanted: Mapping[str, float]) -> int:
    """That can work at the same time, on the machines that are there now."""
    here = library.cluster_resources()
    return max(1, int(min(here.get(name, 0.0) // count for name, count in wanted.items())))


def _result(library: Any, reference: Any, wanted: Mapping[str, float]) -> Any:
    while not library.wait([reference], timeout=PATIENCE)[0]:
        if not any(all(has.get(name, 0.0) >= n for name, n in wanted.items()) for has in _machines(library)):
            needs = " and ".join(f"{n:g} {name}" for name, n in wanted.items())
            raise WorkerError(
                f"No machine of the Ray cluster is left that has {needs}.",
                hint="What is done is kept: start the machines again, then give the same command.",
            )
    try:
        return library.get(reference)
    except library.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, SslMaskError) else error) from None
    except library.exceptions.RayError as error:
        raise WorkerError(
            f"A task of the Ray cluster was given up: the {RETRIES + 1} processes that worked on it died, "
            f"the last one of this: {str(error).strip().splitlines()[0]}",
            hint="Mostly a machine ran out of memory or disk. What is done is kept: give the same command again.",
        ) from error
