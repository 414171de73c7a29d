"""What pseudo-labels are worth: rounds of `sslmask pseudo` against round 0, which knows labels only, on new persons.

    python tests/benchmarks/pseudo_gain.py [--data DIR] [--seeds 0 1 2] [--jobs 2]

60 labeled persons; the pool is extra/ and the other training photos; every round has the same number of steps.

- labels only: round 0
- uda: the `uda_laptop` preset, no pseudo-labels
- precision: the `pseudo_laptop` preset (per factor, what is right in 95 of 100 cases on validation)
- soft: the `pseudo_soft_laptop` preset (every image teaches, with soft labels)
- soft groups: soft, and photos of one person agree on gender and age (`group_consistency`; extra/ names no persons,
  the other training photos do)
- precision uda: the `pseudo_uda_laptop` preset, whose rounds add a consistency loss on images not selected as a whole
- soft after uda: soft, with the uda run as round 0
- soft groups after uda: both
- raw: what uncalibrated confidence >= 0.95 of ArcFace with scale 30 would select of extra/; nothing is trained on it

Each result is of the best round by validation. Seed s trains with seed s on split s. Settings were chosen on validation
persons; the answers of eval/ and extra/ are read here and nowhere else. Intervals are paired and by image, for the
answers name no persons: they are too narrow. All at `--size` px and `--steps` steps of `--batch` labeled images a
round. About 55 minutes on 2 cores; `--kinds` runs only some. Every run is a process of one thread; what is already in
`--out`/pseudo_gain.jsonl is not redone. After a change of the code, choose a new `--out`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from resumable import Entry, arguments, read_truth, run_all
from rich.console import Console
from rich.table import Table

from ssl_mask.evaluation.metrics import accuracy, macro_f1, paired_bootstrap

CLASSES, PERSONS = 18, 60
PRESETS = {
    "labels only": "laptop",
    "uda": "uda_laptop",
    "precision": "pseudo_laptop",
    "soft": "pseudo_soft_laptop",
    "soft groups": "pseudo_soft_laptop",
    "precision uda": "pseudo_uda_laptop",
    "soft after uda": "pseudo_soft_laptop",
    "soft groups after uda": "pseudo_soft_laptop",
    "raw": "laptop",
}
FIRST = ("labels only", "uda")
"""What other kinds start from."""


def main() -> None:
    options = arguments(__doc__ or "", rounds=3, kinds=list(PRESETS))
    if options.child:
        print(json.dumps(child(options)))
        return
    same = {"rounds": options.rounds, "size": options.size, "steps": options.steps, "batch": options.batch}
    later = [k for k in options.kinds if k not in FIRST]
    waves = [[{"kind": k, "seed": s, **same} for k in kinds for s in options.seeds] for kinds in (FIRST, later)]
    words = ["--data", str(options.data.resolve()), "--out", str(options.out)]
    store = options.out / "pseudo_gain.jsonl"
    entries = [e for wave in waves for e in run_all(__file__, store, wave, words, options.jobs)]
    show(entries, options.data)


# ---- one run ----


def child(options: argparse.Namespace) -> Entry:
    import ssl_mask

    job, runs = options.child, options.out / "pseudo-runs"
    name = f"{job['kind'].replace(' ', '-')}-{job['seed']}"
    layers: Entry = {
        "seed": job["seed"],
        "runs": str(runs),
        "name": name,
        "data": {"root": str(options.data), "split_seed": job["seed"], "labeled_groups": PERSONS},
        "model": {"image_size": job["size"]},
        "train": {"steps": job["steps"], "batch_size": job["batch"], "eval_every": job["steps"] // 4},
        "guard": {"mode": "off"},  # what is measured here is the gain; leak_gain.py measures leaks
    }
    shutil.rmtree(runs / name, ignore_errors=True)  # of a run that was killed
    if job["kind"] not in ("labels only", "raw"):
        layers["data"]["unlabeled"] = [str(options.data / "extra")]
    if job["kind"] == "raw":
        layers["model"]["scale"] = 30
    if job["kind"] == "uda" or PRESETS[job["kind"]] == "laptop":
        run: Any = ssl_mask.train(ssl_mask.load_config(layers, preset=PRESETS[job["kind"]]), quiet=True)
        rounds: list[Entry] = []
    else:
        start = "uda" if job["kind"].endswith("after uda") else "labels-only"
        layers["pseudo"] = {"rounds": job["rounds"], "teachers": [str(runs / f"{start}-{job['seed']}")]}
        layers["pseudo"]["group_consistency"] = "groups" in job["kind"]
        config = ssl_mask.load_config(layers, preset=PRESETS[job["kind"]])
        run = ssl_mask.pseudo(config, audit_answers=options.data / "extra_answers.csv", quiet=True)
        rounds = [r.to_json() for r in (run.status.rounds or ())[1:]]
    predictions = ssl_mask.predict([run.path], quiet=True)
    records = run.history or [{"kind": "val", "cpu_seconds": run.status.seconds}]
    return {
        "run": str(run.path),
        "cpu": max(r["cpu_seconds"] for r in records if r["kind"] == "val"),
        "val": run.scores.model_dump(include={"macro_f1", "accuracy", "step"}),
        "selected": [{k: r[k] for k in ("round", "selected", "pool", "heads", "audit")} for r in rounds],
        "raw": raw_selection(run, options) if job["kind"] == "raw" else None,
        "names": [PurePosixPath(r.path).name for r in predictions.manifest.rows],
        "predicted": predictions.probs.argmax(axis=1).tolist(),
    }


def raw_selection(run: Any, options: argparse.Namespace) -> Entry:
    """What confidence >= 0.95 without calibration selects of extra/ as a whole, and how right that is."""
    import ssl_mask
    from ssl_mask.console import Console as Quiet
    from ssl_mask.data.image_set import open_images
    from ssl_mask.devices import make_accelerator
    from ssl_mask.evaluation.scores import mean_probs
    from ssl_mask.inference.inputs import rows_to_predict
    from ssl_mask.inference.logits import predict_logits
    from ssl_mask.inference.predictor import Compute
    from ssl_mask.inference.run_predictor import load_run_predictor

    accelerator, quiet = make_accelerator("auto"), Quiet(quiet=True)
    predictor = load_run_predictor(ssl_mask.load_run(run.path).dir, Compute(accelerator, quiet))
    manifest, _ = rows_to_predict(predictor, options.data / "extra", None, quiet)
    images = open_images(manifest, predictor.reading, predictor.size).images
    views = predict_logits(predictor.model, images, accelerator=accelerator, batch_size=64, workers=0, flip=True)
    truth = read_truth(options.data / "extra_answers.csv")
    true = np.asarray([truth[PurePosixPath(r.path).name] for r in manifest.rows])
    found: Entry = {}
    for name, temperatures in (("uncalibrated", {}), ("calibrated", predictor.source.metadata.temperatures)):
        probs = mean_probs(views, temperatures)
        chosen = probs.max(axis=1) >= 0.95
        right = probs.argmax(axis=1)[chosen] == true[chosen]
        found[name] = {"selected": int(chosen.sum()), "precision": float(right.mean()) if chosen.any() else None}
    return found


# ---- the tables ----


def show(entries: Sequence[Entry], data: Path) -> None:
    screen, truth = Console(), read_truth(data / "eval_answers.csv")
    true = np.asarray([truth[name] for name in entries[0]["names"]])
    by_kind = {k: [e for e in entries if e["kind"] == k] for k in PRESETS}
    table = Table("what", "seed", "val macro-F1", "eval macro-F1", "eval accuracy", "CPU s")
    for entry in entries:
        guess = np.asarray(entry["predicted"])
        scores = entry["val"]["macro_f1"], macro_f1(true, guess, CLASSES), accuracy(true, guess)
        table.add_row(entry["kind"], str(entry["seed"]), *(f"{x:.3f}" for x in scores), f"{entry['cpu']:.0f}")
    screen.print(table)
    base = np.stack([e["predicted"] for e in by_kind["labels only"]])
    for kind in [k for k in PRESETS if by_kind[k] and k not in ("labels only", "raw")]:
        ours = np.stack([e["predicted"] for e in by_kind[kind]])
        found = paired_bootstrap(true, base, ours, np.arange(len(true)), CLASSES)
        low = statistics.mean(macro_f1(true, p, CLASSES) for p in base)
        f1, right = found["macro_f1"], found["accuracy"]
        screen.print(
            f"{kind}: eval macro-F1 {low:.3f} -> {low + f1.value:.3f} ({f1.value:+.3f}, 95 % {f1.low:+.3f} to "
            f"{f1.high:+.3f}), accuracy {right.value:+.3f} ({right.low:+.3f} to {right.high:+.3f}); error cut by "
            f"{f1.value / (1 - low):.1%} (goal 15 %)"
        )
    selections(screen, by_kind)
    for entry in by_kind["soft"]:
        groups_agree(screen, entry, data)


def groups_agree(screen: Console, entry: Entry, data: Path) -> None:
    """What `group_consistency` is worth: how right a factor of the hidden training photos is, alone and by group."""
    from ssl_mask.data.layouts import read_dataset
    from ssl_mask.data.predictions import read_predictions
    from ssl_mask.selection.groups import constant_factors, pool_groups

    manifest = read_dataset(data)
    known = {r.path: r.labels for r in manifest.rows}
    pool = read_predictions(Path(entry["run"]) / "rounds/01/pool.parquet", manifest.schema)
    own = [i for i, p in enumerate(pool.path.tolist()) if known.get(p) is not None]
    true = np.asarray([known[p] for p in pool.path[own].tolist()])
    parts = manifest.schema.marginals(pool.probs[own])
    constant = constant_factors(manifest.labels, manifest.groups)
    names = [n for n, never_varies in zip(parts, constant, strict=True) if never_varies]
    agreed = pool_groups(parts, pool.group[own], names)
    told = ", ".join(
        f"{n} {(parts[n].argmax(1) == true[:, i]).mean():.3f} -> {(agreed[n].argmax(1) == true[:, i]).mean():.3f}"
        for i, n in enumerate(parts)
        if n in names
    )
    screen.print(f"seed {entry['seed']}, {len(own)} photos with persons: right alone -> by person: {told}")


def selections(screen: Console, by_kind: dict[str, list[Entry]]) -> None:
    """How right the selected labels are, on the images of extra/."""
    table = Table("what", "seed", "round", "labels selected", "right on extra/", "by factor", "recall")
    for kind in [k for k in PRESETS if k not in (*FIRST, "raw")]:
        for entry in by_kind[kind]:
            for row in entry["selected"]:
                labels, factors = row["audit"]["labels"], row["audit"]["factors"]
                parts = ", ".join(f"{n} {_share(f['precision'])} of {f['selected']}" for n, f in factors.items())
                cells = [str(labels["selected"]), _share(labels["precision"]), parts, _share(labels["recall"])]
                table.add_row(kind, str(entry["seed"]), str(row["round"]), *cells)
    if table.row_count:
        screen.print(table)
    for entry in by_kind["raw"]:
        for name, found in entry["raw"].items():
            screen.print(
                f"ArcFace s = 30, {name} confidence >= 0.95, seed {entry['seed']}: {found['selected']} of 1000 images "
                f"selected as a whole, {_share(found['precision'])} of them right"
            )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
