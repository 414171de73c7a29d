"""The run card: the verdict stands first, every score says what limits it, and nothing needs insider knowledge."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from sklearn.metrics import f1_score

from ssl_mask.errors import DataError
from ssl_mask.guard.findings import Findings
from ssl_mask.guard.policy import judge
from ssl_mask.reports import samples, study_samples
from ssl_mask.reports.run_card import LEAKAGE, duration, machine, run_card
from ssl_mask.runs.environment import EnvironmentRecord
from ssl_mask.runs.records import LeakageStatus, RunStatus


def card(folder: Path, **changes: Any) -> str:
    return run_card(samples.run(folder / "run", **changes))


def changed(part: str, **values: Any) -> dict[str, Any]:
    """A part of the made-up status with other values."""
    return {part: {**samples._status("run")[part], **values}}


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ", maxsplit=1)[0]


def test_the_verdict_comes_first(tmp_path: Path) -> None:
    text = card(tmp_path)
    true, predicted = samples.joint_predictions(images=280)
    head = text.split("\n## ")[0]
    expected = f1_score(true, predicted, average="macro", labels=np.arange(18), zero_division=0)
    assert head.startswith(f"# Run run\n\n**Validation macro-F1 {expected:.4f}** (95 % interval ")
    assert f"accuracy {(true == predicted).mean():.4f}, on 280 images" in head
    for note in ("**Leakage: not-checked.**", "**Optimistic**: the checkpoint (averaged weights of step 375)"):
        assert note in head
    assert "No supervised baseline was trained" in head and "`sslmask uda --baseline`" in head


@pytest.mark.parametrize("status", get_args(LeakageStatus))
def test_every_status_is_explained(status: str, tmp_path: Path) -> None:
    assert LEAKAGE[status] in card(tmp_path, leakage=status)


def test_without_groups_the_intervals_are_said_to_be_too_narrow(tmp_path: Path) -> None:
    text = card(tmp_path, **changed("data", grouped=False))
    assert "**Intervals too narrow**" in text
    assert "95 % interval by image" in text
    assert "370 groups" not in text


def test_a_supervised_run_says_nothing_of_unlabeled_images(tmp_path: Path) -> None:
    text = card(tmp_path, **changed("data", unlabeled=None))
    assert "nlabeled" not in text.replace("--unlabeled", "")


def test_a_comparison_gives_its_verdict_on_top_and_its_table_below(tmp_path: Path) -> None:
    text = card(tmp_path, comparison=study_samples.comparison())
    assert "The unlabeled images helped. See below." in text.split("\n## ")[0]
    assert "| 0 | 0.4140 | 0.4540 |" in section(text, "What the unlabeled images were worth")


def test_classes_of_few_images(tmp_path: Path) -> None:
    rows = section(card(tmp_path), "Classes (validation)").splitlines()
    counts = np.bincount(samples.joint_predictions(images=280)[0], minlength=18)
    for name, count in zip(samples.SCHEMA.joint_classes, counts.tolist(), strict=True):
        (row,) = [r for r in rows if r.startswith(f"| {name} |")]
        assert ("too few to say" in row) == (1 <= count <= 5)
        assert row.endswith(f"| {count} |")
    assert f"the {(counts == 0).sum()} without validation images count as 0" in "\n".join(rows)


@pytest.mark.parametrize(("best", "words"), [(0, "No round scored higher"), (2, "These are the weights of round 2")])
def test_rounds(best: int, words: str, tmp_path: Path) -> None:
    text = card(tmp_path, rounds=study_samples.rounds(3), best_round=best)
    assert words in text.split("\n## ")[0]
    assert "| 3 | + pseudo-labels |" in section(text, "Rounds of pseudo-labels")


def test_what_was_declared_and_warned_of(tmp_path: Path) -> None:
    declared = {"reason": "Allowed here.", "allowed_by": "section 4"}
    run = samples.run(tmp_path / "run", leakage="transductive-test", declaration=declared, seen=None)
    run.findings.parent.mkdir()
    findings = Findings((), (), (), {})
    verdict = replace(judge(findings), warnings=("3 pairs are to be reviewed",))
    run.findings.write_text(json.dumps({"findings": findings.to_json(), "verdict": verdict.to_json()}))
    text = section(run_card(run), "Leakage")
    assert "Declared: Allowed here. Allowed by: section 4" in text
    assert "- 3 pairs are to be reviewed" in text
    assert "trained with the guard off" in text


def test_a_run_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has not been evaluated"):
        card(tmp_path, best=None)


@pytest.mark.parametrize(
    ("processes", "device", "gpu", "precision", "words"),
    [
        (1, "cpu", None, "no", "1 process on CPU, fp32"),
        (2, "cuda:0", "NVIDIA H100 80GB HBM3", "bf16", "2 processes on NVIDIA H100 80GB HBM3, bf16"),
        (1, "mps", None, "fp16", "1 process on MPS, fp16"),
    ],
)
def test_machine(processes: int, device: str, gpu: str | None, precision: str, words: str) -> None:
    record = EnvironmentRecord.model_construct(processes=processes, device=device, gpu=gpu, precision=precision)
    assert machine(record) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (119, "119 s"), (720, "12 min"), (7199, "2 h 00 min"), (11100, "3 h 05 min")]
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_made_up_run_is_a_valid_one(tmp_path: Path) -> None:
    assert isinstance(samples.run(tmp_path / "run").status(), RunStatus)
