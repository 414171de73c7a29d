"""`sslmask runs show`, `compare`, `rm` and `gc` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Cli, Command
from page_runs import make_run

from ssl_mask.runs.run import RunDir


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two finished runs in `runs`, of which b started from a."""
    for name, seed in (("a", 1), ("b", 2)):
        run = make_run(tmp_path / "runs" / name, tmp_path, seed=seed, status="finished")
        run.last.write_bytes(bytes(3_000_000))
        run.card.write_text(f"# Run {name}\n\nThe card.\n")
    RunDir(tmp_path / "runs/b").update(ancestors=("runs/a",))
    return tmp_path / "runs"


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, answer: str) -> list[str]:
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return answer == "y"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", ask)
    return asked


def test_without_a_word_it_lists(runs: Path, command: Command) -> None:
    listed = command("runs")
    assert listed == command("runs", "list") and listed[0] == 0
    assert [line.split()[0] for line in listed[1].splitlines()] == ["run", "a", "b"]
    assert (
        command("runs", "--json", "--runs", str(runs))[1] == command("runs", "list", "--json", "--runs", str(runs))[1]
    )
    code, out, _ = command("runs", "--help")
    assert code == 0 and all(word in out for word in ("list", "show", "compare", "rm", "gc"))


@pytest.mark.usefixtures("runs")
def test_show_has_facts_and_the_card(command: Command) -> None:
    code, out, _ = command("runs", "show", "a")
    assert code == 0 and out.startswith("# Run a\n") and "The card." in out
    assert "| needed by | `b` |" in out and "saved state 3.0 MB" in out
    _, out, _ = command("runs", "show", "b", "--json")
    found = json.loads(out)
    assert (found["needs"], found["needed_by"], found["about"]["name"]) == (
        ["a"],
        [],
        RunDir(Path("runs/b")).status().name,
    )
    files = sum(p.stat().st_size for p in Path("runs/b").rglob("*") if p.is_file())
    assert found["bytes"] == files == sum(found["sizes"].values()) and found["sizes"]["saved state"] == 3_000_000


@pytest.mark.usefixtures("runs")
def test_compare_prints_a_table_and_json(command: Command, cli: Cli) -> None:
    code, out, _ = command("runs", "compare", "a", "b")
    assert code == 0 and out.startswith("# a against b\n")
    found = json.loads(command("runs", "compare", "a", "b", "--json")[1])["runs"]
    assert [one["name"] for one in found] == ["a", "b"]
    assert f"{found[1]['difference']['macro_f1']['value']:+.4f}" in out
    assert cli("runs", "compare", "a", "c")[0] == 3


def test_rm_asks_and_removes(runs: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = at_a_terminal(monkeypatch, "n")
    code, out, _ = command("runs", "rm", "b")
    assert code == 0 and (runs / "b").is_dir() and asked == ["Remove this for good?"]
    assert "runs/b" in out and "MB" in out and "Removed" not in out
    asked = at_a_terminal(monkeypatch, "y")
    code, out, _ = command("runs", "rm", "a", "b")
    assert code == 0 and asked == ["Remove these 2 for good?"] and "Removed" in out
    assert [p.name for p in runs.iterdir()] == [".new.lock"]


def test_rm_refuses_what_is_needed_and_what_nobody_agreed_to(runs: Path, cli: Cli, command: Command) -> None:
    code, said = cli("runs", "rm", "a", "--yes")
    assert code == 3 and "runs/a stays: b builds on it" in said and "sslmask runs rm b a" in said
    code, said = cli("runs", "rm", "b")
    assert code == 3 and "Add --yes" in said
    assert {p.name for p in runs.iterdir()} == {"a", "b"}
    found = json.loads(command("runs", "rm", "b", "--yes", "--json")[1])
    assert list(found["removed"]) == ["runs/b"] and found["removed"]["runs/b"] > 3_000_000


def test_gc_lists_and_removes_only_with_yes(runs: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = command("runs", "gc")
    assert code == 0 and "sslmask runs gc --yes" in out
    assert [line.split()[:3] for line in out.splitlines()[:2]] == [["3.0", "MB", "a:"], ["3.0", "MB", "b:"]]
    asked = at_a_terminal(monkeypatch, "n")
    assert command("runs", "gc")[0] == 0 and asked == ["Remove these (6.0 MB) for good?"]
    assert (runs / "a/checkpoints/last.state").is_file()
    found = json.loads(command("runs", "gc", "--yes", "--json")[1])
    assert found["freed"] == 6_000_000 == sum(one["bytes"] for one in found["found"])
    assert not (runs / "a/checkpoints/last.state").exists()
    assert command("runs", "gc")[1] == "Nothing to remove.\n"
