"""From a built session to its last step: train, log, evaluate, save. Every verb that trains uses this."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ssl_mask.data.batches import train_batches
from ssl_mask.errors import Interrupted
from ssl_mask.runs.seal import origin_of
from ssl_mask.runs.writer import RunWriter
from ssl_mask.training.evaluate import evaluate, keep_last, steps_between_evaluations
from ssl_mask.training.interrupt import StopSignal
from ssl_mask.training.loop import train_steps
from ssl_mask.training.session import Session
from ssl_mask.training.state import save_state
from ssl_mask.types import Losses


def fit(session: Session, run: RunWriter) -> None:
    """Train to the last step; log, evaluate and save every n steps."""
    config, training, progress = session.config.train, session.training, session.progress
    stop_at, validates = session.last_step, len(session.data.val) > 0
    accelerator, console = session.accelerator, session.console
    run.write(lambda folder: folder.forget_after(progress.step))
    if progress.step:
        console.say(f"Resume {progress.step} of {session.last_step} steps are done")
    eval_every = steps_between_evaluations(session)
    if training.algorithm.waits and progress.step + eval_every >= stop_at:
        console.warn(
            "algorithm.teacher ema: unlabeled images count after the first evaluation, but that is at the last step. "
            "Lower train.eval_every, or give algorithm.temperature a number."
        )
    save_every = config.save_every or eval_every
    workers = session.workers
    batches = train_batches(
        session.batches(workers=workers), start=progress.step, stop=stop_at, workers=workers,
        pin=accelerator.device.type == "cuda",
    )  # fmt: skip
    began, cpu_began = time.monotonic() - progress.seconds, time.process_time() - progress.cpu
    first, clock, note = progress.step, time.monotonic(), ""
    with StopSignal() as stop, closing(batches), console.progress("Training", stop_at, unit="steps") as advance:
        advance(progress.step, note)
        for step, losses in train_steps(training, batches, start=progress.step):
            progress.step, progress.seconds = step, time.monotonic() - began
            progress.cpu = time.process_time() - cpu_began
            last = step == stop_at
            if step % config.log_every == 0 or last:
                rate = (step - first) * config.images_per_step / (time.monotonic() - clock)
                note = log_step(session, run, step, losses, rate)
                first, clock = step, time.monotonic()
            advance(step, note)
            signal_number = stop.agreed(accelerator) if accelerator.num_processes == 1 or not step % 10 else 0
            if signal_number:
                _save_and_leave(session, run, signal_number)
            if validates and (step % eval_every == 0 or last):
                done = evaluate(session, run) and config.patience > 0
                first, clock = step, time.monotonic()
                if done:
                    console.say(f"Early stopping: {progress.waited} evaluations without a better score.")
                    break
            if step % save_every == 0 or last:
                save(session, run)
    if not validates:
        keep_last(session, run)
        run.update(cpu_seconds=round(progress.cpu, 2))
    save(session, run)
    run.update(status="finished", step=progress.step, seconds=round(progress.seconds, 1))


def log_step(session: Session, run: RunWriter, step: int, losses: Losses, rate: float) -> str:
    """Append a line to metrics.jsonl; returns the text next to the progress bar.

    Args:
        rate: labeled images per second.
    """
    accelerator = session.accelerator
    terms, stats = _over_processes(losses.terms, accelerator), _over_processes(losses.stats, accelerator)
    lr = max(g["lr"] for g in session.training.optimizer.param_groups)
    run.log(
        kind="train", step=step, loss=round(sum(terms.values()), 6), terms=terms, stats=stats, lr=lr,
        images_per_second=round(rate, 1),
    )  # fmt: skip
    return f"loss {sum(terms.values()):.3f}"


def _over_processes(values: dict[str, Tensor], accelerator: Accelerator) -> dict[str, Any]:
    """Means over all processes, which have equal parts of the batch. Scalars become numbers, vectors lists."""
    flat = torch.cat([v.float().flatten() for v in values.values()])
    parts = accelerator.reduce(flat, reduction="mean").split([v.numel() for v in values.values()])
    return {
        name: round(part.item(), 6) if value.dim() == 0 else [round(x, 6) for x in part.tolist()]
        for (name, value), part in zip(values.items(), parts, strict=True)
    }


def save(session: Session, run: RunWriter) -> None:
    """Save everything that is needed to resume."""
    run.write(
        lambda folder: save_state(
            folder.last, session.training, session.progress.to_json(), origin=origin_of(folder.status())
        )
    )
    run.update(step=session.progress.step)


def _save_and_leave(session: Session, run: RunWriter, signal_number: int) -> None:
    """Save, then raise Interrupted."""
    save(session, run)
    run.update(status="interrupted", seconds=round(session.progress.seconds, 1))
    raise Interrupted(
        f"Stopped at step {session.progress.step} of {session.last_step}; everything is saved in {_name(run)}.",
        signal_number=signal_number,
        hint=how_to_continue(session, run),
    )


def how_to_continue(session: Session, run: RunWriter) -> str:
    """The command that continues an interrupted run, in a sentence."""
    verb = "train" if session.config.algorithm.name == "supervised" else "uda"
    return f"Continue with: sslmask {verb} --resume {_name(run)}"


def _name(run: RunWriter) -> str:
    return "the run" if run.run is None else str(run.run.path)
