"""From a built job to its last step: train, log, evaluate, keep the best, save. Every verb that trains comes here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from ssl_mask.algorithms.consistency import Consistency
from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.batches import StepBatches, train_batches
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.predictions import write_predictions
from ssl_mask.data.pseudo_labels import PseudoSide
from ssl_mask.data.unlabeled import Unlabeled
from ssl_mask.errors import Interrupted
from ssl_mask.evaluation.scores import HeadLogits, Scores, mean_probs, score
from ssl_mask.guard.gate import GateResult
from ssl_mask.inference.logits import predict_logits
from ssl_mask.runs import environment
from ssl_mask.runs.checkpoint import save_checkpoint
from ssl_mask.runs.records import (
    BestScore,
    CheckpointMetadata,
    DataRecord,
    PseudoRecord,
    UnlabeledRecord,
    leakage_of,
)
from ssl_mask.runs.run import RunDir
from ssl_mask.selection.collapse import collapsed
from ssl_mask.training import session as setup
from ssl_mask.training.interrupt import StopSignal
from ssl_mask.training.loop import Training, train_steps
from ssl_mask.training.state import save_state
from ssl_mask.types import Losses


@dataclass
class Progress:
    """What a resumed run must know about itself."""

    step: int = 0
    best: BestScore | None = None
    waited: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    """CPU seconds of this process."""

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the saved state."""
        return {**vars(self), "best": self.best and self.best.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Progress:
        best = content["best"]
        return cls(**{**content, "best": best and BestScore.model_validate(best)})


@dataclass
class Job:
    """Everything one training run holds on to."""

    config: RunConfig
    accelerator: Accelerator
    console: Console
    manifest: Manifest
    train: setup.Side
    val: setup.Side
    pseudo: PseudoSide | None
    unlabeled: Unlabeled | None
    size: int
    training: Training
    workers: int
    guarded: GateResult
    ancestors: tuple[RunDir | None, ...]
    """The runs whose weights or predictions this one builds on; None: one that is not known."""
    run: RunDir | None = None
    progress: Progress = field(default_factory=Progress)
    collapsed: set[str] = field(default_factory=set)
    """Heads whose collapse has been told."""

    def batches(self, *, workers: int) -> StepBatches:
        return setup.make_batches(
            self.config, self.train, self.pseudo, self.unlabeled, self.size, self.accelerator, workers=workers
        )

    @property
    def is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)


