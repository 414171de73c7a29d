"""Work spread over processes, of this machine or a cluster; results and their order do not depend on how many."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context, parent_process
from typing import TypeVar

import cv2
from threadpoolctl import threadpool_limits

from ssl_mask import cluster
from ssl_mask.errors import IncompleteError, WorkerError

Task = TypeVar("Task")
Result = TypeVar("Result")


def spread(work: Callable[[Task], Result], tasks: Iterable[Task], processes: int) -> Iterator[Result]:
    """`work` of each task, in order, on one core each. At most four tasks a process are under way, so that results do
    not pile up. Where a cluster is in use, its processes work instead.

    Raises:
        IncompleteError: a worker was killed, by want of memory or by a crash of a decoder.
    """
    work = partial(_on_one_core, work)
    if cluster.in_use():
        try:
            yield from cluster.spread(work, tasks)
        except WorkerError as error:
            problem = f"The leakage check is not complete. {error.problem}"
            raise IncompleteError(problem, hint=error.hint) from error
        return
    if processes <= 1:
        yield from map(work, tasks)
        return
    pool = _started(processes)
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) == 4 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise IncompleteError(
            "The leakage check is not complete: one of its worker processes was killed.",
            hint="Mostly the machine ran out of memory. What was read is kept, so close other programs and run again, "
            "or run `sslmask audit --processes 1` first.",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _on_one_core(work: Callable[[Task], Result], task: Task) -> Result:
    # BLAS would cut even small matrices up for threads that wait in a loop: on two cores half of all time was that, and
    # two processes were slower than one.
    # Looked up for each task (3 ms): numpy and scipy have a BLAS each, and what is imported later brings its own.
    with threadpool_limits(1, user_api="blas"):
        return work(task)


def _started(processes: int) -> ProcessPoolExecutor:
    # Forking is quick and needs no importable main module. macOS's own libraries do not survive it.
    pool = ProcessPoolExecutor(processes, get_context("fork" if sys.platform == "linux" else "spawn"), _begin)
    threads = cv2.getNumThreads()
    # OpenCV's threads do not exist in a forked process, and to stop them there is to wait for ever: none may be left.
    cv2.setNumThreads(1)
    try:
        with warnings.catch_warnings():
            # Python 3.12 remarks on threads. The workers use none of what such threads may have locked.
            warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
            pool.submit(int).result()  # the first task is what forks, and forks all of them
    finally:
        cv2.setNumThreads(threads)
    return pool


def _begin() -> None:
    """In each worker: Ctrl-C is the parent's business, and it does not outlive its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)
