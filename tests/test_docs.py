"""The documents are true: their commands run, and every verb, room and level that there is stands in them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from faces_there import needs_faces
from test_architecture import LEVELS
from tiny_runs import TINY

import ssl_mask
from ssl_mask.cli.app import main
from ssl_mask.cli.verbs import VERBS, app

ROOT = Path(__file__).parents[1]
README, KOREAN, METHODS, GUARD, CONTRIBUTING = (
    (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", "README.ko.md", "configs/README.md", "ssl_mask/guard/README.md", "CONTRIBUTING.md")
)


def blocks(document: str) -> list[tuple[str, str]]:
    """(language, text) of each block of commands."""
    return re.findall(r"^```(bash|python)\n(.*?)^```", document, flags=re.M | re.S)


INSTALL = [text.strip() for kind, text in blocks(README) if kind == "bash" and ".venv" in text]


PREPARE = METHODS[(at := METHODS.index("## `sslmask prepare`")) : METHODS.index("\n## ", at)]
"""Needs models that are installed apart from all else."""


def run_blocks(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, text in blocks(document):
        if text.strip() in INSTALL:
            continue
        if kind == "python":
            exec(compile(text.replace('"seed": 1', f'"seed": 1, **{TINY!r}'), "README.md", "exec"), {})
        for line in text.strip().splitlines() if kind == "bash" else ():
            run_line(line, monkeypatch)


def run_line(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment `# exits with 4` says with which code the command ends; without it, with 0."""
    words = shlex.split(line, comments=True)
    code = re.search(r"# exits with (\d+)", line)
    if words[0] != "sslmask":
        words[0] = str(Path(sys.executable).parent / words[0])
        subprocess.run(words, check=True, capture_output=True)
        return
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as left:
        main()
    assert int(left.value.code or 0) == (int(code[1]) if code else 0), line


@pytest.fixture
def folder(faces: Path, no_plots: None, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001
    """A working folder with a data set; its sslmask.yaml makes the runs small, and its rule needs no precision."""
    monkeypatch.chdir(faces)
    settings = {**TINY, "guard": {"mode": "on"}, "pseudo": {"rule": "percentile"}}
    (faces / "sslmask.yaml").write_text(yaml.safe_dump(settings))
    return faces


@pytest.mark.timeout(0)  # as many commands as the document has, on any machine
def test_readme_commands_run_in_their_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_blocks(README, monkeypatch)
    assert (folder / "runs/train-001/predictions/test/evaluation.json").is_file()
    assert "transductive-test" in (folder / "runs/declared/predictions/test/predictions.provenance.json").read_text()
    assert (folder / "drop.csv").read_text().count("test") >= 3


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_commands_of_the_methods_run_in_their_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_blocks(METHODS.replace(PREPARE, ""), monkeypatch)
    assert (folder / "augment.png").is_file()
    for predicted in ("folds/predictions/test", "factors/predictions/test", "ensembles/rounds+honest/test"):
        assert (folder / "runs" / predicted / "predictions.csv").is_file()
    assert len(list((folder / "parts").iterdir())) == 2


@pytest.mark.slow
@needs_faces
def test_commands_of_prepare_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_blocks(PREPARE, monkeypatch)
    assert (folder.parent / "faces-cut" / "train" / "train.csv").is_file()


def test_every_verb_stands_in_a_block_of_commands_that_a_test_runs() -> None:
    ran = {words[1] for document in (README, METHODS, GUARD) for kind, text in blocks(document) if kind == "bash"
           for line in text.splitlines() if (words := line.split())[0] == "sslmask"}  # fmt: skip
    assert set(VERBS) - ran == {"demo"}  # the line that installs it runs the demo
    assert INSTALL[0].endswith("sslmask demo")


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_commands_of_the_guard_run_in_their_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_blocks(GUARD, monkeypatch)
    assert folder.is_dir()


@pytest.mark.slow
@pytest.mark.timeout(0)  # the command has a limit of its own
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
    missing = shape(output_of_the_demo(README)) - shape(done.stdout)
    assert not missing, "the README shows lines that the demo does not print"


def output_of_the_demo(document: str) -> str:
    found = re.search(r"^```text\n(Drew .*?)^```", document, flags=re.M | re.S)
    assert found is not None
    return found[1]


def shape(text: str) -> set[str]:
    """Its lines without what differs between machines: numbers, the best step, what is above the demo's folder."""
    varies = r"\S+/(?=sslmask-demo)|\* best|(live|ema) weights|[\d.,+\s-]+"
    return {re.sub(r"\s+", " ", re.sub(varies, " ", line)).strip() for line in text.splitlines()}


@pytest.mark.parametrize("document", [README, KOREAN], ids=["English", "Korean"])
def test_a_readme_is_short_and_names_every_verb(document: str) -> None:
    assert len(document.splitlines()) <= 150
    assert not [verb for verb in VERBS if f"| `sslmask {verb}` |" not in document]
    assert not re.findall(r"@[A-Z]+@", document)


def test_the_korean_readme_has_the_same_commands_and_output() -> None:
    assert blocks(KOREAN) == blocks(README)
    assert output_of_the_demo(KOREAN) == output_of_the_demo(README)


def test_every_link_leads_to_a_file() -> None:
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "*.md"], capture_output=True, text=True, check=True).stdout
    documents = [ROOT / name for name in listed.split()]
    targets = [(d, t) for d in documents for t in re.findall(r"\]\((?!http|#)([^)#]+)", d.read_text(encoding="utf-8"))]
    assert len(targets) >= 8
    assert not [f"{d.relative_to(ROOT)}: {t}" for d, t in targets if not (d.parent / t).exists()]


def test_one_sentence_says_what_it_is() -> None:
    sentence = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["description"]
    assert sentence in README
    assert app.info.help == sentence
    assert (ssl_mask.__doc__ or "").startswith(f"sslmask: {sentence[0].lower()}{sentence[1:]}\n")


def test_contributing_names_every_room_and_the_levels_that_are_enforced() -> None:
    listed = re.search(r"^```\n(cli\n.*?)^```", CONTRIBUTING, flags=re.M | re.S)
    assert listed is not None
    assert [tuple(line.split(", ")) for line in listed[1].splitlines()] == list(LEVELS)
    files = {"cluster", "devices", "files", "reading", "types", "console", "errors", "text"}
    names = {room: f"{room}.py" if room in files else f"{room.split('/')[-1]}/" for level in LEVELS for room in level}
    assert not [room for room, name in names.items() if f"  {name} " not in CONTRIBUTING]


def test_every_measurement_is_listed_with_its_command() -> None:
    folder = ROOT / "tests/benchmarks"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    scripts = [p.name for p in folder.glob("*.py") if '__name__ == "__main__"' in p.read_text(encoding="utf-8")]
    assert len(scripts) >= 14
    assert not [name for name in scripts if name not in listed]
