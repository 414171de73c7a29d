"""The examples for clusters: shell and YAML are well formed, and their commands and flags are there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from command_line import Command, commands

EXAMPLES = Path(__file__).parents[1] / "configs" / "cluster"
SCRIPTS, METHODS = sorted(EXAMPLES.glob("*.sh")), EXAMPLES.parent / "README.md"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return commands(monkeypatch, capsys)


def asked(text: str) -> list[str]:
    """The command lines of sslmask in a text, without comments."""
    lines = re.sub(r"(?m)#.*$", "", text).replace("\\\n", " ").splitlines()
    found = [re.search(r"(?:\bsslmask|-m ssl_mask) ([a-z].*)", line) for line in lines]
    return [m[1] for m in found if m]


def refuse_unknown_flags(line: str, command: Command) -> None:
    verb = line.split(maxsplit=1)[0]
    code, text, _ = command(verb, "--help")
    flags = re.findall(r"(?<!\S)(--[a-z-]+)", line)
    assert code == 0 and flags
    assert [flag for flag in flags if not re.search(rf"(?<![a-z-]){flag}(?![a-z-])", text)] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_for_slurm_is_shell_with_flags_that_there_are(script: Path, command: Command) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    lines = asked(script.read_text())
    assert lines and "#SBATCH --" in script.read_text()
    for line in lines:
        refuse_unknown_flags(line, command)


def test_the_job_for_kubernetes_is_yaml_with_flags_that_there_are(command: Command) -> None:
    job = yaml.safe_load((EXAMPLES / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    (line,) = asked(job["spec"]["entrypoint"])
    refuse_unknown_flags(line, command)
    for group in (job["spec"]["rayClusterSpec"]["headGroupSpec"], *job["spec"]["rayClusterSpec"]["workerGroupSpecs"]):
        spec = group["template"]["spec"]
        mounted = {m["name"] for c in spec["containers"] for m in c["volumeMounts"]}
        assert mounted == {v["name"] for v in spec["volumes"]}


def test_each_example_is_named_in_the_methods() -> None:
    text = METHODS.read_text(encoding="utf-8")
    assert [p.name for p in EXAMPLES.iterdir() if f"cluster/{p.name}" not in text] == []
