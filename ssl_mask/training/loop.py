"""The training loop: a generator of (step, losses). `fit` iterates over it with a plain `for`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ssl_mask.errors import InputError, TrainingError
from ssl_mask.training.ema import WarmEma
from ssl_mask.training.lean_optim import without_compiler
from ssl_mask.training.optim import Schedule
from ssl_mask.types import Algorithm, Batch, Losses


@dataclass
class Training:
    """Everything that changes during training, and what changes it."""

    accelerator: Accelerator
    model: nn.Module
    """Prepared by Accelerate."""
    optimizer: Any
    """Prepared by Accelerate."""
    schedule: Schedule
    """Not prepared by Accelerate: a prepared one would step once per process."""
    ema: WarmEma | None
    algorithm: Algorithm
    clip: Callable[[nn.Module], None] | None
    steps: int
    accumulate: int
    seed: int

    @property
    def live(self) -> Any:
        """The network itself, without its wrapper for several processes. Accelerate would load the compiler to ask."""
        return self.model.module if isinstance(self.model, DistributedDataParallel) else self.model


def train_steps(
    training: Training, batches: Iterable[Batch], *, start: int
) -> Generator[tuple[int, Losses], None, None]:
    """Train on each batch and yield (steps done, its losses), detached and averaged over the parts of the batch.

    Everything random in step k comes from (seed, k, rank), so a run that is resumed at k gives the same bits.

    Raises:
        TrainingError: a loss that is not finite; the weights stay those of the step before.
        InputError: too little memory on the GPU.
    """
    training.model.train()
    live = training.live
    for step, batch in enumerate(batches, start):
        # There was an evaluation in between: of the network itself, without its wrapper for several processes.
        if not live.training:
            training.model.train()
        seed_step(training.seed, step, training.accelerator.process_index)
        training.schedule.set(training.optimizer, step)
        losses = _backward(training, batch, step)
        if training.clip is not None:
            if training.accelerator.scaler is not None:
                training.accelerator.unscale_gradients(training.optimizer)
            training.clip(training.model)
        with without_compiler():
            training.optimizer.step()
            training.optimizer.zero_grad(set_to_none=True)
        if training.ema is not None:
            training.ema.update(step)
        yield step + 1, losses


def _backward(training: Training, batch: Batch, step: int) -> Losses:
    try:
        return _backward_in_parts(training, batch, step)
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"{training.accelerator.device} has too little memory for a step ({str(error).split('. ')[0]}).",
            hint="Raise train.accumulate (the same training in smaller parts), or lower model.image_size.",
        ) from error


def _backward_in_parts(training: Training, batch: Batch, step: int) -> Losses:
    parts = send_to_device(batch, training.accelerator.device, non_blocking=True).parts(training.accumulate)
    collected: list[Losses] = []
    for number, part in enumerate(parts):
        # Processes exchange gradients once per step. We count the parts ourselves: Accelerate's own counter also
        # exchanges them whenever a loader ends.
        last = number == len(parts) - 1
        with nullcontext() if last else training.accelerator.no_sync(training.model):
            with training.accelerator.autocast():
                losses = training.algorithm.losses(training.model, part, step / training.steps)
            total = losses.total
            _refuse_infinite(total, losses.terms, step, training.accelerator)
            training.accelerator.backward(total / len(parts))
        collected.append(losses)
    return Losses(_mean([c.terms for c in collected]), _mean([c.stats for c in collected]))


def _refuse_infinite(total: Tensor, terms: dict[str, Tensor], step: int, accelerator: Accelerator) -> None:
    """Raise TrainingError in all processes when the loss of one is not finite: the others would wait for it."""
    values = torch.stack([total, *terms.values()]).detach().float()
    if accelerator.num_processes > 1:
        values = accelerator.reduce(values, reduction="mean")
    if not torch.isfinite(values[0]):
        named = zip(terms, values[1:].tolist(), strict=True)
        raise TrainingError(
            f"The loss is {values[0].item()} at step {step + 1} ({', '.join(f'{k} {v:.4g}' for k, v in named)}).",
            hint="Lower optim.lr, or set optim.clip_norm=1. The last saved state is kept.",
        )


def _mean(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {k: torch.stack([p[k].detach().float() for p in parts]).mean(dim=0) for k in parts[0]}


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch (dropout and the like) for one step of one process."""
    mixed = np.random.SeedSequence((seed, step, rank)).generate_state(1, dtype=np.uint64)[0]
    torch.manual_seed(int(mixed) >> 1)
