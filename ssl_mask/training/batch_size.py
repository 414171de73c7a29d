"""`train.batch_size: auto`: the largest batch whose steps fit in the memory of the GPU. The run has it as a number."""

from __future__ import annotations

import copy
import gc
import traceback
from collections.abc import Callable, Sequence
from functools import partial

import torch
from accelerate import Accelerator
from accelerate.utils.memory import should_reduce_batch_size

from ssl_mask.config import RunConfig, validate
from ssl_mask.config.training import NUMBER
from ssl_mask.console import Console
from ssl_mask.data.load import TrainingData
from ssl_mask.devices import make_accelerator
from ssl_mask.errors import ConfigError, InputError
from ssl_mask.models.classifier import Classifier
from ssl_mask.training.cost import measure
from ssl_mask.training.parallel import refuse_single_images
from ssl_mask.training.session import build

SIZES = (8, 16, 32, 64, 128, 256)
SHARE = 4
"""At most one in so many training images is in a batch: a few hundred photos keep some steps an epoch."""
WITHOUT_GPU = 32
"""As the default, and the preset for laptops."""


def settle_batch_size(
    config: RunConfig, data: TrainingData, model: Classifier, size: int, accelerator: Accelerator, console: Console
) -> RunConfig:
    """The configuration with a number in place of `auto`. Model and accelerator stay as they are.

    Args:
        size: width and height of the images in pixels.

    Raises:
        ConfigError: not even the smallest batch fits, no size suits the other settings, or several GPUs.
    """
    if isinstance(config.train.batch_size, int):
        return config
    if not measurable(accelerator):
        found, why = WITHOUT_GPU, "memory is measured on a GPU only"
    elif accelerator.num_processes > 1:
        # One that runs out of memory within a step would leave the others waiting for its gradients.
        raise ConfigError(
            f"train.batch_size auto is tried on one GPU, not on {accelerator.num_processes} together.",
            hint=f"{NUMBER} With several GPUs, this number times the GPUs fits.",
        )
    else:
        found, why = largest(sizes(config, len(data.train)), partial(fits, config, data, model, size))
    console.say(f"Batch  {found} images (train.batch_size=auto: {why})")
    config = validate(sized(config, found).model_dump(mode="json"))
    refuse_single_images(config, model, accelerator.num_processes)
    return config


def measurable(accelerator: Accelerator) -> bool:
    """Whether running out of memory is an error. On a CPU the system slows down, or ends the process."""
    return bool(accelerator.device.type == "cuda")


def sizes(config: RunConfig, images: int) -> list[int]:
    """The sizes to try, smallest first: powers of two that the other settings can divide.

    Args:
        images: to train on.

    Raises:
        ConfigError: there is none.
    """
    few = [size for size in SIZES if size == SIZES[0] or size * SHARE <= images]
    found = [n for n in few if n % config.train.accumulate == 0 and not sized(config, n).single_images("auto")]
    if not found:
        raise ConfigError(
            f"train.batch_size auto tries {', '.join(map(str, few))} images of {images}, which do not suit "
            f"train.accumulate {config.train.accumulate}.",
            hint="Lower train.accumulate, or give a number: --set train.batch_size=32",
        )
    return found


def largest(sizes: Sequence[int], fits: Callable[[int], bool]) -> tuple[int, str]:
    """The last size before the first that does not fit, and why it is no larger.

    Args:
        sizes: smallest first.

    Raises:
        ConfigError: not even the first fits.
    """
    found = None
    for size in sizes:
        if fits(size):
            found = size
            continue
        if found is None:
            raise ConfigError(
                f"train.batch_size auto: not even {size} images fit in the memory of the GPU.",
                hint="Lower model.image_size, take a smaller model.backbone, or raise train.accumulate; or give a "
                "smaller number: --set train.batch_size=4",
            )
        return found, f"{size} do not fit"
    assert found is not None  # there is a size
    return found, "the most that is tried" if found == SIZES[-1] else "more would leave too few steps an epoch"


def fits(config: RunConfig, data: TrainingData, model: Classifier, size: int, batch: int) -> bool:
    """Whether two steps of a run, and a batch of its evaluation, fit in memory. Leaves no trace of them.

    Later steps of consistency training hold more than the first ones, as more images get a strong view: here all do,
    from the first step on.
    The backbone is not compiled: other sizes before the run's own would change what is compiled for it.
    """
    trial = sized(config, batch)
    train = trial.train.model_copy(update={"compile": False})
    most = {"threshold": 0.0, "dense": True, "start": 0.0, "ramp_up": 0.0, "temperature": 1.0}
    algorithm = trial.algorithm.model_copy(update=most)
    trial = trial.model_copy(update={"train": train, "algorithm": algorithm})
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices):
            # An accelerator of its own: that of the run would keep the optimizer, and the scale of fp16.
            own = make_accelerator(config.train.precision)
            measure(build(trial, data, copy.deepcopy(model), size, own, Console(quiet=True)))
    except (RuntimeError, InputError) as error:
        reason = error.__cause__ or error  # a step names the next thing to try, and what happened as the cause
        if not (isinstance(reason, torch.OutOfMemoryError) or should_reduce_batch_size(reason)):
            raise
        for raised in (error, error.__cause__):  # their frames hold the network, and the run needs its memory
            if raised is not None:
                traceback.clear_frames(raised.__traceback__)
        return False
    finally:
        free_memory()
    return True


def free_memory() -> None:
    """Give back what a network that is gone has held, and forget its peak."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def sized(config: RunConfig, batch: int) -> RunConfig:
    return config.model_copy(update={"train": config.train.model_copy(update={"batch_size": batch})})
