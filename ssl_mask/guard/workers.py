"""Work spread over processes; the results and their order do not depend on how many."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import TypeVar

import cv2

Task = TypeVar("Task")
Result = TypeVar("Result")


def spread(work: Callable[[Task], Result], tasks: Iterable[Task], processes: int) -> Iterator[Result]:
    """`work` of each task, in order. At most four tasks a process are under way, so that results do not pile up."""
    if processes <= 1:
        yield from map(work, tasks)
        return
    # Forking is quick and needs no importable main module. macOS's own libraries do not survive it.
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    with warnings.catch_warnings():
        # Python 3.12 remarks on threads. The workers use none of what such threads may have locked.
        warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
        # Before forking, and never after it: OpenCV's own threads do not survive a fork, and a child that counts them
        # anew waits for them for ever. One core is each worker's share.
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        pool = ProcessPoolExecutor(processes, context, _begin)
        waiting: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(work, task))
                if len(waiting) == 4 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            cv2.setNumThreads(threads)


def _begin() -> None:
    """In each worker: Ctrl-C is the parent's business, and it does not outlive its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)
