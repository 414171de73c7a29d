"""Learning rate range test: the loss of a few steps while the rate rises exponentially, and the rate that it suggests.

Smith 2017, Cyclical Learning Rates for Training Neural Networks (arXiv 1506.01186), with the exponential ramp, the
smoothing and the stop that fastai and Lightning use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.batches import train_batches
from ssl_mask.errors import TrainingError
from ssl_mask.training.loop import train_steps
from ssl_mask.training.optim import Schedule
from ssl_mask.training.session import Session

SMOOTHING = 0.95
"""Decay of the smoothed loss: it looks back over about 20 steps."""
DIVERGED = 4.0
"""The test ends where the smoothed loss is this many times its lowest value, as in fastai and Lightning."""
MARGIN = 2.0
"""The suggested rate is the one of the lowest smoothed loss divided by this."""
UNSTABLE = 10
"""Steps before the test may end: the first losses are those of untrained heads."""


@dataclass(frozen=True)
class LrRange:
    """What a learning rate range test has seen, one entry a step."""

    rates: tuple[float, ...]
    """`optim.lr` of the step; each group of weights has its own share of it."""
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    diverged: bool
    """Whether the loss rose until the test was ended, so that the highest usable rate is inside the range."""

    @property
    def suggested(self) -> float | None:
        """Half of the rate at which the smoothed loss is lowest; None where it does not fall.

        `optim.lr` is the peak of a schedule, as the highest rate in Smith's paper is, which he reads off where the loss
        stops falling. The half keeps a distance from there. The rate of the steepest fall (Lightning) and the middle of
        the valley (fastai) are a fourth and a twentieth of it on the faces, and scored lower.
        """
        found = lowest(self.smoothed)
        return None if found is None else self.rates[found] / MARGIN


@dataclass
class Ramp(Schedule):
    """In place of a schedule: `optim.lr` rises exponentially from `lowest` to `highest` over `steps`."""

    peak: float = 1.0
    """`optim.lr` of the configuration, of which the groups have their shares."""
    lowest: float = 1e-6
    highest: float = 1.0

    def rate(self, step: int) -> float:
        """`optim.lr` at a step, counted from 0."""
        share = step / max(self.steps - 1, 1)
        return float(self.lowest * (self.highest / self.lowest) ** share)

    def set(self, optimizer: Any, step: int) -> float:
        scale = self.rate(step) / self.peak
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * scale
        return scale


def smoothed(losses: Sequence[float], decay: float = SMOOTHING) -> NDArray[np.float64]:
    """(n,) exponential moving average of losses, divided by 1 - decayⁿ so that it does not begin at 0."""
    average, averages = 0.0, []
    for n, loss in enumerate(losses, start=1):
        average = decay * average + (1 - decay) * loss
        averages.append(average / (1 - decay**n))
    return np.asarray(averages, dtype=np.float64)


def lowest(values: Sequence[float]) -> int | None:
    """The step at which smoothed losses are lowest; None where they only rise once the test may be judged."""
    found = int(np.argmin(values)) if values else 0
    return found if found >= UNSTABLE else None


def range_test(session: Session, steps: int, told: Callable[[int, float], None], *, highest: float) -> LrRange:
    """Train while the rate rises; ends where the loss diverges. The session cannot be trained any more afterwards.

    Args:
        steps: of the whole ramp.
        told: after each step: how many are done, and the smoothed loss.
        highest: `optim.lr` of the last step; the first one has a millionth of it.

    Raises:
        InputError: too little memory.
    """
    before = session.training
    schedule = Ramp(
        "constant", steps, 0.0, 1.0, 1, peak=session.config.optim.lr, lowest=highest * 1e-6, highest=highest
    )
    # The average is left out where no target is made of it: nothing is evaluated.
    ema = before.ema if session.config.algorithm.teacher == "ema" else None
    training = replace(before, schedule=schedule, ema=ema, steps=steps)
    workers, accelerator = session.workers, session.accelerator
    batches = train_batches(session.batches(workers=workers), start=0, stop=steps, workers=workers)
    losses: list[float] = []
    diverged = False
    with closing(batches):
        try:
            for step, found in train_steps(training, batches, start=0):
                losses.append(float(accelerator.reduce(found.total.float(), reduction="mean")))
                means = smoothed(losses)
                told(step, float(means[-1]))
                if step > UNSTABLE and (means[-1] > DIVERGED * means.min() or not math.isfinite(means[-1])):
                    diverged = True
                    break
        except TrainingError:  # in all processes: a loss that is not finite
            diverged = True
    rates = tuple(schedule.rate(n) for n in range(len(losses)))
    return LrRange(rates, tuple(losses), tuple(smoothed(losses).tolist()), diverged)
