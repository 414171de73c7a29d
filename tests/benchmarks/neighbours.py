"""What neighbours are worth: beside the network, for a class without training, and how fast a large gallery is.

    python tests/benchmarks/neighbours.py heads     # mask18: network, neighbours, both on eval; weights chosen on OOF
    python tests/benchmarks/neighbours.py classes   # a new class from 5, 20 and 50 images; what the old classes lose
    python tests/benchmarks/neighbours.py speed     # 10⁶ × 512 vectors: FAISS and torch, exact; an approximate index

`heads` trains a study of folds a seed and predicts eval three times: the network alone, a gallery of it alone, and both
(`--neighbours auto`). `classes` takes the class folders of CIFAR-10, trains without one class on `--labels` images of
each other, puts 5, 20 and 50 images of it into the gallery, and scores the test images of all classes; `retrained` is a
run that has the 50 too. `speed` draws vectors in clusters. Each job is one process and is kept in `--out`, so that a
run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from resumable import Entry, begun, cifar_folder, data_folder, read_classes, run_all
from rich.console import Console as Screen
from rich.table import Table

IMAGES = (5, 20, 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("heads", "classes", "speed"))
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--labels", type=int, default=50, help="images a class")
    parser.add_argument("--size", type=int, default=80)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out"))
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    work: dict[str, Callable[[Entry, argparse.Namespace], Entry]] = {
        "heads": head,
        "classes": new_class,
        "speed": speed,
    }
    if options.child is not None:
        print(json.dumps(work[options.part](options.child, options)))
        return
    jobs: dict[str, list[Entry]] = {
        "heads": [{"seed": seed, "folds": options.folds, "steps": options.steps} for seed in options.seeds],
        "classes": [
            {"class": name, "seed": seed, "labels": options.labels, "steps": options.steps}
            for seed in options.seeds
            for name in sorted(p.name for p in (cifar_folder(options.data) / "train").iterdir() if p.is_dir())
        ] if options.part == "classes" else [],
        "speed": [
            {"rows": rows, "width": options.width, "index": index} for rows in options.rows
            for index in ("torch", "faiss", "faiss ivf")
        ],
    }  # fmt: skip
    words = [options.part]
    for name in ("data", "size", "steps", "labels", "folds", "out"):
        words += [f"--{name}", str(getattr(options, name))]
    store = options.out / f"neighbours-{options.part}.jsonl"
    show(run_all(__file__, store, jobs[options.part], words, options.jobs))


def show(entries: list[Entry]) -> None:
    table = Table()
    for name in entries[0]:
        table.add_column(name)
    for entry in entries:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in entry.values()))
    Screen(width=200).print(table)


def head(job: Entry, options: argparse.Namespace) -> Entry:
    """Macro-F1 and recall of the oldest (the last class of the last factor) on eval, by network, neighbours, both."""
    import ssl_mask

    out = options.out / f"neighbours-heads-{job['seed']}"
    config = ssl_mask.load_config({
        "data": {"root": str(options.data)}, "seed": job["seed"], "name": "folds", "runs": str(out),
        "model": {"image_size": options.size}, "train": {"steps": job["steps"], "workers": 0},
    }, preset="laptop")  # fmt: skip
    ssl_mask.train_folds(config, folds=job["folds"], resume=begun(config), quiet=True)
    if not (out / "nearest").is_dir():
        ssl_mask.build_gallery("folds", runs_folder=out, name="nearest", quiet=True)
    found: Entry = {}
    for name, run, how in (("network", "folds", "off"), ("neighbours", "nearest", "off"), ("both", "folds", "auto")):
        done = ssl_mask.predict([run], runs_folder=out, neighbours=how, quiet=True)  # type: ignore[arg-type]
        scores = ssl_mask.evaluate(options.data / "eval_answers.csv", done.path, run=out / run)
        found |= {name: scores.macro_f1.value, f"{name} recall": oldest_recall(options.data, done)}
        if done.neighbours is not None:
            found["kept"] = ", ".join(f for f, record in done.neighbours[0].items() if record.kept) or "none"
    return found


def oldest_recall(data: Path, done: Any) -> float:
    """Recall of the last class of the last factor."""
    from ssl_mask.evaluation.answers import read_answers

    schema = done.manifest.schema
    truth = read_answers(data / "eval_answers.csv", schema, done.manifest.submission).joint
    true = schema.part(np.asarray([truth[row.id] for row in done.manifest.rows]))[:, -1]
    predicted = schema.part(done.probs.argmax(axis=1))[:, -1]
    last = true == len(schema.factors[-1].classes) - 1
    return float((predicted[last] == true[last]).mean())


def new_class(job: Entry, options: argparse.Namespace) -> Entry:
    """Recall of the new class, and accuracy of the images of old classes, without it and with 5, 20, 50 images."""
    import ssl_mask

    rng, out = np.random.default_rng(job["seed"]), options.out / f"neighbours-classes-{job['class']}-{job['seed']}"
    cifar = cifar_folder(options.data)
    folders = sorted(p for p in (cifar / "train").iterdir() if p.is_dir())
    drawn = {p.name: [str(f) for f in rng.permutation(sorted(p.iterdir()))] for p in folders}
    labels = {name: files[: job["labels"]] for name, files in drawn.items()}
    new = drawn[job["class"]]
    for name, without in (("old", {**labels, job["class"]: []}), ("retrained", {**labels, job["class"]: new[:50]})):
        link(out / name, without)
        config = ssl_mask.load_config({
            "data": {"root": str(out / name), "outside_root": "allow"}, "seed": job["seed"], "name": name,
            "runs": str(out / "runs"), "model": {"image_size": options.size},
            "train": {"steps": job["steps"], "workers": 0}, "guard": {"mode": "off"},
        }, preset="laptop")  # fmt: skip
        resume = begun(config)
        if resume is None or ssl_mask.load_run(resume).status.status != "finished":
            ssl_mask.train(config, resume=resume, quiet=True)
    shutil.rmtree(out / "runs" / "g", ignore_errors=True)
    ssl_mask.build_gallery("old", runs_folder=out / "runs", name="g", quiet=True)
    found: Entry = {}
    for run, name in (("old", "old"), ("retrained", "retrained"), ("g", "gallery")):
        found |= {f"{k} {name}": v for k, v in scored(out, run, cifar, job["class"]).items()}
    for before, count in zip((0, *IMAGES[:-1]), IMAGES, strict=True):
        more = out / f"new-{count}"
        link(out, {more.name: new[before:count]})
        ssl_mask.add_to_gallery(job["class"], more, gallery="g", runs_folder=out / "runs", quiet=True)
        found |= {f"{k} {count}": v for k, v in scored(out, "g", cifar, job["class"]).items()}
    return found


def link(root: Path, classes: dict[str, list[str]]) -> None:
    """A folder a class, of links to its images."""
    for name, files in classes.items():
        if files:
            (root / name).mkdir(parents=True, exist_ok=True)
        for file in files:
            place = root / name / Path(file).name
            if not place.is_symlink():
                place.symlink_to(Path(file).absolute())


def scored(out: Path, run: str, cifar: Path, new: str) -> dict[str, float]:
    import ssl_mask

    done = ssl_mask.predict(
        [run], runs_folder=out / "runs", images=cifar / "test", guard="off", write=False, quiet=True
    )
    classes = done.manifest.schema.joint_classes
    told = {
        Path(row.path).name: classes[i] for row, i in zip(done.manifest.rows, done.probs.argmax(axis=1), strict=True)
    }
    truth = read_classes(cifar / "test_answers.csv")
    right = {name: [told[f] == c for f, c in truth.items() if (c == new) == is_new]
             for name, is_new in (("new recall", True), ("old accuracy", False))}  # fmt: skip
    return {name: float(np.mean(values)) for name, values in right.items()}


def speed(job: Entry, options: argparse.Namespace) -> Entry:
    """Seconds to build and to search 100 vectors, memory in MB, and recall@10 against the exact result of torch."""
    from ssl_mask.inference.nearest import exact_search

    del options
    vectors, queries = clustered(job["rows"], job["width"])
    before, began = memory(), time.perf_counter()
    search = ours(vectors) if job["index"] == "torch" else theirs(vectors, job["index"])
    built = time.perf_counter()
    rows = search(queries, 10)
    done, used = time.perf_counter(), memory() - before
    exact = exact_search(vectors)(queries, 10).rows
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows.tolist(), exact.tolist(), strict=True)])
    return {"build s": built - began, "search s": done - built, "MB": used, "recall@10": float(recall)}


Rows = NDArray[np.int64]
Search = Callable[[NDArray[np.float32], int], Rows]


def ours(vectors: NDArray[np.float32]) -> Search:
    from ssl_mask.inference.nearest import exact_search

    search = exact_search(vectors)
    return lambda asked, count: search(asked, count).rows


def theirs(vectors: NDArray[np.float32], kind: str) -> Search:
    """FAISS: exact, or with an inverted file (IVF), of which 16 cells are looked at."""
    import faiss

    cells = max(1, int(4 * np.sqrt(len(vectors))))
    name = f"IVF{cells},Flat" if kind == "faiss ivf" else "Flat"
    index: Any = faiss.index_factory(vectors.shape[1], name, faiss.METRIC_INNER_PRODUCT)
    if kind == "faiss ivf":
        index.train(vectors[:: max(1, len(vectors) // (40 * cells))])
        index.nprobe = 16
    index.add(vectors)
    return lambda asked, count: np.asarray(index.search(asked, count)[1])


def clustered(count: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors of length 1 around 1,000 centres, and 100 more to search for."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1000, width)).astype(np.float32)
    made = centres[rng.integers(0, 1000, count + 100)]
    for first in range(0, len(made), 100_000):
        block = made[first : first + 100_000]
        block += rng.normal(size=block.shape).astype(np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return made[:count], made[count:]


def memory() -> float:
    """The most that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
