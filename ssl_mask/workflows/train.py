"""`sslmask train` and `sslmask uda`: build, fit, finish. The two differ in `algorithm.name` only."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from ssl_mask import devices
from ssl_mask.config import RunConfig, to_yaml, validate
from ssl_mask.console import Console
from ssl_mask.data.batches import train_batches
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.pseudo_labels import PseudoSide
from ssl_mask.data.unlabeled import Unlabeled
from ssl_mask.errors import DataError
from ssl_mask.files import write_json, write_text
from ssl_mask.guard.gate import run_gate
from ssl_mask.guard.provenance import leakage_record
from ssl_mask.reports import confusion_plot, plots
from ssl_mask.reports.data_card import write_cards
from ssl_mask.reports.run_card import run_card
from ssl_mask.runs import environment
from ssl_mask.runs.checkpoint import init_from, load_checkpoint
from ssl_mask.runs.run import Run, RunDir, create_run, find_run
from ssl_mask.training import session as setup
from ssl_mask.training.algorithm import make_algorithm, target_classes
from ssl_mask.training.ema import make_ema
from ssl_mask.training.fit import Job, Progress, data_record, fit
from ssl_mask.training.loop import Training, train_steps
from ssl_mask.training.optim import Schedule, build_optimizer, clipper
from ssl_mask.training.state import load_state


def train(
    config: RunConfig,
    *,
    resume: str | Path | None = None,
    length: Mapping[str, float] | None = None,
    dry_run: bool = False,
    quiet: bool = False,
) -> Run | None:
    """Train and return the run; `None` from a dry run, which leaves nothing behind.

    Args:
        config: what to do. With `resume`, only its `runs` counts: a run keeps its own configuration.
        resume: a run's name or path, or `latest`: continue it exactly.
        length: with `resume`, `{"steps": n}` or `{"epochs": n}` to go further than the run was meant to.
        dry_run: check configuration and data, run two steps, print estimates.
        quiet: print nothing.

    Raises:
        SslMaskError: any bad input; nothing already written is lost.
        Interrupted: Ctrl-C or SIGTERM; the state is saved.
    """
    run = find_run(resume, config.runs) if resume is not None else None
    if run is not None:
        config = resumed_config(run, length or {})
    accelerator = devices.make_accelerator(config.train.precision)
    console = Console(quiet=quiet or not accelerator.is_main_process)
    job = build(config, accelerator, console)
    job.batches(workers=0)  # refuses what is wrong with the augmentation before there is a run
    if dry_run:
        estimate(job)
        return None
    job.run = run
    if accelerator.is_main_process:
        job.run = start_run(job) if run is None else continue_run(job, run)
    if run is not None:
        job.progress = Progress.from_json(load_state(run.last, job.training))
    with job.run.locked() if job.run is not None and job.is_main else nullcontext():
        fit(job)
        if job.run is not None and job.is_main:
            finish(job, job.run)
    accelerator.wait_for_everyone()
    return Run(job.run) if job.run is not None else None


def uda(config: RunConfig, **options: Any) -> Run | None:
    """Train on labeled and unlabeled images: `train` with `algorithm.name` uda, unless the configuration names another.

    For the settings of the preset, name it when the configuration is made:
    `load_config({"algorithm": {"name": "uda"}, "data": {"unlabeled": ["extra"]}})`.
    """
    if config.algorithm.name == "supervised":
        config = config.model_copy(update={"algorithm": config.algorithm.model_copy(update={"name": "uda"})})
    return train(config, **options)


def resumed_config(run: RunDir, length: Mapping[str, float]) -> RunConfig:
    """The run's own configuration; only its length may change when it continues."""
    tree = run.config().model_dump(mode="json")
    if length:
        tree["train"] |= {"steps": None, "epochs": None, **length}
    return validate({**tree, "runs": str(run.path.parent), "name": run.name})


