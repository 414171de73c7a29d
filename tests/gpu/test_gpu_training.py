"""A GPU trains as a CPU does: the same losses, half precision that learns, exact resume, one process of several."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from gpu_runs import CALM, UDA, Tiny, logged, settings, stop_at, trained
from torch import Tensor

from ssl_mask.errors import Interrupted
from ssl_mask.runs.view import Run
from ssl_mask.workflows.train import train

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[2]


def state_of(run: Run) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(run.path / "checkpoints/last.state", weights_only=True, map_location="cpu")
    return content


def tensors(run: Run) -> dict[str, Tensor]:
    """Weights, averaged weights and the optimizer's memory."""
    state = state_of(run)
    flat = {f"{part}.{k}": v for part in ("model", "ema") for k, v in state[part].items()}
    return flat | {f"{n}.{k}": v for n, slot in state["optimizer"]["state"].items() for k, v in slot.items()}


def furthest(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """The largest difference of two sets of tensors."""
    assert first.keys() == second.keys()
    return max(float((first[k].double() - second[k].double()).abs().max()) for k in first)


@pytest.mark.parametrize("algorithm", ["supervised", "uda"])
def test_losses_are_those_of_a_cpu(tiny: Tiny, on: Callable[..., Any], device: str, algorithm: str) -> None:
    """Within rounding, which grows with each step."""
    asked = settings(algorithm) | CALM
    losses = []
    for kind in ("cpu", device):
        with on(kind):
            losses.append(np.array(logged(trained(tiny(name=f"on-{kind}-{len(losses)}", **asked), kind))))
    assert len(losses[0]) == 10 and losses[0][-1] != losses[0][0]
    apart = np.abs(losses[1] / losses[0] - 1)
    print(f"{algorithm}: relative differences {apart.round(6).tolist()}")
    assert apart[0] < 1e-4
    assert apart.max() < 2e-3


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_and_its_scaler_is_saved(
    tiny: Tiny, on: Callable[..., Any], device: str, precision: str
) -> None:
    if (device, precision) == ("cpu", "fp16"):
        pytest.skip("Accelerate has fp16 on GPUs only")
    asked = settings("supervised", steps=60, eval_every=60, precision=precision)
    with on(device):
        run = trained(tiny(name="half", **asked), device)
    losses = np.array(logged(run))
    print(f"{precision}: mean loss of the first and last 10 steps {losses[:10].mean():.3f} {losses[-10:].mean():.3f}")
    assert np.isfinite(losses).all() and len(losses) == 60
    assert losses[-10:].mean() < 0.9 * losses[:10].mean()
    state = state_of(run)
    kept = [v for v in state["model"].values() if v.is_floating_point()]
    assert {v.dtype for v in kept} == {torch.float32} and all(v.isfinite().all() for v in kept)
    if precision == "bf16":
        assert state["scaler"] is None
        return
    scaler = state["scaler"]
    print(f"fp16: loss scale {scaler['scale']:.0f} after 60 steps, {scaler['_growth_tracker']} since the last overflow")
    assert 1 <= scaler["scale"] <= 65536 and 0 < scaler["_growth_tracker"] <= 60


@pytest.mark.parametrize(
    ("algorithm", "precision"), [("supervised", "fp32"), ("uda", "fp32"), ("uda", "bf16"), ("supervised", "fp16")]
)
def test_a_resumed_run_is_an_uninterrupted_one(
    tiny: Tiny, on: Callable[..., Any], device: str, monkeypatch: pytest.MonkeyPatch, algorithm: str, precision: str
) -> None:
    """To the bit where two uninterrupted runs are the same bits; else as near as these two are to each other, since a
    GPU may add in another order each time."""
    if (device, precision) == ("cpu", "fp16"):
        pytest.skip("Accelerate has fp16 on GPUs only")
    asked = settings(algorithm, steps=6, eval_every=3, precision=precision) | {"optim": {"clip_norm": 1.0}}
    with on(device):
        whole, again = (trained(tiny(name=name, **asked), device) for name in ("whole", "again"))
        with monkeypatch.context() as patch:
            stop_at(patch, 4)
            with pytest.raises(Interrupted, match="step 4 of 6"):
                train(tiny(name="parts", **asked), quiet=True)
        parts = train(tiny(), resume="parts", quiet=True)
    assert parts is not None and len(logged(parts)) == 6
    noise, apart = furthest(tensors(whole), tensors(again)), furthest(tensors(whole), tensors(parts))
    print(f"{algorithm} {precision}: two runs differ by {noise:.3g}, a resumed one by {apart:.3g}")
    assert apart <= 10 * noise
    assert state_of(whole)["scaler"] == state_of(parts)["scaler"]
    assert (state_of(parts)["scaler"] is None) == (precision != "fp16")
    np.testing.assert_allclose(logged(whole), logged(parts), rtol=1e-6 if noise == 0 else 1e-2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_partial_strong_pass_is_the_full_one(tiny: Tiny, on: Callable[..., Any], device: str, precision: str) -> None:
    """On a network without batch norm, to train the images whose target counts is to train all of them."""
    runs = []
    for dense in (False, True):
        asked = settings("uda", steps=4, eval_every=4, precision=precision)
        asked |= {**CALM, "algorithm": {**UDA, "dense": dense}}
        with on(device):
            runs.append(trained(tiny(name=f"dense-{dense}", **asked), device))
    kept = [logged(run, "stats", "kept") for run in runs]
    print(f"{precision}: share of images with a strong view {kept[0]}")
    assert set(kept[1]) == {1.0} and 0 < np.mean(kept[0]) < 1
    terms = [np.array(logged(run, "terms", "consistency")) for run in runs]
    assert terms[0][0] > 0
    np.testing.assert_allclose(*terms, rtol=1e-3 if precision == "fp32" else 0.1, atol=1e-6)
    np.testing.assert_allclose(*(logged(r) for r in runs), rtol=1e-3 if precision == "fp32" else 0.02)


def test_one_process_of_distributed_training_is_a_plain_run(
    tiny: Tiny, on: Callable[..., Any], device: str, tmp_path: Path
) -> None:
    """With the variables that `torchrun` and `accelerate` set: a process group of one, over nccl (gloo on a CPU)."""
    asked = settings("uda", steps=4, eval_every=4) | CALM
    with on(device):
        plain = trained(tiny(name="plain", **asked), device)
    own = plain.config.model_copy(update={"name": "launched"})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(own.model_dump(mode="json")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ, "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "ACCELERATE_USE_CPU": "1" if device == "cpu" else "0",
    }  # fmt: skip
    words = [sys.executable, "-c", LAUNCHED, "uda", "--config", str(tmp_path / "config.yaml")]
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.findall("wrapped in (.*)", done.stdout) == [WRAPPED[device]]
    lines = (plain.path.parent / "launched" / "metrics.jsonl").read_text().splitlines()
    losses = [r["loss"] for r in map(json.loads, lines) if r["kind"] == "train"]
    np.testing.assert_allclose(losses, logged(plain), rtol=1e-3)


WRAPPED = {"cpu": "DistributedDataParallel over gloo", "cuda": "Classifier over nccl"}
"""Accelerate wraps the network of a single process on a CPU, but not on a GPU."""
LAUNCHED = """
import torch
from ssl_mask.training import fit
from ssl_mask.workflows import train

def told(session, run):
    kind = type(session.training.model).__name__
    print(f"wrapped in {kind} over {torch.distributed.get_backend()}")
    fit.fit(session, run)

train.fit = told
from ssl_mask.cli.app import main
main()
"""
