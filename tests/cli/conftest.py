"""The command line, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Cli, Command, commands


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    monkeypatch.chdir(tmp_path)
    return commands(monkeypatch, capsys)


@pytest.fixture
def cli(command: Command) -> Cli:
    def call(*words: str) -> tuple[int, str]:
        code, out, err = command(*words)
        return code, " ".join((err + out).replace("│", " ").split())

    return call
