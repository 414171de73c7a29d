"""What can be refused without torch is refused before torch is loaded, and a verb says at once what it is loading."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_mask.cli.app import main
from ssl_mask.cli.early import check_page
from ssl_mask.cli.output import report
from ssl_mask.errors import ConfigError, DataError, StorageError

CODE = """
import sys
from ssl_mask.cli.app import main
try:
    main()
finally:
    print("torch:", "torch" in sys.modules)
"""


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CODE, *words], capture_output=True, text=True, cwd=folder, timeout=100, check=False
    )


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["predict"], "No run with a checkpoint"),
        (["predict", "--run", "nothing"], "No run 'nothing'"),
        (["predict", "--shard", "0/2", "-r", "a", "-r", "b"], "--shard takes one --run"),
        (["evaluate", "--answers", "a.csv"], "No run with a checkpoint"),
        (["train"], "No data set found"),
        (["train", "--data", "nowhere"], "There is no folder nowhere."),
        (["train", "--set", "optim.lr=-1"], "optim.lr"),
        (["train", "--resume", "nothing"], "No run 'nothing'"),
        (["uda", "-u", "extra", "--init-from", "nothing"], "No run 'nothing'"),
        (["pseudo", "-u", "extra", "--teacher", "nothing"], "No run 'nothing'"),
        (["audit"], "No data set found"),
    ],
    ids=lambda p: "-".join(p) if isinstance(p, list) else "",
)
def test_bad_input_is_refused_without_torch(tmp_path: Path, words: list[str], named: str) -> None:
    done = run(tmp_path, *words)
    assert done.returncode == 3 and named in done.stderr
    assert done.stdout == "torch: False\n"


def test_text_goes_with_nothing_that_only_a_page_has(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    with pytest.raises(ConfigError, match="--text writes no page") as refused:
        check_page(page, text=True, full=False, serve=True)
    assert refused.value.hint == "Leave out --out and --serve, or --text."
    check_page(None, text=True, full=False)
    check_page(page, text=False, full=True)
    with pytest.raises(StorageError, match="it is a folder"):
        check_page(tmp_path, text=False)


def test_what_is_loading_is_said_first_unless_quiet(tmp_path: Path) -> None:
    assert run(tmp_path, "train").stderr.splitlines()[0] == "Loading torch, timm …"
    assert "Loading" not in run(tmp_path, "train", "--quiet").stderr


def test_errors_break_between_words_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    path = "extra/be36c05cc521dbb125e1dd6a673b616b3dd8998a.jpg"
    hint = f"Leave it out: --drop-overlap, or say why: --transductive --reason.\n  {path}: a copy"
    assert report(DataError("It is [there] twice.", hint=hint)) == 3
    assert capsys.readouterr().err == f"Error: It is [there] twice.\n{hint}\n"
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    report(DataError("Twice.", hint=hint))
    lines = terminal.getvalue().splitlines()[1:]
    assert " ".join(" ".join(lines).split()) == " ".join(hint.split())
    assert all(len(line) <= 30 or path in line for line in lines)
    assert any(path in line for line in lines) and any("--drop-overlap," in line for line in lines)


def test_too_little_memory_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("ssl_mask.runs.listing.list_runs", full)
    monkeypatch.setattr(sys, "argv", ["sslmask", "runs"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 3
    assert "too little memory" in (told := capsys.readouterr().err) and "train.batch_size" in told
