"""What a checkout computes on the drawn demo data with fixed seeds, as one SHA-256 per result.

    python tests/benchmarks/same_results.py before.json        # in one checkout
    python tests/benchmarks/same_results.py after.json --compare before.json   # in the other

For a change that must not change results: weights (tensors), validation predictions, submissions, pseudo-labels,
selections and the guard's findings, for every verb, on one process and two, killed and resumed. Floats are compared
to the bit, so both files must come from one machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

SETTINGS = {
    "preset": "none",
    "model": {"backbone": "test_efficientnet", "weights": "none", "image_size": 32, "embedding_size": 16},
    "train": {"steps": 12, "batch_size": 8, "eval_every": 6, "save_every": 3, "log_every": 3, "workers": 0},
    "data": {"folds": 2},
}
ALGORITHMS = ("uda", "fixmatch", "flexmatch", "freematch", "softmatch", "adamatch")
RULES = ("precision", "threshold", "top_k", "percentile")
POOL = ("--unlabeled", "extra", "--drop-overlap")
RUNS = Path("runs")
Results = dict[str, str]


def sha(content: Any) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:16]


def weights(run: Path) -> str:
    """Of names and bytes of all tensors; not of the file, whose header holds names of runs and versions."""
    from safetensors.numpy import load_file

    tensors = load_file(run / "checkpoints" / "best.safetensors")
    return sha(b"".join(name.encode() + tensors[name].tobytes() for name in sorted(tensors)))


def validation(run: Path) -> str:
    """Of path, group, truth, prediction and probabilities, whatever other columns there are."""
    import pyarrow.parquet as pq

    table = pq.read_table(run / "validation.parquet")
    names = ["path", "group", "true", "predicted", *(n for n in table.column_names if n.startswith("p/"))]
    return sha("\n".join(f"{n}:{table.column(n).to_pylist()}" for n in names).encode())


def pseudo_labels(run: Path) -> str:
    """Of the pseudo-labels, without the folder that the images happen to be in."""
    return sha((run / "pseudo_labels.csv").read_text().replace(str(Path.cwd()), "").encode())


def selection(run: Path) -> str:
    record = json.loads((run / "selection.json").read_text())
    heads = {n: {c: (r["predicted"], r["selected"], r["threshold"]) for c, r in h["classes"].items()}
             for n, h in record["heads"].items()}  # fmt: skip
    return sha([record["pool"], record["selected"], record["whole"], record["pool_hash"], heads])


def findings(file: Path) -> str:
    content = json.loads(file.read_text())
    found = content["findings"]
    drops = content["verdict"]["drops"]
    return sha([found["pools"], found["pairs"], found["not_checked"], found["method"], drops])


def call(*words: str, code: int = 0) -> None:
    """A command in this process: starting anew costs more than what it does."""
    from ssl_mask.cli.app import main

    sys.argv = ["sslmask", *words]
    try:
        main()
    except SystemExit as left:
        if int(left.code or 0) != code:
            raise RuntimeError(f"{' '.join(words)} ended with {left.code}") from left


def two_processes(*words: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "ssl_mask"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1"}
    subprocess.run([*command, *words], env=environment, check=True, stdout=subprocess.DEVNULL)


def killed(until: Callable[[], bool], *words: str) -> None:
    """Start a command and kill it (SIGKILL) as soon as `until` holds."""
    started = subprocess.Popen([sys.executable, "-m", "ssl_mask", *words], stdout=subprocess.DEVNULL)
    while started.poll() is None and not until():
        time.sleep(0.005)
    started.send_signal(signal.SIGKILL)
    started.wait()


def both(found: Results, name: str, run: str) -> None:
    folder = RUNS / run
    found[f"{name}: weights"], found[f"{name}: validation"] = weights(folder), validation(folder)


def measure(found: Results, into: Path) -> None:
    import yaml

    call("demo", "--into", str(into), "--persons", "12", "--seed", "0", "--data-only")
    os.chdir(into)
    Path("sslmask.yaml").write_text(yaml.safe_dump(SETTINGS))
    call("audit", "--unlabeled", "extra", code=4)
    found["audit: findings"] = findings(Path("data_cards/audit.json"))
    for part in (train, uda, pseudo, predict, shards, processes, kills):
        part(found)


def train(found: Results) -> None:
    call("train", "--name", "plain")
    both(found, "train", "plain")
    found["train: findings"] = findings(RUNS / "plain/data_cards/findings.json")
    call("train", "--name", "joint", "--set", "data.target=joint", "--seed", "1")
    both(found, "train joint", "joint")


def uda(found: Results) -> None:
    for name in ALGORITHMS:
        call("uda", *POOL, "--name", name, "--algorithm", name, "--set", "algorithm.threshold=0.3")
        both(found, f"uda {name}", name)
    found["uda: findings"] = findings(RUNS / "uda/data_cards/findings.json")


def pseudo(found: Results) -> None:
    """Each rule with hard labels, and one with soft labels."""
    low = ("--set", "pseudo.target_precision=0.05", "--set", "pseudo.threshold=0.3", "--set", "pseudo.top_k=5")
    rules = {name: ("--set", f"pseudo.rule={name}") for name in RULES}
    for name, more in {**rules, "soft": ("--labels", "soft", "--set", "pseudo.rule=percentile")}.items():
        call("pseudo", *POOL, "--rounds", "2", "--name", f"p-{name}", *more, *low)
        both(found, f"pseudo {name}", f"p-{name}")
        for number in ("01", "02"):
            run = RUNS / f"p-{name}/rounds/{number}"
            if run.is_dir():
                found[f"pseudo {name}, round {number}: pseudo_labels.csv"] = pseudo_labels(run)
                found[f"pseudo {name}, round {number}: selection"] = selection(run)
                both(found, f"pseudo {name}, round {number}", f"p-{name}/rounds/{number}")


def predict(found: Results) -> None:
    asked: dict[str, tuple[str, ...]] = {
        "one run": ("--run", "plain"),
        "two runs": ("--run", "plain", "--run", "uda"),
        "TTA": ("--run", "plain", "--tta"),
        "a folder": ("--run", "plain", "--images", "extra", "--on-bad", "skip"),
    }
    for name, words in asked.items():
        call("predict", *words, "--out", f"out/{name}")
        found[f"predict {name}: predictions.csv"] = sha(Path(f"out/{name}/predictions.csv").read_bytes())


def shards(found: Results) -> None:
    import pyarrow.parquet as pq

    for shard in ("0/2", "1/2"):
        call("predict", "--run", "plain", "--images", "extra", "--tta", "--shard", shard, "--out", "parts")
    for file in sorted(Path("parts").iterdir()):
        table = pq.read_table(file)
        columns = ["sha256", *(n for n in table.column_names if n.startswith("p/"))]
        text = "\n".join(f"{n}:{table.column(n).to_pylist()}" for n in columns)
        found[f"predict shards: {file.name}"] = sha(text.encode())
    call("pseudo", "--from-predictions", "parts", "--teacher", "plain", "--set", "pseudo.rule=top_k",
         "--drop-overlap", "--name", "sharded", "--set", "pseudo.top_k=5")  # fmt: skip
    both(found, "pseudo from shards", "sharded")
    found["pseudo from shards: pseudo_labels.csv"] = pseudo_labels(RUNS / "sharded/rounds/01")


def processes(found: Results) -> None:
    two_processes("train", "--name", "two")
    both(found, "train on two processes", "two")
    two_processes("uda", *POOL, "--name", "two-uda", "--set", "algorithm.threshold=0.3")
    both(found, "uda on two processes", "two-uda")
    two_processes("predict", "-r", "plain", "--out", "out/two")
    found["predict on two processes: predictions.csv"] = sha(Path("out/two/predictions.csv").read_bytes())


def kills(found: Results) -> None:
    state = RUNS / "killed/checkpoints/last.state"
    killed(state.is_file, "train", "--name", "killed")
    status = json.loads((RUNS / "killed/run.json").read_text())["status"]
    found["train killed: was killed in the middle"] = str(status == "running")
    call("train", "--resume", "killed")
    both(found, "train killed and resumed", "killed")
    begun = RUNS / "killed-rounds/rounds/01/checkpoints/last.state"
    killed(
        begun.is_file, "pseudo", *POOL, "--rounds", "2", "--name", "killed-rounds", "--set", "pseudo.rule=percentile"
    )
    call("pseudo", "--resume", "killed-rounds")
    both(found, "pseudo killed and resumed", "killed-rounds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--compare", type=Path, help="a file of another checkout")
    asked = parser.parse_args()
    out, before = asked.out.absolute(), json.loads(asked.compare.read_text()) if asked.compare else None
    found: Results = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SSLMASK_CACHE"] = f"{folder}/cache"
        try:
            measure(found, Path(folder) / "demo")
        finally:
            os.chdir(out.parent)
            out.write_text(json.dumps(found, indent=1) + "\n")
    for name, value in found.items():
        mark = "" if before is None else "  same" if before.get(name) == value else f"  BEFORE {before.get(name)}"
        print(f"{value}  {name}{mark}")
    if before is not None:
        same = sum(before.get(n) == v for n, v in found.items())
        print(f"{same} of {len(before)} results are the same; missing: {sorted(before.keys() - found.keys())}")


if __name__ == "__main__":
    main()
