"""How well images of no known class are told, and whether sets of classes hold the truth as often as they say.

    python tests/benchmarks/unknown.py unknown   # each CIFAR-10 class left out of training: AUROC, detection, alarms
    python tests/benchmarks/unknown.py sets      # coverage and mean size on mask18's eval and on CIFAR-10's test images

`unknown` trains on nine of the class folders of CIFAR-10, `--labels` images each, and asks for the test images of all
ten: for each of the scores how well the tenth class is told from the others (AUROC), which
share of it is marked at a rate of 5 %, and which share of the others. `chosen` is the score that `sslmask predict
--unknown` takes, by AUROC on validation images of classes that the network has seen (`with the class`). `--validate`
asks for training images of the tenth class and validation images of the nine in place of test images: by these the
rule was made, on seed 10, which is none of the reported ones. `sets` predicts with a run
(`folds` 0) or with a study of folds, at coverages of 0.8, 0.9 and 0.95; intervals are by person (found in eval as
`leak_gain.py` does), on CIFAR-10 by image. Each job is one process and is kept in `--out`, so that a run that was
stopped goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from neighbours import link, show
from numpy.typing import NDArray
from resumable import Entry, begun, cifar_folder, data_folder, read_classes, read_truth, run_all

RATE = 0.05
COVERAGES = (0.8, 0.9, 0.95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("unknown", "sets"))
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--classes", nargs="+", help="those that are left out in turn; all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 5], help="of `sets`; 0: one run")
    parser.add_argument("--sources", nargs="+", choices=("faces", "cifar"), default=["faces", "cifar"])
    parser.add_argument("--validate", action="store_true", help="of `unknown`: measure on labeled images")
    parser.add_argument("--labels", type=int, default=50, help="images a class")
    parser.add_argument("--size", type=int, default=80)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out"))
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(json.dumps({"unknown": left_out, "sets": covered}[options.part](options.child, options)))
        return
    shared = {"labels": options.labels, "steps": options.steps, "size": options.size}
    jobs: list[Entry] = [
        {"class": name, "seed": seed, "on": "labels" if options.validate else "test", **shared}
        for seed in options.seeds
        for name in options.classes or sorted(drawn(options, 0, 1))
    ] if options.part == "unknown" else [
        {"source": source, "folds": folds, "seed": seed, **shared}
        for source in options.sources for folds in options.folds for seed in options.seeds
    ]  # fmt: skip
    words = [options.part]
    for name in ("data", "out"):
        words += [f"--{name}", str(getattr(options, name))]
    entries = run_all(__file__, options.out / f"unknown-{options.part}.jsonl", jobs, words, options.jobs)
    show(entries if options.part == "sets" else by_score(entries))


def by_score(entries: list[Entry]) -> list[Entry]:
    """A row a score: the mean over classes and seeds, the lowest and the highest AUROC, and how often it was chosen."""
    rows = []
    for name in (*entries[0]["scores"], "chosen"):
        own = [entry["scores"][entry["chosen"] if name == "chosen" else name] for entry in entries]
        rows.append({"score": name} | {what: float(np.mean([one[what] for one in own])) for what in own[0]} | {
            "lowest": min(one["AUROC"] for one in own), "highest": max(one["AUROC"] for one in own),
            "times": sum(name in (entry["chosen"], "chosen") for entry in entries),
        })  # fmt: skip
    return rows


def drawn(options: argparse.Namespace, seed: int, labels: int) -> dict[str, list[str]]:
    """Training images of each class of CIFAR-10."""
    rng = np.random.default_rng(seed)
    folders = sorted(p for p in (cifar_folder(options.data) / "train").iterdir() if p.is_dir())
    return {p.name: [str(f) for f in rng.permutation(sorted(p.iterdir()))][:labels] for p in folders}


def trained(out: Path, data: Path, job: Entry, folds: int = 0) -> Path:
    """A run, or a study of folds; one that was begun goes on."""
    import ssl_mask

    config = ssl_mask.load_config({
        "data": {"root": str(data), "outside_root": "allow"}, "seed": job["seed"], "name": "one", "runs": str(out),
        "model": {"image_size": job["size"]}, "train": {"steps": job["steps"], "workers": 0}, "guard": {"mode": "off"},
    }, preset="laptop")  # fmt: skip
    resume = begun(config)
    if folds:
        ssl_mask.train_folds(config, folds=folds, resume=resume, quiet=True)
    elif resume is None or ssl_mask.load_run(resume).status.status != "finished":
        ssl_mask.train(config, resume=resume, quiet=True)
    return out / "one"


def left_out(job: Entry, options: argparse.Namespace) -> Entry:
    """How a class without training images is told from the others, by each score."""
    from ssl_mask.console import Console
    from ssl_mask.data.layouts.images import read_images
    from ssl_mask.devices import make_accelerator
    from ssl_mask.evaluation.conformal import Judged, p_values
    from ssl_mask.evaluation.unknown import WHOLE, auroc, choose_score
    from ssl_mask.inference.predictor import Compute
    from ssl_mask.inference.unknown_marks import judge, new_scores, open_model
    from ssl_mask.runs.sources import find_source

    out = options.out / f"unknown-{job['class']}-{job['seed']}-{job['labels']}-{job['steps']}"
    link(out / "data", {**drawn(options, job["seed"], job["labels"]), job["class"]: []})
    source = find_source(trained(out / "runs", out / "data", job), out)
    model = open_model(source, Compute(make_accelerator("auto"), Console(quiet=True)))
    seen = judge([model])[WHOLE]
    chosen, cifar = choose_score(seen, RATE), cifar_folder(options.data)
    asked = cifar / ("test" if job["on"] == "test" else f"train/{job['class']}")
    rows = read_images(asked, source.schema, source.submission)
    class_of = read_classes(cifar / "test_answers.csv") if job["on"] == "test" else {}
    unknown = np.asarray([class_of.get(Path(row.path).name, job["class"]) == job["class"] for row in rows.rows])
    scores: dict[str, Entry] = {}
    for name in seen[0].whole:
        new = new_scores([model], {WHOLE: name}, rows)[WHOLE]
        known = new[:, ~unknown] if job["on"] == "test" else seen[0].whole[name][None]
        judged = Judged.joined([seen[0].whole[name]], [seen[0].group])
        detected, alarms = (float((p_values(judged, own) <= RATE).mean()) for own in (new[:, unknown], known))
        scores[name] = {
            "AUROC": auroc(new[0][unknown], known[0]), "with the class": chosen.auroc[name], "detected": detected,
            "alarms": alarms,
        }  # fmt: skip
    return {"chosen": chosen.score, "scores": scores}


def covered(job: Entry, options: argparse.Namespace) -> Entry:
    """Of each factor and coverage: the share of sets that hold the truth, its interval, and the mean size."""
    import ssl_mask
    from ssl_mask.evaluation.conformal import share

    out = options.out / f"sets-{job['source']}-{job['folds']}-{job['seed']}-{job['labels']}-{job['steps']}"
    data, images = options.data, None
    if job["source"] == "cifar":
        data, images = out / "data", cifar_folder(options.data) / "test"
        link(data, drawn(options, job["seed"], job["labels"]))
    run = trained(out / "runs", data, job, job["folds"])
    done = ssl_mask.predict([run], images=images, sets=COVERAGES[0], guard="off", write=False, quiet=True)
    assert done.sets is not None
    true, group = truth(job["source"], done, options)
    found: Entry = {}
    for coverage in COVERAGES:
        for i, (factor, held) in enumerate(done.sets.at(coverage).items()):
            value, low, high = share(held[np.arange(len(true)), true[:, i]], group)
            size = held.sum(axis=1).mean()
            found[f"{factor} {coverage}"] = f"{value:.3f} ({low:.3f} to {high:.3f}), {size:.2f} classes"
    return found


def truth(source: str, done: Any, options: argparse.Namespace) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """(n, factors) true classes and (n,) groups of predicted images."""
    schema, names = done.manifest.schema, [Path(row.path).name for row in done.manifest.rows]
    if source == "cifar":
        classes = read_classes(cifar_folder(options.data) / "test_answers.csv")
        return np.asarray([[schema.factors[0].classes.index(classes[name])] for name in names]), np.asarray(names)
    from leak_gain import persons_of

    answers, persons = read_truth(options.data / "eval_answers.csv"), persons_of(options)
    return schema.part(np.asarray([answers[n] for n in names])), np.asarray([str(persons[n]) for n in names])


if __name__ == "__main__":
    main()
