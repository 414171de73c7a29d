"""What a learning rate range test suggests by three rules, and what validation says of rates around it.

    python tests/benchmarks/find_lr.py [--data DIR] [--seeds 0,1] [--rates 7.5e-4,1.5e-3,3e-3,6e-3,1.2e-2]

About half a minute per range test and two minutes per rate on two CPU cores.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import ssl_mask

DATA = os.environ.get("SSLMASK_MASK18", str(Path(__file__).parents[3] / "shared" / "data" / "mask18"))


def steepest(values: Sequence[float], skip: int = 10) -> int:
    """Lightning's rule: where the smoothed loss falls fastest by log rate."""
    return skip + int(np.argmin(np.gradient(values)[skip:-1]))


def valley(values: Sequence[float]) -> int:
    """fastai's rule: half-way along the longest falling subsequence."""
    lengths, end = [1] * len(values), 0
    for i, value in enumerate(values):
        lengths[i] += max((lengths[j] for j in range(i) if value < values[j]), default=0)
        end = i if lengths[i] > lengths[end] else end
    third = (lengths[end]) / 3
    start = end - lengths[end]
    return max(0, start + int(third) + int(third / 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=DATA)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--rates", default="7.5e-4,1.5e-3,3e-3,6e-3,1.2e-2")
    parser.add_argument("--steps", type=int, default=300)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sslmask-find-lr-"))
    base = {"data": {"root": asked.data}, "runs": str(folder), "model": {"image_size": 64}, "guard": {"mode": "off"}}
    for seed in map(int, asked.seeds.split(",")):
        config = ssl_mask.load_config({**base, "seed": seed}, preset="laptop")
        found = ssl_mask.find_lr(config, out=folder / f"range-{seed}.csv", quiet=True)
        rates, smooth = found.range.rates, found.range.smoothed
        print(f"seed {seed}: ours {found.suggested or 0:.1e}, steepest {rates[steepest(smooth)]:.1e}, "
              f"valley {rates[valley(smooth)]:.1e}", flush=True)  # fmt: skip
    train = {"steps": asked.steps, "eval_every": max(1, asked.steps // 5), "reference": "off"}
    for rate in map(float, filter(None, asked.rates.split(","))):
        config = ssl_mask.load_config(
            {**base, "name": f"lr-{rate}", "optim": {"lr": rate}, "train": train}, preset="laptop"
        )
        run = ssl_mask.train(config, quiet=True)
        assert run is not None
        print(f"optim.lr {rate:.1e}: macro-F1 {run.scores.macro_f1:.3f}", flush=True)


if __name__ == "__main__":
    main()
