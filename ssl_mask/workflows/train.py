"""`sslmask train`: build, train, evaluate, save. Reads from top to bottom."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from ssl_mask import environment
from ssl_mask.cards.run_card import run_card
from ssl_mask.config import RunConfig, to_yaml, validate
from ssl_mask.data.batches import train_batches
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import DataError, Interrupted
from ssl_mask.files import write_json, write_text
from ssl_mask.reports import plots
from ssl_mask.reports.console import Console
from ssl_mask.reports.tables import write_probabilities
from ssl_mask.runs import Run, RunDir, create_run, find_run
from ssl_mask.training.checkpoints import init_from, load_checkpoint, load_state, save_checkpoint, save_state
from ssl_mask.training.ema import make_ema
from ssl_mask.training.evaluation import HeadLogits, Scores, mean_probs, predict_logits, score
from ssl_mask.training.interrupt import StopSignal
from ssl_mask.training.loop import Training, train_steps
from ssl_mask.training.optim import Schedule, build_optimizer, clipper
from ssl_mask.types import Losses
from ssl_mask.workflows import setup


@dataclass
class Progress:
    """What a resumed run must know about itself."""

    step: int = 0
    best: dict[str, Any] | None = None
    waited: int = 0
    seconds: float = 0.0


@dataclass
class Job:
    """Everything one training run holds on to."""

    config: RunConfig
    accelerator: Accelerator
    console: Console
    manifest: Manifest
    train: setup.Side
    val: setup.Side
    size: int
    training: Training
    workers: int
    run: RunDir | None = None
    progress: Progress = field(default_factory=Progress)

    @property
    def is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)


def train(
    config: RunConfig,
    *,
    resume: str | Path | None = None,
    length: Mapping[str, float] | None = None,
    dry_run: bool = False,
    quiet: bool = False,
) -> Run | None:
    """Train on labels and return the run; `None` from a dry run, which leaves nothing behind.

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
        config = resumed_config(run, config.runs, length or {})
    accelerator = setup.make_accelerator(config.train.precision)
    console = Console(quiet=quiet or not accelerator.is_main_process)
    job = build(config, accelerator, console)
    if dry_run:
        estimate(job)
        return None
    job.run = run
    if accelerator.is_main_process:
        job.run = start_run(job) if run is None else continue_run(job, run)
    if run is not None:
        job.progress = Progress(**load_state(run.last, job.training))
    with job.run.locked() if job.run is not None and job.is_main else nullcontext():
        fit(job)
        if job.run is not None and job.is_main:
            finish(job, job.run)
    accelerator.wait_for_everyone()
    return Run(job.run) if job.run is not None else None


def resumed_config(run: RunDir, runs: Path, length: Mapping[str, float]) -> RunConfig:
    """The run's own configuration; only its length may change when it continues."""
    tree = run.config().model_dump(mode="json")
    if length:
        tree["train"] |= {"steps": None, "epochs": None, **length}
    return validate({**tree, "runs": str(runs), "name": run.name})


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
    steps = setup.settle_steps(config, len(train_side.manifest))
    model = model.to(accelerator.device)
    ema = make_ema(model, config.train.ema_decay)
    optim = config.optim
    optimizer = build_optimizer(
        model, kind=optim.optimizer, lr=optim.lr, backbone_lr_scale=optim.backbone_lr_scale,
        weight_decay=optim.weight_decay, momentum=optim.momentum,
    )  # fmt: skip
    prepared, optimizer = accelerator.prepare(setup.share_norms(model, config, accelerator), optimizer)
    training = Training(
        accelerator=accelerator,
        model=prepared,
        optimizer=optimizer,
        schedule=Schedule(optim.schedule, steps, optim.warmup, optim.final_lr_scale, optim.plateau_patience),
        ema=ema,
        algorithm=setup.make_supervised(config, train_side.manifest, accelerator.device),
        clip=clipper(clip_norm=optim.clip_norm, agc=optim.agc),
        steps=steps,
        accumulate=config.train.accumulate,
        seed=config.seed,
    )
    workers = setup.settle_workers(config.train.workers, accelerator)
    sides = train_side.manifest.rows + val_side.manifest.rows
    return Job(config, accelerator, console, manifest.with_rows(sides), train_side, val_side, size, training, workers)


def _device(accelerator: Accelerator) -> str:
    processes = accelerator.num_processes
    return f"{processes} x {accelerator.device.type}" if processes > 1 else str(accelerator.device.type)


