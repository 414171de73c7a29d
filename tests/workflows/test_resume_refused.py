"""What a resumed run refuses, and that a refusal leaves everything as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from ssl_mask.algorithms.supervised import Supervised
from ssl_mask.config import RunConfig
from ssl_mask.errors import ConfigError, DataError, TrainingError
from ssl_mask.types import Losses
from ssl_mask.workflows.train import train

Tiny = Callable[..., RunConfig]


def content_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_refused_or_finished_run_stays_as_it_is(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tiny(name="a", train={"steps": 4, "eval_every": 2}), quiet=True)
    assert run is not None
    before = content_of(run.path)
    with pytest.raises(ConfigError, match=r"has done 4 steps already, but is to end at 2"):
        train(tiny(), resume="a", length={"steps": 2}, quiet=True)
    with run.dir.locked(), pytest.raises(DataError, match="Another process"):
        train(tiny(), resume="a", length={"steps": 9}, quiet=True)
    for length in (None, {"steps": 4}):
        again = train(tiny(), resume="a", length=length)
        assert again is not None and again.status.step == 4
        assert "has finished already" in capsys.readouterr().out
    assert content_of(run.path) == before


def test_a_run_that_failed_says_why_and_is_not_continued(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(self: Supervised, model: torch.nn.Module, batch: Any, progress: float) -> Losses:
        losses = real(self, model, batch, progress)
        return losses if progress < 0.5 else Losses({"mask": losses.total * float("nan")}, {})

    real = Supervised.losses
    monkeypatch.setattr(Supervised, "losses", poisoned)
    config = tiny(name="nan", train={"steps": 4, "eval_every": 2})
    with pytest.raises(TrainingError):
        train(config, quiet=True)
    with pytest.raises(DataError, match=r"nan failed and would fail again: The loss is nan at step 3") as refused:
        train(tiny(), resume="nan", length={"steps": 8}, quiet=True)
    assert "--init-from" in refused.value.hint
    status = config.runs / "nan" / "run.json"
    assert '"status": "failed"' in status.read_text() and "loss is nan at step 3" in status.read_text()


def test_on_a_device_with_a_number_the_average_follows_and_a_run_is_continued(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cpu:0` is the CPU of several processes: each move to it is a copy, and torch.load refuses it."""
    states = []
    for device in (torch.device("cpu"), torch.device("cpu", 0)):
        monkeypatch.setattr(Accelerator, "device", property(lambda _, device=device: device))
        name = f"{device}".replace(":", "-")
        train(tiny(name=name, train={"steps": 2, "eval_every": 2}), quiet=True)
        run = train(tiny(), resume=name, length={"steps": 3}, quiet=True)
        assert run is not None
        states.append(torch.load(run.dir.last, weights_only=True))
    for part in ("model", "ema"):
        torch.testing.assert_close(states[1][part], states[0][part], rtol=0, atol=0)
