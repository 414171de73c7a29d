"""A run is there as a whole, or not at all."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from ssl_mask.config import RunConfig
from ssl_mask.errors import InputError
from ssl_mask.files import write_text
from ssl_mask.runs.create import create_folder, create_run
from ssl_mask.runs.find import list_runs
from ssl_mask.runs.run import RunDir


def fill(run: RunDir) -> dict[str, Any]:
    write_text(run.manifest, "path\n")
    return {"steps": 4}


def killed(run: RunDir) -> dict[str, Any]:
    """As by kill -9 in the middle: not even a `finally` runs."""
    fill(run)
    os._exit(9)


def in_a_process(target: Any, *arguments: Any) -> int | None:
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    process.join(30)
    return process.exitcode


@pytest.mark.parametrize("name", ["first", None])
def test_a_kill_while_a_run_is_made_leaves_its_name_free_and_the_next_one_cleans_up(
    tmp_path: Path, name: str | None
) -> None:
    config = RunConfig(runs=tmp_path / "runs", name=name)
    assert in_a_process(create_run, config, "train", killed) == 9
    assert list_runs(config.runs) == []
    assert [p.name for p in config.runs.iterdir() if not p.name.startswith(".")] == []
    run = create_run(config, "train", fill)
    assert run.name == (name or "train-001") == run.status().name
    assert run.status().steps == 4
    assert run.manifest.is_file()
    assert list(config.runs.glob(".*.tmp")) == []


def test_an_error_while_a_run_is_made_leaves_nothing(tmp_path: Path) -> None:
    config = RunConfig(runs=tmp_path / "runs", name="first")

    def fail(run: RunDir) -> dict[str, Any]:
        fill(run)
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        create_run(config, "train", fail)
    assert [p.name for p in config.runs.iterdir()] == [".new.lock"]


def test_a_name_is_given_once(tmp_path: Path) -> None:
    config = RunConfig(runs=tmp_path / "runs", name="first")
    create_run(config, "train", fill)
    with pytest.raises(InputError, match=r"The run .*first exists") as taken:
        create_run(config, "train", fill)
    assert taken.value.hint == "Choose another --name, or continue it: --resume first"


def test_a_folder_that_is_no_run_is_not_touched_and_nobody_is_told_to_resume_it(tmp_path: Path) -> None:
    config = RunConfig(runs=tmp_path / "runs", name="mine")
    (config.runs / "mine").mkdir(parents=True)
    (config.runs / "mine/notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists, and is no run") as taken:
        create_run(config, "train", fill)
    assert "--resume" not in taken.value.hint
    assert [p.name for p in (config.runs / "mine").iterdir()] == ["notes.txt"]


def test_an_empty_folder_becomes_the_run(tmp_path: Path) -> None:
    """What a `mkdir` left, and nothing else."""
    config = RunConfig(runs=tmp_path / "runs", name="first")
    (config.runs / "first").mkdir(parents=True)
    assert create_run(config, "train", fill).status().name == "first"


def make_one(config: RunConfig, number: int, results: Any) -> None:
    def build(folder: Path, name: str) -> None:
        write_text(folder / "study.json", f"{number} {name}")

    try:
        results.put((number, create_folder(config, "study", build).name))
    except InputError as error:
        results.put((number, error.problem))


@pytest.mark.parametrize("name", ["first", None])
def test_processes_that_make_runs_at_once_get_a_name_each_or_a_refusal(tmp_path: Path, name: str | None) -> None:
    config = RunConfig(runs=tmp_path / "runs", name=name)
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    processes = [fork.Process(target=make_one, args=(config, i, results)) for i in range(4)]
    for process in processes:
        process.start()
    told = dict(results.get(timeout=30) for _ in processes)
    for process in processes:
        process.join(30)
    made = {number: word for number, word in told.items() if not word.startswith("The run ")}
    assert sorted(made.values()) == (["first"] if name else [f"study-{i:03d}" for i in range(1, 5)])
    for number, word in made.items():
        assert (config.runs / word / "study.json").read_text() == f"{number} {word}"
