"""The documents are true: every command block of the README runs, every verb is documented."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_runs import TINY

from ssl_mask.cli.app import VERBS, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```", README, flags=re.M | re.S)
INSTALL = [text.strip() for kind, text in BLOCKS if kind == "bash" and ".venv" in text]


def run_line(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment `# exits with 4` says with which code the command ends; without it, with 0."""
    command, _, code = line.partition("# exits with ")
    words = shlex.split(command)
    if words[0] != "sslmask":
        words[0] = str(Path(sys.executable).parent / words[0])
        subprocess.run(words, check=True, capture_output=True)
        return
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as left:
        main()
    assert int(left.value.code or 0) == int(code or 0), line


@pytest.mark.timeout(0)  # as many commands as the README has, on any machine
def test_readme_commands_run_in_their_order(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with a data set, as the README says; sslmask.yaml makes the runs small."""
    monkeypatch.chdir(faces)
    (faces / "sslmask.yaml").write_text(yaml.safe_dump({**TINY, "guard": {"mode": "on"}}))
    ran = 0
    for kind, text in BLOCKS:
        if text.strip() in INSTALL:
            continue
        if kind == "python":
            exec(compile(text.replace('"seed": 1', f'"seed": 1, **{TINY!r}'), "README.md", "exec"), {})
        for line in text.strip().splitlines() if kind == "bash" else ():
            run_line(line, monkeypatch)
            ran += 1
    assert ran >= 12
    assert (faces / "augment.png").is_file()
    assert (faces / "runs/train-001/predictions/test/evaluation.json").is_file()
    assert (faces / "runs/flat/predictions/extra/predictions.csv").is_file()
    assert len(list((faces / "parts").iterdir())) == 2
    assert "transductive-test" in (faces / "runs/told/predictions/test/evaluation.json").read_text()
    assert (faces / "drop.csv").read_text().count("test") >= 3


@pytest.mark.slow
def test_the_first_install_line_works_for_a_newcomer(tmp_path: Path) -> None:
    """A copy of what git tracks, a new environment, pip only; needs the package index."""
    tracked = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():
        target = tmp_path / "sslmask" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    environment = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    done = subprocess.run(
        INSTALL[0].replace("python", sys.executable, 1), shell=True, cwd=tmp_path / "sslmask", env=environment,
        capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Eval macro-F1" in done.stdout
    assert "sslmask runs" in done.stdout


def test_every_verb_is_in_the_readme() -> None:
    missing = [v for v in VERBS if f"| `sslmask {v}` |" not in README]
    assert not missing


def test_the_tree_names_every_room() -> None:
    rooms = {p.name for p in (ROOT / "ssl_mask").iterdir() if p.is_dir() and (p / "__init__.py").is_file()}
    missing = [r for r in rooms if f"  {r}/ " not in README]
    assert not missing


def test_no_placeholder_is_left() -> None:
    assert not re.findall(r"@[A-Z]+@", README)
