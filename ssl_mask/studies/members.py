"""Training the runs of a study: what is finished is left alone, what is begun goes on, and the rest is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from accelerate import Accelerator

from ssl_mask import devices
from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.errors import Interrupted
from ssl_mask.runs.study import Study


class Train(Protocol):
    """Trains one run, or goes on with it; as `ssl_mask.train`."""

    def __call__(self, config: RunConfig, *, resume: Path | None, quiet: bool) -> object: ...


@dataclass(frozen=True)
class Trainer:
    """What trains the runs of a study, on which processes, and whom it tells. A workflow hands it in: before a run is
    trained its data is read and the guard asked, which is no business of a study."""

    train: Train
    accelerator: Accelerator
    console: Console
    """Of the study."""
    quiet: bool = False
    """The runs print nothing."""


@contextmanager
def at_work(study: Study, accelerator: Accelerator) -> Iterator[None]:
    """Hold a study for these processes; whatever is interrupted inside is continued as a whole.

    Raises:
        DataError: another process works on it.
        Interrupted: finished runs and the state of the begun one are saved; says how to continue.
    """
    with study.locked() if accelerator.is_main_process else nullcontext():
        try:
            yield
        except (Interrupted, KeyboardInterrupt) as stopped:
            hint = f"Continue with: {study.how_to_go_on}"
            if isinstance(stopped, Interrupted):
                raise Interrupted(stopped.problem, signal_number=stopped.exit_code - 128, hint=hint) from None
            raise Interrupted.by(stopped, "finished runs are saved.", hint=hint) from None


def train_member(study: Study, config: RunConfig, trainer: Trainer, *, title: str | None = None) -> bool:
    """Train a run, or what is missing of it; returns whether there was anything to do.

    Args:
        config: made by `study.member`; of a run that is begun only its name counts.
        title: what to say before; None: the name of the run.
    """
    name = str(config.name)
    # The first process says what is on the disk: each would look at another moment.
    state = devices.broadcast(trainer.accelerator, partial(study.settle, name))
    if state == "finished":
        return False
    if title != "":
        trainer.console.say(f"\n{name if title is None else title}", style="bold")
    trainer.train(config, resume=study.run(name).path if state == "begun" else None, quiet=trainer.quiet)
    return True
