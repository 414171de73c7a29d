"""A selection of damaged and hostile files, each given to the verb that reads it: one clear error, no code run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_hostile_files_are_one_clear_error_each() -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "hostile.py"
    done = subprocess.run([sys.executable, script, "--sample", "150"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