def start_run(job: Job) -> RunDir:
    run = create_run(job.config, "train")
    write_json(run.environment, _environment(job))
    write_text(run.manifest, job.manifest.to_csv())
    run.update(steps=job.training.steps, data=_data_record(job))
    job.console.say(f"Run    {run.path}")
    return run


def continue_run(job: Job, run: RunDir) -> RunDir:
    """Check that a run is continued on the data it began with.

    Raises:
        DataError: the images, labels or split changed.
    """
    before = run.status()["data"]["content_hash"]
    if before != job.manifest.content_hash:
        raise DataError(
            f"The data in {job.config.data.root.absolute()} is not what {run.path} began with.",
            hint="Restore it, or start a new run (--init-from takes over the weights).",
        )
    run.update(status="running", steps=job.training.steps)
    write_text(run.config_file, to_yaml(job.config))
    return run


def _environment(job: Job) -> dict[str, Any]:
    return environment.describe(
        str(job.accelerator.device), job.accelerator.num_processes, job.accelerator.mixed_precision
    )


def _data_record(job: Job) -> dict[str, Any]:
    manifest = job.manifest
    return {
        "content_hash": manifest.content_hash,
        "layout": manifest.layout,
        "root": str(manifest.root),
        "grouped": manifest.grouped,
        "train_images": len(job.train.manifest),
        "val_images": len(job.val.manifest),
        "train_groups": len(set(job.train.manifest.groups)),
        "val_groups": len(set(job.val.manifest.groups)),
    }


