"""Settings and small runs that the tests on a GPU share."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from ssl_mask.config import RunConfig
from ssl_mask.runs.view import Run
from ssl_mask.training import fit
from ssl_mask.workflows.train import train

Tiny = Callable[..., RunConfig]
PLAIN: dict[str, Any] = {"steps": 10, "batch_size": 8, "eval_every": 10, "log_every": 1, "workers": 0}
# LayerNorm only: with batch norm, images without a strong view change the statistics of the others, and a difference of
# 1e-6 in the weights grows to one of 3 % in the loss within 10 steps (measured; here to 1e-5).
CALM: dict[str, Any] = {
    "model": {"backbone": "test_vit", "weights": "none", "neck": "none", "image_size": 160},
    "optim": {"lr": 1e-4},
}
UDA: dict[str, Any] = {"name": "uda", "threshold": 0.8, "mu": 2.0, "temperature": 0.5}


def settings(algorithm: str, **training: Any) -> dict[str, Any]:
    """Sections of a configuration that trains `supervised` or with `uda`."""
    found: dict[str, Any] = {"train": {**PLAIN, "precision": "fp32", **training}}
    return found if algorithm == "supervised" else {**found, "algorithm": UDA, "data": {"unlabeled": ["extra"]}}


def trained(config: RunConfig, device: str) -> Run:
    run = train(config, quiet=True)
    assert run is not None
    assert json.loads((run.path / "environment.json").read_text())["device"].startswith(device)
    return run


def logged(run: Run, *keys: str) -> list[Any]:
    """What was logged at each step: the loss, or the value under some keys."""
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    found = []
    for line in (r for r in lines if r["kind"] == "train"):
        for key in keys or ("loss",):
            line = line[key]  # noqa: PLW2901
        found.append(line)
    return found


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Send this process SIGTERM while a step is logged."""
    log_step = fit.log_step

    def log_and_signal(session: Any, run: Any, at: int, *rest: Any) -> str:
        if at == step:
            signal.raise_signal(signal.SIGTERM)
        return log_step(session, run, at, *rest)

    monkeypatch.setattr(fit, "log_step", log_and_signal)
