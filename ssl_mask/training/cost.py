"""What a training would cost: two steps and one portion of an evaluation, and what follows from them."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

import torch
from accelerate import Accelerator

from ssl_mask.data.batches import train_batches
from ssl_mask.data.image_source import ChosenImages
from ssl_mask.inference.logits import predict_logits
from ssl_mask.training.evaluate import steps_between_evaluations
from ssl_mask.training.loop import train_steps
from ssl_mask.training.session import Session


@dataclass(frozen=True)
class Cost:
    """Of one run."""

    steps: int
    step_seconds: float
    evaluations: int
    """Each is of live and of averaged weights, where there are some."""
    evaluation_seconds: float
    kept_bytes: int
    """Of the weights of all evaluations, where they are kept (`train.keep=all`)."""
    memory_gb: float
    """At the peak."""

    @property
    def seconds(self) -> float:
        """Steps and evaluations together."""
        return self.steps * self.step_seconds + self.evaluations * self.evaluation_seconds


def measure(session: Session) -> Cost:
    """Train two steps and evaluate one batch. The session cannot be trained any more afterwards."""
    batches = train_batches(session.batches(workers=0), start=0, stop=2, workers=0)
    # The first step pays for warming up; the second one is what a step costs.
    first, second = (time.monotonic() for _ in train_steps(session.training, batches, start=0))
    steps, every = session.last_step, steps_between_evaluations(session)
    copies = 2 if session.training.ema is not None else 1
    evaluations = -(-steps // every) if len(session.data.val) else 0
    model = session.training.live
    weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    return Cost(
        steps=steps,
        step_seconds=second - first,
        evaluations=evaluations,
        evaluation_seconds=copies * _pass_seconds(session) if evaluations else 0.0,
        kept_bytes=evaluations * copies * weights,
        memory_gb=_peak_memory(session.accelerator),
    )


def _pass_seconds(session: Session) -> float:
    """Of all validation images through the network once, from those of one batch."""
    size, images = max(64, session.config.train.images_per_step), session.inputs.val
    portion = ChosenImages(images, range(min(size, len(images))))
    began = time.monotonic()
    model = session.training.live
    predict_logits(model, portion, accelerator=session.accelerator, batch_size=size, workers=0)
    return (time.monotonic() - began) * len(images) / len(portion)


def _peak_memory(accelerator: Accelerator) -> float:
    """Gigabytes at the peak: of the GPU, or of this process."""
    if accelerator.device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