def fit(job: Job) -> None:
    """Train to the last step, with everything that happens every n steps."""
    config, training, progress = job.config.train, job.training, job.progress
    if progress.step:
        if job.run is not None and job.is_main:
            job.run.forget_after(progress.step)
        job.console.say(f"Resume {progress.step} of {training.steps} steps are done")
    eval_every = config.eval_every or max(1, training.steps // 10)
    save_every = config.save_every or eval_every
    workers, pin = job.workers, job.accelerator.device.type == "cuda"
    steps = job.batches(workers=workers)
    batches = train_batches(steps, start=progress.step, stop=training.steps, workers=workers, pin=pin)
    began, cpu_began = time.monotonic() - progress.seconds, time.process_time() - progress.cpu
    first, clock = progress.step, time.monotonic()
    screen = job.console.progress("Training", training.steps, unit="steps")
    with StopSignal() as stop, closing(batches), screen as advance:
        for step, losses in train_steps(training, batches, start=progress.step):
            progress.step, progress.seconds = step, time.monotonic() - began
            progress.cpu = time.process_time() - cpu_began
            advance(step)
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


def _over_processes(values: dict[str, Tensor], accelerator: Accelerator) -> dict[str, Any]:
    """Means over all processes, which hold equal shares of the batch. Scalars as numbers, vectors as lists."""
    flat = torch.cat([v.float().flatten() for v in values.values()])
    parts = accelerator.reduce(flat, reduction="mean").split([v.numel() for v in values.values()])
    return {
        name: round(part.item(), 6) if value.dim() == 0 else [round(x, 6) for x in part.tolist()]
        for (name, value), part in zip(values.items(), parts, strict=True)
    }


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
    tops = calibrate_teacher(job, results)
    kind = max(results, key=lambda k: results[k][0].macro_f1)
    scores, logits = results[kind]
    progress = job.progress
    better = progress.best is None or scores.macro_f1 > progress.best.macro_f1
    progress.waited = 0 if better else progress.waited + 1
    job.training.schedule.scored(scores.macro_f1)
    best = BestScore.model_validate({"step": step, "weights": kind, **scores._asdict()})
    if better:
        progress.best = best
    if job.run is not None and job.is_main:
        for name, (s, _) in results.items():
            cpu, judged = round(progress.cpu, 2), tops.get(name, {})
            job.run.log(kind="val", step=step, weights=name, cpu_seconds=cpu, **s._asdict(), **judged)
        if better:
            keep_best(job, job.run, candidates[kind], best, logits)
    job.console.say(_validation_line(step, results, better=better))
    if job.run is not None and job.is_main:
        warn_of_collapse(job, job.run, step)
    return bool(progress.waited >= job.config.train.patience)


def calibrate_teacher(
    job: Job, results: Mapping[str, tuple[Scores, HeadLogits]]
) -> dict[str, dict[str, dict[str, float]]]:
    """Hand the teacher's new temperatures to the algorithm; returns what it then believes of validation, by weights.

    `pseudo_share` is the share of validation that would be believed, `pseudo_precision` how much of that is right.
    """
    algorithm = job.training.algorithm
    kind = job.config.algorithm.teacher if job.config.algorithm.name != "supervised" else "live"
    scores, logits = results[kind]
    algorithm.calibrate(scores.temperatures)
    if not isinstance(algorithm, Consistency):
        return {}
    schema, rows = job.manifest.schema, job.val.manifest
    labels = schema.head_labels(rows.labels, job.config.data.target)
    columns = {name: labels[:, i] for i, name in enumerate(logits)} | {"joint": rows.joint}
    targets = algorithm.judge({k: torch.from_numpy(z).to(job.accelerator.device) for k, z in logits.items()})
    share, precision = {}, {}
    for name, weights in targets.weights.items():
        right = targets.probs[name].argmax(dim=1).cpu().numpy() == columns[name]
        weight = weights.cpu().numpy()
        share[name] = round(float(weight.mean()), 4)
        precision[name] = round(float((weight * right).sum() / max(weight.sum(), 1e-9)), 4)
    return {kind: {"pseudo_share": share, "pseudo_precision": precision}}


def warn_of_collapse(job: Job, run: RunDir, step: int) -> None:
    """Say so, once a head, when the targets that count have come to fall on few classes."""
    schema, train, target = job.manifest.schema, job.train.manifest, job.config.data.target
    counts = {"joint": np.bincount(train.joint, minlength=len(schema.joint_classes))}
    for i, (name, size) in enumerate(schema.heads(target).items()):
        counts[name] = np.bincount(schema.head_labels(train.labels, target)[:, i], minlength=size)
    recent = [r["stats"] for r in run.records() if r["kind"] == "train" and r["step"] > step * 0.8]
    for name, labeled in counts.items():
        seen = [np.asarray(s[f"selected/{name}"]) for s in recent if f"selected/{name}" in s]
        selected = np.mean(seen, axis=0) if seen else np.zeros(1)
        if name not in job.collapsed and collapsed(selected, labeled):
            job.collapsed.add(name)
            most = schema.head_classes("joint" if name == "joint" else target)[name][int(selected.argmax())]
            job.console.warn(
                f"The targets of {name} fall on few classes ({selected.max() / selected.sum():.0%} on {most!r}). Lower "
                "algorithm.threshold, set algorithm.alignment=prior, or try --algorithm freematch."
            )


def _eval_batch(job: Job) -> int:
    return max(64, job.config.train.batch_size // int(job.accelerator.num_processes))


def _validation_line(step: int, results: dict[str, tuple[Scores, HeadLogits]], *, better: bool) -> str:
    parts = [f"{k} macro-F1 {s.macro_f1:.3f} accuracy {s.accuracy:.3f}" for k, (s, _) in results.items()]
    return f"  step {step:>6}  " + "  |  ".join(parts) + ("  * best" if better else "")


def keep_best(job: Job, run: RunDir, model: torch.nn.Module, best: BestScore, logits: HeadLogits) -> None:
    """Write the best weights and what they say of the validation images."""
    metadata = CheckpointMetadata(
        model=job.config.model,
        image_size=job.size,
        schema=job.manifest.schema,
        target=job.config.data.target,
        resize=job.config.data.resize,
        submission=job.manifest.submission,
        temperatures=best.temperatures,
        best=best,
        prior=np.bincount(job.train.manifest.joint, minlength=len(job.manifest.schema.joint_classes)).tolist(),
        data=data_record(job),
        run=run.name,
        code=environment.code_version(),
        **dict(leakage_of(run.status())),
    )
    save_checkpoint(run.best, model, metadata)
    probs = mean_probs([logits], best.temperatures)
    write_predictions(run.validation, job.val.manifest, probs, fold=job.config.data.fold)
    run.update(best=best)


def save(job: Job, run: RunDir) -> None:
    save_state(run.last, job.training, job.progress.to_json())
    run.update(step=job.progress.step)


def save_and_leave(job: Job, signal_number: int) -> None:
    """Raises Interrupted once the state is on disk."""
    run, progress = job.run, job.progress
    if run is not None and job.is_main:
        save(job, run)
        run.update(status="interrupted", seconds=round(progress.seconds, 1))
    name = run.path if run is not None else "the run"
    verb = "train" if job.config.algorithm.name == "supervised" else "uda"
    raise Interrupted(
        f"Stopped at step {progress.step} of {job.training.steps}; everything is saved in {name}.",
        signal_number=signal_number,
        hint=f"Continue with: sslmask {verb} --resume {name}",
    )


def data_record(job: Job) -> DataRecord:
    """What the run's status and its checkpoint say of the data."""
    manifest, unlabeled, pseudo = job.manifest, job.unlabeled, job.pseudo
    return DataRecord(
        content_hash=manifest.content_hash,
        layout=manifest.layout,
        root=str(manifest.root),
        grouped=manifest.grouped,
        train_images=len(job.train.manifest),
        val_images=len(job.val.manifest),
        train_groups=len(set(job.train.manifest.groups)),
        val_groups=len(set(job.val.manifest.groups)),
        unlabeled=unlabeled and UnlabeledRecord.model_validate(unlabeled.record(job.config.data.unlabeled)),
        pseudo=pseudo and PseudoRecord.model_validate(pseudo.labels.record(job.config.data.pseudo_labels)),
    )
