"""A compiled backbone trains as it does without: the same losses, the same names in what is saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from ssl_mask.config import RunConfig
from ssl_mask.workflows.train import train

SGD = {"optimizer": "sgd", "lr": 0.01}
UDA = {"name": "uda", "threshold": 0.2, "mu": 1.5, "temperature": 1.0}


def test_losses_and_names_are_those_without(tiny: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets and evaluations go through the plain backbone; aot_eager compiles all but the kernels, in a second."""
    passes: list[bool] = []
    compile_ = partial(torch.compile, backend="aot_eager")

    def counted(function: Any) -> Any:
        compiled = compile_(function)

        def run(pixels: torch.Tensor) -> Any:
            passes.append(torch.is_grad_enabled())
            return compiled(pixels)

        return run

    monkeypatch.setattr(torch, "compile", counted)
    runs = []
    for asked in (False, True):
        sections = {"algorithm": UDA, "data": {"unlabeled": ["extra"]}, "optim": SGD, "name": f"compiled-{asked}"}
        sections["train"] = {
            "steps": 4,
            "batch_size": 8,
            "eval_every": 4,
            "log_every": 1,
            "workers": 0,
            "compile": asked,
        }
        runs.append(train(tiny(**sections), quiet=True))
    assert passes == [True] * 4
    losses = [[r["loss"] for r in run.history if r["kind"] == "train"] for run in runs if run is not None]
    assert len(losses[0]) == 4
    np.testing.assert_allclose(*losses, rtol=1e-4)
    states = [torch.load(r.path / "checkpoints/last.state", weights_only=True) for r in runs if r is not None]
    assert states[0]["model"].keys() == states[1]["model"].keys()
    assert states[0]["ema"].keys() == states[1]["ema"].keys()
