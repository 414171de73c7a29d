"""Ctrl-C and SIGTERM end every verb with a sentence and the shell's exit code, whatever it does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Command

from ssl_mask.errors import Interrupted, Terminated, nothing_written
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import run_source
from ssl_mask.workflows.predict import predict

KINDS = pytest.mark.parametrize(
    ("stop", "code", "word"), [(KeyboardInterrupt, 130, "Interrupted"), (Terminated, 143, "Terminated")]
)


def stopping(stop: type[BaseException]) -> Callable[..., None]:
    def anything(*_: object, **__: object) -> None:
        raise stop

    return anything


@KINDS
@pytest.mark.parametrize(
    ("words", "where", "what"),
    [
        (["train"], "ssl_mask.workflows.train.read_manifest", "nothing of this run was written."),
        (["uda", "-u", "extra"], "ssl_mask.workflows.train.load_training_data", "nothing of this run was written."),
        (["audit", "-u", "extra"], "ssl_mask.workflows.audit.read_pools", "nothing was written."),
        (["demo"], "ssl_mask.workflows.demo.draw_demo", "nothing was left half-written."),
        (["runs"], "ssl_mask.runs.listing.list_runs", "nothing was left half-written."),
        (["card", "show", "x.md"], "ssl_mask.reports.verify_card.read_card", "nothing was left half-written."),
    ],
    ids=lambda p: p[0] if isinstance(p, list) else "",
)
def test_a_verb_that_is_interrupted_says_what_was_written(
    command: Command, drawn: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException], code: int, word: str,
    words: list[str], where: str, what: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(where, stopping(stop))
    data = ["--data", str(drawn)] if words[0] in {"train", "uda", "audit"} else []
    left, out, err = command(*words, *data)
    assert (left, out) == (code, out) and f"Stopped: {word}; {what}" in err and "Traceback" not in err
    assert not Path("runs").exists() and not Path("data_cards").exists()


@KINDS
def test_while_the_command_line_is_read_it_is_told_too(
    command: Command, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException], code: int, word: str
) -> None:
    monkeypatch.setattr("typer.core.TyperGroup.make_context", stopping(stop))
    left, _, err = command("runs")
    assert left == code and f"Stopped: {word}; nothing was left half-written." in err


@KINDS
def test_the_object_of_json_says_it_too(
    command: Command, drawn: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException], code: int, word: str
) -> None:
    monkeypatch.setattr("ssl_mask.workflows.audit.read_pools", stopping(stop))
    left, out, _ = command("audit", "--data", str(drawn), "--json")
    assert left == code
    assert json.loads(out) == {"error": f"{word}; nothing was written.", "hint": "", "exit_code": code}


@KINDS
def test_a_second_one_in_training_says_how_to_continue(
    command: Command, drawn: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException], code: int, word: str
) -> None:
    """The first one waits for the step to end; the second one is raised wherever the training is."""
    monkeypatch.setattr("ssl_mask.training.fit.train_steps", stopping(stop))
    small = [
        "--set", "preset=none", "--set", "model.backbone=test_efficientnet", "--set", "model.weights=none",
        "--set", "model.image_size=32", "--steps", "2", "--set", "train.workers=0", "--set", "data.folds=2",
    ]  # fmt: skip
    left, _, err = command("train", "--data", str(drawn), *small, "--guard", "off")
    assert left == code and f"Stopped: {word}; what was saved before is kept." in err
    assert "Continue with: sslmask train --resume runs/train-001" in err


def test_a_prediction_that_is_interrupted_writes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ssl_mask.workflows.predict.find_source", lambda name, _: run_source(RunDir(tmp_path / name)))
    monkeypatch.setattr("ssl_mask.workflows.predict.load_predictor", stopping(KeyboardInterrupt))
    with pytest.raises(Interrupted, match="Interrupted; nothing was written"):
        predict(["one"], quiet=True)


@KINDS
def test_nothing_written_names_what_is_not_there(stop: type[BaseException], code: int, word: str) -> None:
    with (
        pytest.raises(Interrupted, match=f"{word}; nothing of this shard was written") as left,
        nothing_written("this shard"),
    ):
        raise stop
    assert left.value.exit_code == code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_while_libraries_are_imported_it_ends_at_once(number: int, code: int) -> None:
    """An import may turn an exception of a signal handler into any other, or swallow it: none is raised."""
    waits = (
        "import time\nfrom ssl_mask.cli.output import answering, loading\n"
        "with answering(True), loading('torch', as_json=True):\n"
        "    print('ready', flush=True)\n"
        "    while True:\n"
        "        try:\n            time.sleep(60)\n        except BaseException:\n            pass\n"
    )
    heard = f"import signal\nsignal.signal({int(number)}, signal.SIG_DFL)\n"  # tests may run where it is ignored
    words = [sys.executable, "-c", heard + waits]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    told = [child.stderr.readline(), child.stderr.readline()]
    assert told == ["Loading torch …\n", "ready\n"]
    began = time.monotonic()
    child.send_signal(number)
    out, err = child.communicate(timeout=30)
    assert child.returncode == code and time.monotonic() - began < 10
    assert "nothing was written." in err and "Traceback" not in err
    assert json.loads(out)["exit_code"] == code
