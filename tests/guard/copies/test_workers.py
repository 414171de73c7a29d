"""Work spread over processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from ssl_mask.errors import IncompleteError
from ssl_mask.guard.copies.workers import spread


def square(number: int) -> int:
    time.sleep(0.002 * (number % 3))
    return number * number


def fail_at_seven(number: int) -> int:
    if number == 7:
        raise ValueError("seven")
    return number


def enlarged(number: int) -> int:
    """Work that OpenCV would give to its threads."""
    return int(cv2.resize(np.full((2000, 2000), number, np.float32), (3000, 3000))[0, 0])


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def blas_threads(_: int) -> set[int]:
    np.ones((300, 300)) @ np.ones((300, 300))
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.parametrize("processes", [1, 2])
def test_blas_does_not_compete_with_the_other_processes(processes: int) -> None:
    with threadpool_limits(2, user_api="blas"):
        assert blas_threads(0) == {2}
        assert list(spread(blas_threads, range(4), processes)) == [{1}] * 4
        assert blas_threads(0) == {2}


@pytest.mark.parametrize("processes", [0, 1, 2, 3])
def test_results_come_in_order_and_tasks_are_taken_as_they_are_needed(processes: int) -> None:
    taken: list[int] = []

    def tasks() -> list[int]:
        for number in range(60):
            taken.append(number)
            yield number

    results = spread(square, tasks(), processes)
    assert next(results) == 0
    assert len(taken) <= max(1, 4 * processes)
    assert list(results) == [number * number for number in range(1, 60)]
    assert list(spread(square, [], processes)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_reaches_the_caller(processes: int) -> None:
    results = spread(fail_at_seven, range(50), processes)
    with pytest.raises(ValueError, match="seven"):
        list(results)


def test_a_worker_that_dies_is_an_error_and_no_endless_wait() -> None:
    with pytest.raises(IncompleteError, match="worker processes was killed"):
        list(spread(die, range(50), 2))


def test_workers_do_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\nfrom ssl_mask.guard.copies.workers import spread\n"
        "def work(n):\n    open(sys.argv[1] + f'/{os.getpid()}', 'w').close()\n    time.sleep(60)\n"
        "list(spread(work, range(4), 2))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 20
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    parent.kill()
    parent.wait()
    assert len(workers) == 2
    while any(is_alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_alive(pid) for pid in workers)


def test_threads_of_opencv_in_the_parent_do_not_block_the_workers() -> None:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(4)
    try:
        cv2.resize(np.zeros((2000, 2000), np.float32), (3000, 3000))  # starts them
        time.sleep(1)  # lets them fall asleep: in a forked process nobody would wake them
        assert list(spread(enlarged, range(10), 2)) == list(range(10))
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(threads)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
