"""Two processes over gloo do what one does: the same losses, the same validation predictions, each image once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

# LayerNorm only: batch-norm statistics are those of a process's own share, so they differ by design.
SETTINGS = {
    "preset": "none",
    "model": {"backbone": "test_vit", "weights": "none", "neck": "none"},
    "optim": {"lr": 1e-4},
    "train": {"steps": 3, "batch_size": 8, "eval_every": 3, "log_every": 1, "workers": 0},
    "data": {"folds": 2},
}


@pytest.mark.slow
def test_only_the_first_of_two_processes_tells_a_tracker(drawn: Path, tmp_path: Path) -> None:
    """One that the second process wrote to as well would have its files twice, with the losses of its own share."""
    pytest.importorskip("tensorboard")
    train = {**SETTINGS["train"], "trackers": "tensorboard"}
    one, two = (launch(n, drawn, tmp_path, train=train) for n in (1, 2))
    folders = [run / "trackers" / "tensorboard" for run in (one, two)]
    written = [[path.relative_to(folder).parent.parts for path in folder.rglob("events*")] for folder in folders]
    assert len(written[0]) == len(written[1]) > 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folders[1]))
    events.Reload()
    told = [(e.step, e.value) for e in events.Scalars("train/loss")]
    lines = [json.loads(x) for x in (two / "metrics.jsonl").read_text().splitlines()]
    logged = [(r["step"], r["loss"]) for r in lines if r["kind"] == "train"]
    assert [step for step, _ in told] == [step for step, _ in logged] == [1, 2, 3]
    np.testing.assert_allclose([v for _, v in told], [v for _, v in logged], rtol=1e-5)


UDA = {
    "algorithm": {"name": "uda", "threshold": 0.6, "masks": "joint", "tsa": "log", "mu": 2.0},
    "data": {"folds": 2, "unlabeled": ["extra"]},
    "guard": {"drop_overlap": True},
}


def launch(processes: int, faces: Path, work: Path, verb: str = "train", **sections: Any) -> Path:
    (work / "config.yaml").write_text(yaml.safe_dump(SETTINGS | sections))
    words = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes),
        "-m", "ssl_mask", verb, "--config", "config.yaml", "--data", str(faces),
        "--name", f"p{processes}",
    ]  # fmt: skip
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return work / "runs" / f"p{processes}"


@pytest.mark.slow
def test_two_processes_equal_one(drawn: Path, tmp_path: Path) -> None:
    one, two = (launch(n, drawn, tmp_path) for n in (1, 2))
    assert [json.loads((r / "environment.json").read_text())["processes"] for r in (one, two)] == [1, 2]
    records = [[json.loads(x) for x in (r / "metrics.jsonl").read_text().splitlines()] for r in (one, two)]
    losses = [[r["loss"] for r in lines if r["kind"] == "train"] for lines in records]
    assert len(losses[0]) == 3
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-3)
    tables = [pd.read_parquet(run / "validation.parquet") for run in (one, two)]
    assert tables[0]["path"].tolist() == tables[1]["path"].tolist()
    assert tables[0]["path"].is_unique
    probs = [t.filter(like="p/").to_numpy() for t in tables]
    np.testing.assert_allclose(probs[0], probs[1], atol=2e-3)


@pytest.mark.slow
def test_two_processes_equal_one_with_unlabeled_images(drawn: Path, tmp_path: Path) -> None:
    """Ranks with different numbers of survivors and of kept labels: the loss is the mean over all of all ranks."""
    one, two = (launch(n, drawn, tmp_path, "uda", **UDA) for n in (1, 2))
    records = [[json.loads(x) for x in (r / "metrics.jsonl").read_text().splitlines()] for r in (one, two)]
    steps = [[r for r in lines if r["kind"] == "train"] for lines in records]
    assert len(steps[0]) == 3
    for alone, shared in zip(*steps, strict=True):
        assert alone["terms"]["consistency"] > 0
        assert 0 < alone["stats"]["kept"] < 1
        assert alone["terms"] == pytest.approx(shared["terms"], abs=1e-3)
        for name in ("kept", "mask_rate/joint", "tsa_kept/age", "predicted/joint"):
            assert alone["stats"][name] == pytest.approx(shared["stats"][name], abs=1e-3)
    probs = [pd.read_parquet(run / "validation.parquet").filter(like="p/").to_numpy() for run in (one, two)]
    np.testing.assert_allclose(probs[0], probs[1], atol=2e-3)


PSEUDO = {
    "data": {"folds": 2, "unlabeled": ["extra"]},
    "pseudo": {"rounds": 1, "rule": "percentile"},
    "guard": {"drop_overlap": True},
}


@pytest.mark.slow
def test_two_processes_score_a_pool_in_shards_without_loss_or_duplicates(drawn: Path, tmp_path: Path) -> None:
    """Round 0 is one and the same run, so both score with the same weights; the guard drops the planted copies."""
    start = launch(1, drawn, tmp_path).rename(tmp_path / "start")
    pseudo = {**PSEUDO["pseudo"], "teachers": [str(start)]}
    one, two = (launch(n, drawn, tmp_path, "pseudo", **PSEUDO | {"pseudo": pseudo}) for n in (1, 2))
    pools = [pd.read_parquet(run / "rounds/01/pool.parquet") for run in (one, two)]
    planted = {c["extra"] for c in json.loads((drawn / "truth.json").read_text())["leaked_extra"]}
    assert planted
    assert pools[0]["path"].is_unique
    assert set(pools[0]["id"]) == {p.name for p in (drawn / "extra").iterdir()} - planted
    exact = [c for c in pools[0].columns if not c.startswith("p/")]
    pd.testing.assert_frame_equal(pools[0][exact], pools[1][exact])
    np.testing.assert_allclose(*(p.filter(like="p/").to_numpy() for p in pools), atol=1e-5)
    tables = [pd.read_csv(run / "rounds/01/pseudo_labels.csv") for run in (one, two)]
    pd.testing.assert_frame_equal(*tables, check_exact=False, atol=2e-5)
    status = [json.loads((run / "run.json").read_text()) for run in (one, two)]
    assert [s["status"] for s in status] == ["finished", "finished"]
    losses = [
        [json.loads(x)["loss"] for x in (run / "rounds/01/metrics.jsonl").read_text().splitlines() if '"train"' in x]
        for run in (one, two)
    ]
    np.testing.assert_allclose(*losses, atol=1e-3)


SCRIPT = Path(__file__).parents[1] / "benchmarks" / "one_or_two.py"
BOUNDS = {"weights": 3e-4, "ema": 3e-4, "validation": 3e-5, "loss": 3e-3}


@pytest.mark.slow
def test_batch_norm_averages_and_resumed_runs_are_those_of_one_process_and_errors_end_both(tmp_path: Path) -> None:
    """What `one_or_two.py` measures, as bounds: targets with fitted temperatures of the averaged weights."""
    figures = tmp_path / "figures.json"
    jobs, fault = ["train", "uda resumed, teacher ema", "predict"], "the second process fails"
    words = [sys.executable, str(SCRIPT), "--only", *jobs, "--faults", fault, "--json", str(figures)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(figures.read_text())
    for job, apart in found["differences"].items():
        assert all(v is None or v < BOUNDS[name] for name, v in apart.items()), (job, apart)
    end = found["faults"][fault]
    assert end["exit codes"] == [3, 3]
    assert (end["errors"], end["tracebacks"]) == (1, 0), end["told"]
