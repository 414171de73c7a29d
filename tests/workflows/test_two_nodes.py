"""Two machines train as `configs/cluster/slurm_train.sh` starts them; here both are this one, a launcher each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from test_two_processes import SETTINGS, launch


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
def test_two_nodes_equal_one_process(drawn: Path, tmp_path: Path) -> None:
    one = launch(1, drawn, tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    port = str(free_port())
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    nodes = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(rank),
             "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port,
             "-m", "ssl_mask", "train", "--config", "config.yaml", "--data", str(drawn), "--name", "nodes"],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    try:
        said = [node.communicate(timeout=300)[0] for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(said)[-3000:]
    two = tmp_path / "runs" / "nodes"
    assert sorted(p.name for p in (tmp_path / "runs").iterdir() if p.is_dir()) == ["nodes", "p1"]
    assert json.loads((two / "environment.json").read_text())["processes"] == 2
    assert "Saved  runs/nodes" in said[0] and "Saved" not in said[1]  # the first process alone writes and tells
    losses = [
        [json.loads(x)["loss"] for x in (run / "metrics.jsonl").read_text().splitlines() if '"train"' in x]
        for run in (one, two)
    ]
    assert len(losses[0]) == 3
    np.testing.assert_allclose(*losses, atol=1e-3)
    tables = [pd.read_parquet(run / "validation.parquet") for run in (one, two)]
    assert tables[0]["path"].tolist() == tables[1]["path"].tolist() and tables[0]["path"].is_unique
    np.testing.assert_allclose(*(t.filter(like="p/").to_numpy() for t in tables), atol=2e-3)