def build(config: RunConfig, accelerator: Accelerator, console: Console) -> Job:
    """Check everything that can be checked and load it; cheap checks first."""
    console.say(f"Preset {config.preset} ({_device(accelerator)})")
    manifest = setup.read_manifest(config.data, console)
    model, size = setup.make_model(config, manifest.schema)
    if config.init_from is not None:
        source = find_run(config.init_from, config.runs).best
        fresh = init_from(model, load_checkpoint(source), where=source)
        console.say(f"Start  weights of {source}" + (f"; fresh: {', '.join(fresh)}" if fresh else ""))
    train_side, val_side = setup.load_sides(manifest, config.data, size, accelerator, console)
    rows = manifest.with_rows(train_side.manifest.rows + val_side.manifest.rows)
    ancestors = ancestors_of(config)
    pseudo = setup.load_pseudo(rows, config.data, size, accelerator, console)
    unlabeled = None
    if config.algorithm.name != "supervised":
        unlabeled = setup.load_unlabeled(manifest, rows, config.data, size, accelerator, console)
        if pseudo is not None:
            unlabeled = setup.without_labeled(unlabeled, pseudo)
    guarded = run_gate(config, manifest, read_by(train_side, val_side, pseudo, unlabeled), accelerator, console)
    if guarded.drops:
        train_side, val_side = (s.without(guarded.dropped(n)) for n, s in (("train", train_side), ("val", val_side)))
        pseudo = None if pseudo is None else pseudo.without(guarded.dropped("pseudo-labeled"))
        if unlabeled is not None:
            unlabeled = unlabeled.without(guarded.dropped("unlabeled"), "overlaps validation or test images")
        rows = manifest.with_rows(train_side.manifest.rows + val_side.manifest.rows)
    if unlabeled is not None and not len(unlabeled.manifest):
        console.warn("Every image of the pool has a pseudo-label: none is left for consistency, which is off.")
        unlabeled, config = None, labels_only(config)
    if unlabeled is not None:
        setup.tell_batches(config, len(unlabeled.manifest), len(val_side.manifest), accelerator, console)
    steps = setup.settle_steps(config, len(train_side.manifest))
    model = model.to(accelerator.device)
    ema = make_ema(model, config.train.ema_decay)
    optim = config.optim
    optimizer = build_optimizer(
        model, kind=optim.optimizer, lr=optim.lr, backbone_lr_scale=optim.backbone_lr_scale,
        weight_decay=optim.weight_decay, momentum=optim.momentum,
    )  # fmt: skip
    prepared, optimizer = accelerator.prepare(setup.share_norms(model, config, accelerator), optimizer)
    live = accelerator.unwrap_model(prepared)
    training = Training(
        accelerator=accelerator,
        model=prepared,
        optimizer=optimizer,
        schedule=Schedule(optim.schedule, steps, optim.warmup, optim.final_lr_scale, optim.plateau_patience),
        ema=ema,
        algorithm=make_algorithm(config, train_side.manifest, accelerator, live=live, ema=ema),
        clip=clipper(clip_norm=optim.clip_norm, agc=optim.agc),
        steps=steps,
        accumulate=config.train.accumulate,
        seed=config.seed,
    )
    workers = devices.settle_workers(config.train.workers, accelerator)
    return Job(config, accelerator, console, rows, train_side, val_side, pseudo, unlabeled, size, training, workers,
               guarded, tuple(ancestors))  # fmt: skip


def read_by(
    train: setup.Side, val: setup.Side, pseudo: PseudoSide | None, unlabeled: Unlabeled | None
) -> dict[str, Manifest]:
    """The pools that a run reads, for the guard."""
    pools = {"train": train.manifest, "val": val.manifest}
    if pseudo is not None:
        pools["pseudo-labeled"] = pseudo.labels.manifest
    if unlabeled is not None:
        pools["unlabeled"] = unlabeled.manifest
    return pools


