"""`--json`: exactly one object on stdout, whatever happens; messages, warnings and progress are on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Command

from ssl_mask.cli.app import main
from ssl_mask.cli.output import answering
from ssl_mask.errors import DataError

SMALL = (
    "--set", "preset=none", "--set", "model.backbone=test_efficientnet", "--set", "model.weights=none",
    "--set", "model.image_size=32", "--steps", "2", "--set", "train.workers=0", "--set", "data.folds=2",
)  # fmt: skip
Call = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def call(command: Command) -> Call:
    """Run a verb with --json in this process: (exit code, the object on stdout, what stderr says)."""

    def run(*words: str) -> tuple[int, dict[str, Any], str]:
        code, out, err = command(*words, "--json")
        content = json.loads(out)
        assert isinstance(content, dict)
        return code, content, err

    return run


def test_a_run_from_training_to_its_scores(call: Call, drawn: Path) -> None:
    code, run, told = call("train", "--data", str(drawn), *SMALL, "--guard", "off")
    assert code == 0 and (run["run"], run["status"], run["leakage"]) == ("runs/train-001", "finished", "not-checked")
    assert 0 <= run["best"]["macro_f1"] <= 1
    assert "Run    runs/train-001" in told and "Note: " in told and "Saved" in told
    code, predicted, told = call("predict", "--guard", "off")
    assert code == 0 and predicted["unreadable"] == {} and predicted["leakage"] == "not-checked"
    assert predicted["rows"] == len(Path(predicted["path"]).read_text().splitlines()) - 1
    assert "Predict" in told
    code, scores, _ = call("evaluate", "--answers", str(drawn / "eval_answers.csv"))
    assert code == 0 and scores["images"] == predicted["rows"]
    assert scores == json.loads(Path(predicted["path"]).with_name("evaluation.json").read_text())
    code, listed, _ = call("runs")
    assert code == 0 and [r["name"] for r in listed["runs"]] == ["train-001"]
    assert listed["runs"][0]["best"] == run["best"]


def test_a_dry_run(call: Call, drawn: Path) -> None:
    assert call("train", "--data", str(drawn), *SMALL, "--guard", "off", "--dry-run")[:2] == (
        0, {"run": None, "status": "dry-run"},
    )  # fmt: skip


def test_unlabeled_images_and_their_study(call: Call, drawn: Path) -> None:
    words = ("uda", "--data", str(drawn), "--unlabeled", "extra", *SMALL, "--guard", "off")
    code, run, _ = call(*words)
    assert code == 0 and (run["run"], run["status"]) == ("runs/uda-001", "finished")
    code, study, told = call(*words, "--baseline", "--name", "study")
    assert code == 0 and study["study"] == "runs/study" and {"rows", "difference"} <= study.keys()
    assert [r["run"] for r in study["runs"]] == ["runs/study/seed-0", "runs/study/seed-0-labels-only"]
    assert "difference" in told.lower()


def test_rounds(call: Call, drawn: Path) -> None:
    words = ("--unlabeled", "extra", "--rounds", "1", "--rule", "percentile", "--guard", "off")
    code, run, told = call("pseudo", "--data", str(drawn), *SMALL, *words)
    assert code == 0 and run["run"] == "runs/pseudo-001" and run["status"] == "finished" and run["best"] is not None
    assert "Round 1" in told


def test_an_audit_that_refuses_prints_its_findings_alone(call: Call, drawn: Path) -> None:
    code, audit, told = call("audit", "--data", str(drawn), "-u", "extra", "--processes", "1", *SMALL[-2:])
    assert code == 4 and "unlabeled overlaps test" in told
    assert audit == json.loads(Path("data_cards/audit.json").read_text())


def test_an_error_is_the_object(call: Call) -> None:
    code, error, told = call("train", "--data", "nowhere")
    assert code == error["exit_code"] == 3
    assert error["error"] == "There is no folder nowhere." and "--data DIR" in error["hint"]
    assert "Error: There is no folder nowhere." in told
    for words in (("predict",), ("evaluate", "--answers", "a.csv"), ("uda", "--set", "seeed=1"), ("pseudo", "-u", "x")):
        code, error, _ = call(*words)
        assert code == error["exit_code"] == 3 and error["error"], words


def test_a_usage_error_prints_no_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["sslmask", "train", "--json", "--no-such-flag"])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr()
    assert left.value.code == 2 and said.out == "" and "--no-such-flag" in said.err


# ---- the context that all verbs use ----


def test_what_others_print_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(True) as answer:
        print("a library talks")
        answer({"a": Path("b")})
    said = capsys.readouterr()
    assert json.loads(said.out) == {"a": "b"}
    assert "a library talks" in said.err


def test_the_answer_stands_when_an_error_follows_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError), answering(True) as answer:
        answer({"findings": 1})
        raise DataError("refused")
    assert json.loads(capsys.readouterr().out) == {"findings": 1}


def test_interruptions_and_failures_of_the_disk_are_errors_too(capsys: pytest.CaptureFixture[str]) -> None:
    for error, code in ((KeyboardInterrupt(), 130), (OSError(28, "No space left on device", "runs/x"), 3)):
        with pytest.raises(type(error)), answering(True):
            raise error
        assert json.loads(capsys.readouterr().out)["exit_code"] == code


def test_a_fault_of_ours_prints_no_object(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), answering(True):
        _ = 1 / 0
    assert capsys.readouterr().out == ""


def test_only_the_first_process_answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RANK", "1")
    with answering(True) as answer:
        answer({"a": 1})
    assert capsys.readouterr().out == ""
