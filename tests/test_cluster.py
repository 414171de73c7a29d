"""What is asked of Ray and made of its answers, with a Ray in this process; `workflows/test_ray.py` has a real one."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ssl_mask import cluster
from ssl_mask.errors import ImageError, IncompleteError, InputError, StorageError, WorkerError
from ssl_mask.guard.copies.workers import spread as guard_spread


class RayError(Exception): ...


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class FakeRay:
    """Two machines of two cores. A task is done when its result is asked for; `dies` says which kill their process."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self) -> None:
        self.machines: list[dict[str, float]] = [{"CPU": 2.0}, {"CPU": 2.0}]
        self.options: dict[str, Any] = {}
        self.dies: set[Any] = set()
        self.given: list[Any] = []
        self.cancelled: list[Any] = []
        self.stuck = False

    def cluster_resources(self) -> dict[str, float]:
        return {k: sum(m.get(k, 0.0) for m in self.machines) for k in ("CPU", "GPU")}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": m} for m in self.machines] + [{"Alive": False, "Resources": {"CPU": 64.0}}]

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **options: Any) -> Callable[..., Any]:
        self.options = options

        def give(sent: Any, task: Any) -> Any:
            self.given.append(task)
            return (sent, task)

        return lambda do: SimpleNamespace(remote=lambda sent, task: (do, *give(sent, task)))

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        assert timeout == cluster.PATIENCE
        return ([], references) if self.stuck else (references, [])

    def get(self, reference: Any) -> Any:
        do, sent, task = reference
        if task in self.dies:
            raise RayError("The worker died unexpectedly while executing this task.\nMore.")
        try:
            return do(sent, task)
        except Exception as error:
            raise RayTaskError(error) from error

    def cancel(self, reference: Any, *, force: bool) -> None:
        assert force
        self.cancelled.append(reference[2])


@pytest.fixture
def fake() -> Iterator[FakeRay]:
    library = FakeRay()
    token = cluster._RAY.set(library)
    yield library
    cluster._RAY.reset(token)


def test_results_are_in_order_and_few_tasks_are_under_way(fake: FakeRay) -> None:
    found = cluster.spread(lambda n: n * n, iter(range(100)))
    assert next(found) == 0
    assert len(fake.given) == cluster.AHEAD * 4
    assert list(found) == [n * n for n in range(1, 100)] and fake.cancelled == []
    assert fake.options == {"max_retries": 3, "max_calls": 0, "num_cpus": 1.0, "num_gpus": 0.0}


@pytest.mark.parametrize(
    ("machines", "cpus", "gpu", "expected", "at_once"),
    [
        ([{"CPU": 2.0}], 16, False, (2.0, 0.0), 1),  # this machine has more cores than any of the cluster
        ([{"CPU": 8.0}, {"CPU": 8.0}], 4, True, (4.0, 0.0), 4),
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 64.0}], 4, True, (1.0, 1.0), 2),
        ([{"CPU": 8.0, "GPU": 2.0}], 1, False, (1.0, 0.0), 8),
    ],
)
def test_a_task_takes_the_threads_of_this_process_or_a_gpu(
    fake: FakeRay, machines: list[dict[str, float]], cpus: int, gpu: bool, expected: tuple[float, float], at_once: int
) -> None:
    fake.machines = machines
    found = cluster.spread(str, range(999), cpus=cpus, gpu=gpu)
    next(found)
    assert (fake.options["num_cpus"], fake.options["num_gpus"]) == expected
    assert len(fake.given) == cluster.AHEAD * at_once


@pytest.mark.usefixtures("fake")
def test_a_task_works_in_the_folder_and_with_the_settings_of_who_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSLMASK_HERE", "yes")
    found = cluster.spread(lambda n: (Path.cwd(), os.environ.get("SSLMASK_HERE"), n), [1, 2])
    assert next(found) == (tmp_path, "yes", 1)
    monkeypatch.chdir("/")
    monkeypatch.delenv("SSLMASK_HERE")
    assert next(found) == (tmp_path, "yes", 2)


def test_processes_that_die_again_and_again_are_one_error_and_the_rest_is_given_up(fake: FakeRay) -> None:
    fake.dies = {2}
    with pytest.raises(WorkerError, match="the 4 processes that worked on it died") as told:
        list(cluster.spread(str, range(5)))
    assert "unexpectedly while executing this task." in told.value.problem and "More" not in str(told.value)
    assert "What is done is kept" in told.value.hint
    assert fake.cancelled == [3, 4]
    with pytest.raises(IncompleteError, match="The leakage check is not complete") as told_by_guard:
        list(guard_spread(str, range(5), 8))
    assert told_by_guard.value.exit_code == 6


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("error", [StorageError("Cannot write x: the disk is full.", hint="Free some space."),
                                   ImageError("a.jpg: no image")])  # fmt: skip
def test_an_error_of_a_task_is_told_as_in_one_process(error: InputError) -> None:
    def fails(_: int) -> None:
        raise error

    with pytest.raises(type(error)) as told:
        list(cluster.spread(fails, range(3)))
    where = f"On the machine {platform.node()}: " if isinstance(error, StorageError) else ""
    assert (told.value.problem, told.value.hint) == (where + error.problem, error.hint)


def test_a_cluster_without_a_machine_for_the_task_is_not_waited_for(fake: FakeRay) -> None:
    fake.machines = [{"CPU": 4.0, "GPU": 1.0}]
    found = cluster.spread(str, range(9), gpu=True)
    next(found)
    fake.stuck, fake.machines = True, [{"CPU": 4.0}]  # the machine with the GPU is gone
    with pytest.raises(WorkerError, match="No machine of the Ray cluster is left that has 1 CPU and 1 GPU"):
        next(found)


def test_the_engine_here_is_no_cluster_and_a_launcher_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster.engine("local"):
        assert not cluster.in_use()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="works with one process"), cluster.engine("ray"):
        pass


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError) as told, cluster.engine("ray"):
        pass
    assert str(told.value) == '--engine ray needs Ray.\nInstall it: pip install "sslmask[ray]"'