def ancestors_of(config: RunConfig) -> list[RunDir | None]:
    """The runs whose weights or predictions a run builds on; None for pseudo-labels that nobody knows the origin of."""
    found: list[RunDir | None] = [find_run(config.init_from, config.runs)] if config.init_from is not None else []
    if config.data.pseudo_labels is not None:
        teacher = RunDir(config.data.pseudo_labels.parent).teacher()
        found.append(RunDir(teacher) if teacher is not None else None)
    return found


def labels_only(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"algorithm": config.algorithm.model_copy(update={"name": "supervised"})})


def _device(accelerator: Accelerator) -> str:
    processes = accelerator.num_processes
    return f"{processes} x {accelerator.device.type}" if processes > 1 else str(accelerator.device.type)


def start_run(job: Job) -> RunDir:
    run = create_run(job.config, "train" if job.unlabeled is None else "uda")
    write_json(run.environment, _environment(job))
    write_text(run.manifest, job.manifest.to_csv())
    if job.unlabeled is not None:
        write_text(run.unlabeled, job.unlabeled.to_csv())
    write_cards(run, job.guarded, job.config.guard.cards)
    run.update(steps=job.training.steps, data=data_record(job), **dict(leakage_record(job.guarded, job.ancestors, run)))
    job.console.say(f"Run    {run.path}")
    return run


def continue_run(job: Job, run: RunDir) -> RunDir:
    """Check that a run is continued on the data it began with.

    Raises:
        DataError: the images, labels, split, unlabeled pool or pseudo-labels changed.
    """
    before, now = run.data(), data_record(job)
    pairs = {
        "data": (before.content_hash, now.content_hash),
        "unlabeled pool": tuple(d.unlabeled and d.unlabeled.content_hash for d in (before, now)),
        "pseudo-labels": tuple(d.pseudo and d.pseudo.sha256 for d in (before, now)),
    }
    for what, (then, today) in pairs.items():
        if then != today:
            raise DataError(
                f"The {what} in {job.config.data.root.absolute()} is not what {run.path} began with.",
                hint="Restore it, or start a new run (--init-from takes over the weights).",
            )
    run.update(status="running", steps=job.training.steps)
    write_text(run.config_file, to_yaml(job.config))
    return run


def _environment(job: Job) -> dict[str, Any]:
    return environment.describe(
        str(job.accelerator.device), job.accelerator.num_processes, job.accelerator.mixed_precision
    )


def finish(job: Job, run: RunDir) -> None:
    """Plots and run card of a finished run, and what to do next."""
    plots.write_curves(run.plots / "curves.svg", run.records())
    if job.unlabeled is not None:
        plots.write_consistency(
            run.plots / "consistency.svg", run.records(), target_classes(job.config, job.manifest.schema)
        )
    confusion_plot.write_confusion(run.plots / "confusion.svg", run.validation, job.manifest.schema)
    write_text(run.card, run_card(run))
    best = run.scores()
    job.console.say(
        f"Best   validation macro-F1 {best.macro_f1:.4f}, accuracy {best.accuracy:.4f} "
        f"({best.weights} weights, step {best.step}; leakage: {run.status().leakage})"
    )
    job.console.say(f"Saved  {run.path}  (read {run.card.name}; next: sslmask predict --run {run.path})")


def estimate(job: Job) -> None:
    """Run two steps and print what the whole would take."""
    batches = train_batches(job.batches(workers=0), start=0, stop=2, workers=0)
    # The first step pays for warming up; the second one is what a step costs.
    first, second = (time.monotonic() for _ in train_steps(job.training, batches, start=0))
    per_step = second - first
    total = per_step * job.training.steps
    job.console.say(f"Dry run: configuration and data are fine; {job.training.steps} steps of {per_step:.2f} s.")
    job.console.say(
        f"Estimate: {total / 60:.1f} minutes without evaluations, {_peak_memory(job.accelerator):.2f} GB memory."
    )


def _peak_memory(accelerator: Accelerator) -> float:
    """Gigabytes at the peak: of the GPU, or of this process."""
    if accelerator.device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
