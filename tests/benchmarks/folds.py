"""What folds are worth: how honest their score is, and what ensembles, factor models and honest pseudo-labels gain.

    python tests/benchmarks/folds.py [--data DIR] [--seeds 0 1 2] [--jobs 2] [--kinds score rank gain certify leak]

- score: what a user is told against eval/. A single split tells the validation macro-F1 of its best step; a study of
  folds tells its pooled out-of-fold macro-F1 at the common step. Each is compared with eval macro-F1 of the models that
  it speaks of: the member at its own best step, and the mean of the members at the common step
- rank: Spearman correlation with eval over the recipes, of the validation of one split and of out-of-fold
- gain: eval macro-F1 of one model, of the ensemble of its folds, of factor models, of UDA, after a round of
  pseudo-labels that do not leak through folds (soft labels, students of the UDA study), and of one model on all labels
- certify: the share of extra/ that the precision rule selects per factor, with one fold of validation and with all
  out-of-fold predictions, and how right it is
- leak: students of the ensemble of all folds against students of honest teachers, out-of-fold and on eval/

The labeled persons, 60 or all 300, are drawn from train/; the images of the others join extra/ as the pool. Seed s
draws persons s and trains with seed s on split s. Settings were chosen before, on other splits; the answers of eval/
and extra/ are read here and nowhere else. Intervals are paired and by image, for the answers name no persons: they are
too narrow. All at `--size` px and `--steps` steps of `--batch` labeled images. About 60 studies of 5 runs, more than 2
hours on 2 cores; `--kinds` and `--seeds` take only some. Every study is a process of one thread; what is already in
`--out`/folds.jsonl is not redone, what was begun goes on. After a change of the code, choose a new `--out`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from faces import drawn, pool_of
from numpy.typing import NDArray
from resumable import Entry, arguments, begun, read_truth, run_all
from rich.console import Console
from rich.table import Table

from ssl_mask.config import merge
from ssl_mask.evaluation.metrics import macro_f1, paired_bootstrap
from ssl_mask.files import write_json

CLASSES, FOLDS, FEW, ALL = 18, 5, 60, 300
OWN_BEST = "own_best.json"
KINDS = ("score", "rank", "gain", "certify", "leak")
RECIPES: dict[str, Entry] = {
    "laptop": {},
    "all layers": {"model": {"freeze_stages": 0, "freeze_norm": False}, "optim": {"backbone_lr_scale": 1.0}},
    "linear head": {"model": {"head": "linear"}},
    "light augmentation": {"augment": {"preset": "light"}},
    "frozen backbone": {"model": {"tuning": "probe"}},
    "plain loss": {"loss": {"margin": 0.0, "label_smoothing": 0.0}, "train": {"sampler": "shuffle"}},
}
"""What a user would try, all by the same steps."""
TWO = ("laptop", "all layers")
"""The recipes that have all split seeds; the others have the first."""
FACTORS: Entry = {"mask": {"augment": {"preset": "light"}}, "age": {"loss": {"label_smoothing": 0.2}}}


def main() -> None:
    options = arguments(__doc__ or "", kinds=KINDS)
    if options.child:
        print(json.dumps(child(options)))
        return
    words = ["--data", str(options.data.resolve()), "--out", str(options.out)]
    store = options.out / "folds.jsonl"
    entries = [e for wave in waves(options) for e in run_all(__file__, store, wave, words, options.jobs)]
    show(entries, options)


def waves(options: argparse.Namespace) -> list[list[Entry]]:
    """The studies to train; a wave may need those before it."""
    same = {"size": options.size, "steps": options.steps, "batch": options.batch}
    first, kinds = options.seeds[0], set(options.kinds)

    def job(what: str, recipe: str, persons: int, seed: int) -> Entry:
        return {"what": what, "recipe": recipe, "persons": persons, "seed": seed, **same}

    folds = [job("folds", "laptop", n, s) for n in (FEW, ALL) for s in options.seeds]
    if kinds & {"score", "rank"}:
        folds += [job("folds", "all layers", FEW, s) for s in options.seeds]
    if "rank" in kinds:
        folds += [job("folds", name, FEW, first) for name in RECIPES if name not in TWO]
    teachers = [job("uda", "laptop", FEW, s) for s in options.seeds] if kinds & {"gain", "leak"} else []
    later: list[Entry] = []
    if "gain" in kinds:
        teachers += [job("uda", "laptop", ALL, first)]
        later = [job("factors", "laptop", n, s) for n in (FEW, ALL) for s in options.seeds if n == FEW or s == first]
        later += [job("refit", "laptop", n, s) for n in (FEW, ALL) for s in options.seeds]
        later += [job("pseudo", "laptop", ALL, first)]
    if kinds & {"gain", "leak"}:
        later += [job("pseudo", "laptop", FEW, s) for s in options.seeds]
    leaks = [job("leak", "laptop", FEW, s) for s in options.seeds] if "leak" in kinds else []
    return [folds, teachers, later, leaks]


# ---- one study ----


def child(options: argparse.Namespace) -> Entry:
    job, runs = options.child, options.out / "folds-runs"
    data = drawn(options.data, options.out / f"faces-{job['persons']}-{job['seed']}", job["persons"], job["seed"])
    layers: Entry = {
        "seed": job["seed"],
        "runs": str(runs),
        "name": name_of(job),
        "data": {"root": str(data), "split_seed": job["seed"]},
        "model": {"image_size": job["size"]},
        "train": {"steps": job["steps"], "batch_size": job["batch"], "eval_every": max(1, job["steps"] // 5)},
        "guard": {"mode": "off"},  # what is measured here is the gain; leak_gain.py measures leaks
    }
    kinds = {"folds": folds, "refit": refit, "uda": uda, "factors": factors, "pseudo": pseudo, "leak": leak}
    return kinds[job["what"]](job, layers, data)


def name_of(job: Entry) -> str:
    return "-".join([job["what"], job["recipe"].replace(" ", "-"), str(job["persons"]), str(job["seed"])])


def folds(job: Entry, layers: Entry, data: Path) -> Entry:
    """A study of folds; each run is asked for eval/ at its own best step before the common one is set."""
    import ssl_mask

    config = ssl_mask.load_config(merge(layers, RECIPES[job["recipe"]]), preset="laptop")
    study, found = trained(config, "train", keep_own_best)
    if job["persons"] == ALL and job["recipe"] == "laptop":
        store_extra(study, data)
    return {**found, "alone": [json.loads((run.path / OWN_BEST).read_text()) for run in study.members()]}


def keep_own_best(run: Path) -> None:
    """What a run says of eval/ at its own best step; later its weights are those of the common one."""
    if not (run / OWN_BEST).is_file():
        write_json(run / OWN_BEST, classes(probs_of([run])))


def refit(job: Entry, layers: Entry, data: Path) -> Entry:  # noqa: ARG001
    """One model on all labels, of the step that suits the folds."""
    from ssl_mask.console import Console as Quiet
    from ssl_mask.devices import make_accelerator
    from ssl_mask.studies.members import Trainer
    from ssl_mask.studies.refit import train_refit
    from ssl_mask.workflows.train import train

    study = study_of({**job, "what": "folds"}, layers)
    run = train_refit(study, Trainer(train, make_accelerator("fp32"), Quiet(quiet=True), quiet=True))
    return {"ensemble": classes(probs_of([run.path])), "seconds": run.status().seconds}


def uda(job: Entry, layers: Entry, data: Path) -> Entry:  # noqa: ARG001
    import ssl_mask

    settings = merge(layers, {"data": {"unlabeled": pool_of(data)}})
    return trained(ssl_mask.load_config(settings, preset="uda_laptop"), "uda")[1]


def factors(job: Entry, layers: Entry, data: Path) -> Entry:  # noqa: ARG001
    import ssl_mask
    from ssl_mask.workflows.factors import train_factors

    config = ssl_mask.load_config({**layers, "factors": FACTORS}, preset="laptop")
    study = train_factors(config, folds=FOLDS, resume=begun(config), quiet=True)
    assert study is not None  # for the type checker: a dry run has none
    return {"ensemble": classes(probs_of([study.path])), "oof": study.record().macro_f1.value}


def pseudo(job: Entry, layers: Entry, data: Path) -> Entry:
    """A round by folds whose teachers are the folds of UDA, and one model on all labels."""
    import ssl_mask
    from ssl_mask.workflows.pseudo_folds import pseudo_folds

    teacher = study_of({**job, "what": "uda"}, layers)
    more = {"data": {"unlabeled": pool_of(data)}, "pseudo": {"rounds": 1, "teachers": [str(teacher.path)]}}
    config = ssl_mask.load_config(merge(layers, more), preset="pseudo_soft_laptop")
    study = pseudo_folds(config, folds=FOLDS, refit=True, resume=begun(config), quiet=True)
    students = study.round(1)
    return {
        "oof": students.record().macro_f1.value,
        "oof_before": teacher.record().macro_f1.value,
        "ensemble": classes(probs_of([students.path])),
        **({"refit": classes(probs_of([students.refit.path]))} if students.refit.best.is_file() else {}),
    }  # a round that is not better out-of-fold has no model on all labels


def leak(job: Entry, layers: Entry, data: Path) -> Entry:  # noqa: ARG001
    """The same students, but of pseudo-labels by all folds together: those of the model on all labels."""
    import ssl_mask

    before = layers["runs"] + "/" + name_of({**job, "what": "pseudo"})
    table = Path(before) / "rounds/01/refit/pseudo_labels.csv"
    more = {"data": {"pseudo_labels": str(table)}}
    return trained(ssl_mask.load_config(merge(layers, more), preset="pseudo_soft_laptop"), "train")[1]


def study_of(job: Entry, layers: Entry) -> Any:
    """A finished study of folds that another job has trained."""
    from ssl_mask.runs.folds import FoldStudy
    from ssl_mask.runs.study import Study

    return FoldStudy(Study(Path(layers["runs"]) / name_of(job)))


def trained(config: Any, verb: str, after: Any = None) -> tuple[Any, Entry]:
    """A finished study, and what it says of itself and of eval/."""
    from ssl_mask.console import Console as Quiet
    from ssl_mask.devices import make_accelerator
    from ssl_mask.runs.folds import FoldsSettings, FoldStudy
    from ssl_mask.runs.study import Study
    from ssl_mask.studies.folds import create_folds, run_folds
    from ssl_mask.studies.members import Trainer
    from ssl_mask.workflows.train import train

    left = begun(config)
    path = config.runs / config.name
    study = FoldStudy(Study(left)) if left else create_folds(path, verb, config, FoldsSettings(folds=FOLDS))
    runs = study.members()

    def ask(finished: int) -> None:
        if after is not None:
            after(runs[finished - 1].path)

    record = run_folds(study, Trainer(train, make_accelerator("fp32"), Quiet(quiet=True), quiet=True), after=ask)
    return study, {
        "path": str(study.path),
        "oof": record.macro_f1.value,
        "oof_own_best": record.macro_f1_own_best,
        "val": [record.own_best[name].macro_f1 for name in record.members],
        "step": record.step,
        "cpu": record.cpu_seconds,
        "members": [classes(probs_of([run.path])) for run in runs],
        "ensemble": classes(probs_of([study.path])),
        "names": [PurePosixPath(name).name for name in eval_names(study.path)],
    }


def probs_of(runs: Sequence[Path], images: Path | None = None) -> NDArray[np.float32]:
    import ssl_mask

    return ssl_mask.predict(list(runs), images=images, guard="off", write=False, quiet=True).probs


def eval_names(run: Path) -> list[str]:
    import ssl_mask

    predictions = ssl_mask.predict([run], guard="off", write=False, quiet=True)
    return [row.path for row in predictions.manifest.rows]


def classes(probs: NDArray[np.float32]) -> list[int]:
    found: list[int] = probs.argmax(axis=1).tolist()
    return found


def store_extra(study: Any, data: Path) -> None:
    """What the first run and the ensemble say of extra/."""
    import ssl_mask

    extra, first = data / "extra", study.members()[0].path
    rows = ssl_mask.predict([first], images=extra, guard="off", write=False, quiet=True).manifest.rows
    np.savez_compressed(
        study.path / "extra.npz",
        names=np.asarray([PurePosixPath(row.path).name for row in rows]),
        ensemble=probs_of([study.path], extra),
        first=probs_of([first], extra),
    )


# ---- the tables ----


def show(entries: Sequence[Entry], options: argparse.Namespace) -> None:
    screen, truth = Console(), read_truth(options.data / "eval_answers.csv")
    true = np.asarray([truth[name] for name in entries[0]["names"]])
    parts = {"score": scores, "rank": ranks, "gain": gains, "leak": leaks}
    for kind in options.kinds:
        if kind == "certify":
            certify(screen, entries, options.data)
        else:
            parts[kind](screen, entries, true)


def of(entries: Sequence[Entry], what: str, recipe: str = "laptop", persons: int = FEW) -> list[Entry]:
    wanted = {"what": what, "recipe": recipe, "persons": persons}
    return [e for e in entries if e.items() >= wanted.items()]


def f1(true: NDArray[np.int64], predicted: Sequence[int]) -> float:
    return macro_f1(true, np.asarray(predicted), CLASSES)


def mean_f1(true: NDArray[np.int64], runs: Sequence[Sequence[int]]) -> float:
    return statistics.mean(f1(true, run) for run in runs)


def scores(screen: Console, entries: Sequence[Entry], true: NDArray[np.int64]) -> None:
    """How far what a user is told is from what new persons give."""
    table = Table("recipe", "persons", "studies", "|val - eval|", "val - eval", "|OOF - eval|", "OOF - eval", "ratio")
    for persons, recipe in [(FEW, name) for name in TWO] + [(ALL, "laptop")]:
        studies = of(entries, "folds", recipe, persons)
        single = [v - f1(true, p) for e in studies for v, p in zip(e["val"], e["alone"], strict=True)]
        pooled = [e["oof"] - mean_f1(true, e["members"]) for e in studies]
        far = [statistics.mean(map(abs, gaps)) for gaps in (single, pooled)]
        cells = f"{far[0]:.3f}", f"{statistics.mean(single):+.3f}", f"{far[1]:.3f}", f"{statistics.mean(pooled):+.3f}"
        table.add_row(recipe, str(persons), str(len(studies)), *cells, f"{far[1] / far[0]:.2f}")
    screen.print(table)


def ranks(screen: Console, entries: Sequence[Entry], true: NDArray[np.int64]) -> None:
    """Do validation and out-of-fold order the recipes as new persons do?"""
    from scipy.stats import spearmanr

    table = Table("recipe", "val of each fold", "OOF", "eval, mean of the members")
    first = {name: of(entries, "folds", name)[0] for name in RECIPES}
    for name, entry in first.items():
        told = ", ".join(f"{v:.3f}" for v in entry["val"])
        table.add_row(name, told, f"{entry['oof']:.3f}", f"{mean_f1(true, entry['members']):.3f}")
    screen.print(table)
    studies = list(first.values())
    by_eval = [mean_f1(true, e["members"]) for e in studies]
    single = [
        spearmanr([e["val"][k] for e in studies], [f1(true, e["alone"][k]) for e in studies]).statistic
        for k in range(FOLDS)
    ]
    pooled = spearmanr([e["oof"] for e in studies], by_eval).statistic
    told = ", ".join(f"{r:+.2f}" for r in single)
    screen.print(f"Spearman with eval over {len(studies)} recipes: one split {told}; out-of-fold {pooled:+.2f}")


def gains(screen: Console, entries: Sequence[Entry], true: NDArray[np.int64]) -> None:
    """Each way against one model of labels only, which is a member of a study at its own best step."""
    for persons in (FEW, ALL):
        studies = of(entries, "folds", persons=persons)
        base = np.stack([run for e in studies for run in e["alone"]])
        low = mean_f1(true, base.tolist())
        screen.print(f"{persons} persons: one model on labels only, eval macro-F1 {low:.3f} ({len(base)} models)")
        for title, runs in ways(entries, persons).items():
            found = paired_bootstrap(true, base, np.stack(runs), np.arange(len(true)), CLASSES)
            gain, right = found["macro_f1"], found["accuracy"]
            screen.print(
                f"  {title}: {low + gain.value:.3f} ({gain.value:+.3f}, 95 % {gain.low:+.3f} to {gain.high:+.3f}), "
                f"accuracy {right.value:+.3f} ({right.low:+.3f} to {right.high:+.3f}); error cut by "
                f"{gain.value / (1 - low):.1%}; {len(runs)} studies"
            )


def ways(entries: Sequence[Entry], persons: int) -> dict[str, list[list[int]]]:
    """What is compared with one model: title -> predicted classes of each study."""
    found = {
        "ensemble of 5 folds": of(entries, "folds", persons=persons),
        "one model on all labels (refit)": of(entries, "refit", persons=persons),
        "factor models, 5 folds each": of(entries, "factors", persons=persons),
        "UDA, ensemble of 5 folds": of(entries, "uda", persons=persons),
        "a round of honest pseudo-labels after UDA, ensemble of 5 folds": of(entries, "pseudo", persons=persons),
    }
    told = {title: [e["ensemble"] for e in each] for title, each in found.items()}
    told["the same, one model on all labels (refit)"] = [
        e["refit"] for e in of(entries, "pseudo", persons=persons) if "refit" in e
    ]
    return {title: runs for title, runs in told.items() if runs}


def leaks(screen: Console, entries: Sequence[Entry], true: NDArray[np.int64]) -> None:
    """What the out-of-fold score promises, and what eval gives, with honest teachers and with all of them."""
    honest, leaked = of(entries, "pseudo"), of(entries, "leak")
    promised = [statistics.mean(e["oof"] for e in each) for each in (honest, leaked)]
    screen.print(f"out-of-fold macro-F1: honest teachers {promised[0]:.3f}, all folds' {promised[1]:.3f}")
    before, after = (np.stack([e["ensemble"] for e in each]) for each in (honest, leaked))
    found = paired_bootstrap(true, before, after, np.arange(len(true)), CLASSES)["macro_f1"]
    given = [mean_f1(true, each.tolist()) for each in (before, after)]
    screen.print(
        f"eval macro-F1: honest {given[0]:.3f}, leaked {given[1]:.3f} ({found.value:+.3f}, 95 % {found.low:+.3f} to "
        f"{found.high:+.3f})"
    )


def certify(screen: Console, entries: Sequence[Entry], data: Path) -> None:
    """What the precision rule selects of extra/ per factor, and how right that is."""
    from ssl_mask.data.layouts import read_dataset
    from ssl_mask.data.predictions import read_validation
    from ssl_mask.selection.precision import precision_thresholds
    from ssl_mask.selection.rules import above, top_prediction

    schema, truth = read_dataset(data).schema, read_truth(data / "extra_answers.csv")
    table = Table("target", "seed", "thresholds of", "factor", "selected", "right")
    for entry in of(entries, "folds", persons=ALL):
        study = Path(entry["path"])
        extra = np.load(study / "extra.npz")
        true = schema.part(np.asarray([truth[name] for name in extra["names"].tolist()]))
        for target in (0.95, 0.9):
            for source, file in (("first", study / "fold-0/validation.parquet"), ("ensemble", study / "oof.parquet")):
                known = read_validation(file, schema)
                labels, seen = schema.part(known.true), schema.marginals(known.probs)
                for i, (factor, probs) in enumerate(schema.marginals(extra[source]).items()):
                    limits = precision_thresholds(
                        top_prediction(seen[factor]), labels[:, i], probs.shape[1], target, known.group
                    )
                    tops = top_prediction(probs)
                    chosen = above(tops, limits.thresholds)
                    right = f"{(tops.predicted == true[:, i])[chosen].mean():.3f}" if chosen.any() else "-"
                    told = f"{source} ({len(known)} images)"
                    table.add_row(str(target), str(entry["seed"]), told, factor, f"{chosen.mean():.3f}", right)
    screen.print(table)


if __name__ == "__main__":
    main()