def fit(job: Job) -> None:
    """Train to the last step, with everything that happens every n steps."""
    config, training, progress = job.config.train, job.training, job.progress
    if progress.step:
        if job.run is not None and job.is_main:
            job.run.forget_after(progress.step)
        job.console.say(f"Resume {progress.step} of {training.steps} steps are done")
    eval_every = config.eval_every or max(1, training.steps // 10)
    save_every = config.save_every or eval_every
    images = setup.make_training_images(job.config, job.train, job.size)
    stream = setup.make_stream(job.config, job.train.manifest, job.accelerator)
    pin = job.accelerator.device.type == "cuda"
    batches = train_batches(images, stream, start=progress.step, stop=training.steps, workers=job.workers, pin=pin)
    began = time.monotonic() - progress.seconds
    first, clock = progress.step, time.monotonic()
    with StopSignal() as stop, closing(batches), job.console.progress("Training", training.steps) as advance:
        for step, losses in train_steps(training, batches, start=progress.step):
            progress.step, progress.seconds = step, time.monotonic() - began
            last = step == training.steps
            if step % config.log_every == 0 or last:
                rate = (step - first) * config.batch_size / (time.monotonic() - clock)
                advance(step, log_step(job, step, losses, rate))
                first, clock = step, time.monotonic()
            signal_number = stop.agreed(job.accelerator) if job.accelerator.num_processes == 1 or not step % 10 else 0
            if signal_number:
                save_and_leave(job, signal_number)
            if step % eval_every == 0 or last:
                done = evaluate_and_keep(job, step) and config.patience > 0
                first, clock = step, time.monotonic()
                if done:
                    job.console.say(f"Early stop: {progress.waited} evaluations without a better score.")
                    break
            if (step % save_every == 0 or last) and job.run is not None and job.is_main:
                save(job, job.run)
    if job.run is not None and job.is_main:
        save(job, job.run)
        job.run.update(status="finished", step=progress.step, seconds=round(progress.seconds, 1))


def log_step(job: Job, step: int, losses: Losses, rate: float) -> str:
    """Append a line to metrics.jsonl; returns the note for the progress bar."""
    terms, stats = _over_processes(losses.terms, job.accelerator), _over_processes(losses.stats, job.accelerator)
    lr = max(g["lr"] for g in job.training.optimizer.param_groups)
    if job.run is not None and job.is_main:
        job.run.log(
            kind="train", step=step, loss=round(sum(terms.values()), 6), terms=terms, stats=stats, lr=lr,
            images_per_second=round(rate, 1),
        )  # fmt: skip
    parts = " ".join(f"{k} {v:.3f}" for k, v in terms.items())
    return f"loss {sum(terms.values()):.3f} ({parts})  {rate:.0f} images/s"


def _over_processes(values: dict[str, Tensor], accelerator: Accelerator) -> dict[str, float]:
    """Means over all processes, which hold equal shares of the batch."""
    mean = accelerator.reduce(torch.stack(list(values.values())).float(), reduction="mean")
    return {k: round(v, 6) for k, v in zip(values, mean.tolist(), strict=True)}


def evaluate_and_keep(job: Job, step: int) -> bool:
    """Score live and averaged weights on validation; keep the best. True when patience has run out."""
    candidates = {"live": job.accelerator.unwrap_model(job.training.model)}
    if job.training.ema is not None:
        candidates["ema"] = job.training.ema.module
    schema, target, rows = job.manifest.schema, job.config.data.target, job.val.manifest
    results: dict[str, tuple[Scores, HeadLogits]] = {}
    for kind, model in candidates.items():
        logits = predict_logits(
            model, job.val.images, accelerator=job.accelerator, batch_size=_eval_batch(job), workers=0
        )[0]
        head_labels = schema.head_labels(rows.labels, target)
        results[kind] = score(logits, head_labels, rows.joint, len(schema.joint_classes)), logits
    kind = max(results, key=lambda k: results[k][0].macro_f1)
    scores, logits = results[kind]
    progress = job.progress
    better = progress.best is None or scores.macro_f1 > progress.best["macro_f1"]
    progress.waited = 0 if better else progress.waited + 1
    job.training.schedule.scored(scores.macro_f1)
    if better:
        progress.best = {"step": step, "weights": kind, **scores._asdict()}
    if job.run is not None and job.is_main:
        for name, (s, _) in results.items():
            job.run.log(kind="val", step=step, weights=name, **s._asdict())
        if better:
            keep_best(job, job.run, candidates[kind], scores, logits)
    job.console.say(_validation_line(step, results, better=better))
    return bool(progress.waited >= job.config.train.patience)


def _eval_batch(job: Job) -> int:
    return max(64, job.config.train.batch_size // int(job.accelerator.num_processes))


def _validation_line(step: int, results: dict[str, tuple[Scores, HeadLogits]], *, better: bool) -> str:
    parts = [f"{k} macro-F1 {s.macro_f1:.3f} accuracy {s.accuracy:.3f}" for k, (s, _) in results.items()]
    return f"  step {step:>6}  " + "  |  ".join(parts) + ("  * best" if better else "")


def keep_best(job: Job, run: RunDir, model: torch.nn.Module, scores: Scores, logits: HeadLogits) -> None:
    """Write the best weights and what they say of the validation images."""
    about = {
        "model": job.config.model.model_dump(mode="json"),
        "image_size": job.size,
        "schema": job.manifest.schema.to_json(),
        "target": job.config.data.target,
        "resize": job.config.data.resize,
        "submission": job.manifest.submission._asdict(),
        "temperatures": scores.temperatures,
        "best": job.progress.best,
        "prior": np.bincount(job.train.manifest.joint, minlength=len(job.manifest.schema.joint_classes)).tolist(),
        "data": _data_record(job),
        "run": run.name,
        "code": environment.code_version(),
        "leakage": "not-checked",
    }
    save_checkpoint(run.best, model, about)
    write_probabilities(run.validation, job.val.manifest, mean_probs([logits], scores.temperatures))
    run.update(best=job.progress.best)


def save(job: Job, run: RunDir) -> None:
    save_state(run.last, job.training, vars(job.progress))
    run.update(step=job.progress.step)


def save_and_leave(job: Job, signal_number: int) -> None:
    """Raises Interrupted once the state is on disk."""
    run, progress = job.run, job.progress
    if run is not None and job.is_main:
        save(job, run)
        run.update(status="interrupted", seconds=round(progress.seconds, 1))
    name = run.path if run is not None else "the run"
    raise Interrupted(
        f"Stopped at step {progress.step} of {job.training.steps}; everything is saved in {name}.",
        signal_number=signal_number,
        hint=f"Continue with: sslmask train --resume {name}",
    )


def finish(job: Job, run: RunDir) -> None:
    """Plots and run card of a finished run, and what to do next."""
    plots.write_curves(run.plots / "curves.svg", run.records())
    plots.write_confusion(run.plots / "confusion.svg", run.validation, job.manifest.schema)
    write_text(run.card, run_card(run))
    best = job.progress.best or {}
    job.console.say(
        f"Best   validation macro-F1 {best['macro_f1']:.4f}, accuracy {best['accuracy']:.4f} "
        f"({best['weights']} weights, step {best['step']}; leakage: not-checked)"
    )
    job.console.say(f"Saved  {run.path}  (read {run.card.name}; next: sslmask predict --run {run.path})")


def estimate(job: Job) -> None:
    """Run two steps and print what the whole would take."""
    images = setup.make_training_images(job.config, job.train, job.size)
    stream = setup.make_stream(job.config, job.train.manifest, job.accelerator)
    batches = train_batches(images, stream, start=0, stop=2, workers=0)
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
