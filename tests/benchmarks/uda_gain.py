"""What unlabeled faces are worth: `sslmask uda` against its supervised baseline at equal steps, scored on new persons.

    python tests/benchmarks/uda_gain.py [--data DIR] [--seeds 0 1 2] [--jobs 2]

- labels only: the laptop preset on 30, 60 or 150 labeled persons
- uda: the `uda_laptop` preset on the same persons; the other training photos and extra/ are unlabeled
- raw cosines: the `uda` runs with the softmax on raw cosines (temperature = scale) in place of calibrated logits
- plain raw: UDA as usual (live teacher, threshold 0.8, sharpened by 0.4, weight 1) on raw cosines, as in a public
  solution: no confidence can pass the threshold, so nothing is learned from the pool (first seed)
- all labels: the laptop preset on all 240 training persons, the most that unlabeled photos could be worth

All at `--size` px and `--steps` steps of `--batch` labeled images, which is shorter than the presets: 40 minutes on 2
cores. Seed s trains with seed s on split s, so labeled and validation persons differ by seed; 60 persons run with all
seeds, the others with the first. Settings were chosen on validation persons; the answers of eval/ are read here and
nowhere else. Intervals are paired and by image, for the answers name no persons: they are too narrow.

Every run is a process of one thread, `--jobs` at a time. Results are appended to `--out`/uda_gain.jsonl, and what
is there for the same run is not redone. After a change of the code alone, choose a new `--out`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from resumable import Entry, arguments, read_truth, run_all
from rich.console import Console
from rich.table import Table

from ssl_mask.evaluation.metrics import accuracy, macro_f1, paired_bootstrap

KINDS = ("labels only", "uda", "raw cosines", "plain raw", "all labels")
PLAIN = {"masks": "joint", "teacher": "live", "weight": 1.0, "sharpen": 0.4, "threshold": 0.8}
CLASSES = 18


def main() -> None:
    options = arguments(__doc__ or "")
    if options.child:
        print(json.dumps(child(options)))
        return
    jobs = [{"kind": "all labels", "persons": None, "seed": s} for s in options.seeds]
    jobs += [{"kind": k, "persons": 60, "seed": s} for s in options.seeds for k in ("labels only", "uda")]
    for persons in (30, 150):
        jobs += [{"kind": k, "persons": persons, "seed": options.seeds[0]} for k in ("labels only", "uda")]
    jobs += [{"kind": "raw cosines", "persons": 60, "seed": s} for s in options.seeds]
    jobs.append({"kind": "plain raw", "persons": 60, "seed": options.seeds[0]})
    same = {"size": options.size, "steps": options.steps, "batch": options.batch}
    words = ["--data", str(options.data.resolve()), "--out", str(options.out)]
    store = options.out / "uda_gain.jsonl"
    entries = run_all(__file__, store, [{**job, **same} for job in jobs], words, options.jobs)
    show(entries, read_truth(options.data / "eval_answers.csv"))


# ---- one run ----


def child(options: argparse.Namespace) -> Entry:
    import ssl_mask

    job = options.child
    algorithm: Entry = {"name": "supervised"} if job["kind"] in ("labels only", "all labels") else {"name": "uda"}
    layers: Entry = {
        "seed": job["seed"],
        "runs": str(options.out / "gain-runs"),
        "data": {"root": str(options.data), "split_seed": job["seed"], "labeled_groups": job["persons"]},
        "model": {"image_size": job["size"]},
        "train": {"steps": job["steps"], "batch_size": job["batch"], "eval_every": job["steps"] // 4},
        "algorithm": algorithm,
        "guard": {"mode": "off"},
    }
    if algorithm["name"] == "uda":
        layers["data"]["unlabeled"] = [str(options.data / "extra")]
    if "raw" in job["kind"]:
        algorithm |= {"temperature": ssl_mask.load_config(layers).model.scale}
        algorithm |= PLAIN if job["kind"] == "plain raw" else {}
    config = ssl_mask.load_config(layers)
    run = ssl_mask.train(config, quiet=True)
    assert run is not None
    predictions = ssl_mask.predict([run.path], quiet=True)
    late = [r for r in run.history if r["kind"] == "train" and r["step"] > 0.7 * job["steps"]]
    return {
        "run": str(run.path),
        "cpu": max(r["cpu_seconds"] for r in run.history if r["kind"] == "val"),
        "val": run.scores.model_dump(include={"macro_f1", "accuracy", "step", "heads"}),
        "consistency": statistics.mean(r["terms"].get("consistency", 0.0) for r in late),
        "names": [PurePosixPath(r.path).name for r in predictions.manifest.rows],
        "predicted": predictions.probs.argmax(axis=1).tolist(),
    }


# ---- the tables ----


def show(entries: Sequence[Entry], truth: dict[str, int]) -> None:
    screen = Console()
    true = np.asarray([truth[name] for name in entries[0]["names"]])
    table = Table("what", "persons", "seed", "val macro-F1", "macro-F1", "accuracy", "consistency loss", "CPU s")
    scores: dict[tuple[str, int | None], list[tuple[float, float]]] = {}
    predicted: dict[tuple[str, int | None], list[NDArray[np.int64]]] = {}
    for entry in sorted(entries, key=lambda e: (e["persons"] or 999, KINDS.index(e["kind"]), e["seed"])):
        guess, key = np.asarray(entry["predicted"]), (entry["kind"], entry["persons"])
        both = macro_f1(true, guess, CLASSES), accuracy(true, guess)
        scores.setdefault(key, []).append(both)
        predicted.setdefault(key, []).append(guess)
        cells = [f"{x:.3f}" for x in (entry["val"]["macro_f1"], *both)]
        shown = f"{entry['consistency']:.5f}" if entry["kind"] not in ("labels only", "all labels") else ""
        table.add_row(
            entry["kind"], str(entry["persons"] or "all"), str(entry["seed"]), *cells, shown, f"{entry['cpu']:.0f}"
        )
    screen.print(table)
    for kind, persons in (("uda", 30), ("uda", 60), ("uda", 150), ("raw cosines", 60), ("plain raw", 60)):
        tell(screen, kind, persons, scores, predicted, true)


def tell(
    screen: Console, kind: str, persons: int, scores: dict[Any, Any], predicted: dict[Any, Any], true: NDArray[np.int64]
) -> None:
    """The difference with its interval, the share of the error cut, and the share of the gap to all labels closed."""
    ours = scores[kind, persons]
    base = scores["labels only", persons][: len(ours)]
    full = scores["all labels", None][: len(base)]
    first, second = (np.stack(predicted[k, persons][: len(ours)]) for k in ("labels only", kind))
    found = paired_bootstrap(true, first, second, np.arange(len(true)), CLASSES)
    f1, right = found["macro_f1"], found["accuracy"]
    low, high, most = (statistics.mean(s[0] for s in column) for column in (base, ours, full))
    cut, closed = (high - low) / (1 - low), (high - low) / (most - low)
    screen.print(
        f"{kind}, {persons} persons, {len(base)} seed(s): eval macro-F1 {low:.3f} -> {high:.3f} ({f1.value:+.3f}, 95 % "
        f"{f1.low:+.3f} to {f1.high:+.3f}), accuracy {right.value:+.3f} ({right.low:+.3f} to {right.high:+.3f}); "
        f"error cut by {cut:.1%} (goal 15 %), {closed:.0%} of the gap to all labels ({most:.3f}) closed"
    )


if __name__ == "__main__":
    main()
