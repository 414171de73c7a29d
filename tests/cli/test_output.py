"""Where the output goes: a pipe that is closed, a full disk, a terminal that knows ASCII only. Never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_records import run_status

from ssl_mask.files import write_json

COMMAND = [sys.executable, "-m", "ssl_mask", "runs"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a run whose name has an accent."""
    write_json(tmp_path / "runs" / "été" / "run.json", run_status().to_json())
    return tmp_path


def test_a_reader_that_has_seen_enough_ends_it_silently(folder: Path) -> None:
    """`sslmask runs | head -1`"""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(COMMAND, cwd=folder, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_output_that_cannot_be_written_is_an_error(folder: Path, more: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *more], cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (3, "Error: No space left on device\n")


def test_letters_that_the_output_does_not_know_are_escaped(folder: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(COMMAND, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines()[1].startswith("\\xe9t\\xe9")
