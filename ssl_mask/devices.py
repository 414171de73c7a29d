"""Processes, devices and precision: the Accelerator, and how many workers read images.

PyTorch is imported by who asks for a device: comparing pools and scoring predictions need none, and it takes 2.5 s.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ssl_mask.errors import SslMaskError

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")


def make_accelerator(precision: str) -> Accelerator:
    """The Accelerator of this process, alone or one of those that a launcher started.

    Args:
        precision: `fp32`, `fp16`, `bf16`, or `auto`: mixed precision on a GPU, fp32 on a CPU.
    """
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs

    if AcceleratorState._shared_state:
        # Its precision is global: without this a second run in one Python process would inherit the first one's.
        AcceleratorState._reset_state()
    if precision == "auto":
        precision = ("bf16" if torch.cuda.is_bf16_supported() else "fp16") if torch.cuda.is_available() else "fp32"
    handlers = [DistributedDataParallelKwargs(gradient_as_bucket_view=True)]
    return Accelerator(mixed_precision="no" if precision == "fp32" else precision, kwargs_handlers=handlers)


def settle_workers(workers: int | str, accelerator: Accelerator) -> int:
    """Number of worker processes. `auto`: up to 8 per GPU; on a CPU 1, or 0 if there are two cores or fewer."""
    if isinstance(workers, int):
        return workers
    cpus = (os.cpu_count() or 1) // max(accelerator.num_processes, 1)
    if accelerator.device.type == "cuda":
        return int(max(1, min(8, cpus - 1)))
    # On two cores, which the network fills, a worker costs more time than it saves (measured: a step takes 1.09 of the
    # bare training step with one, 1.04 without).
    return int(cpus > 2)


def broadcast(accelerator: Accelerator, decide: Callable[[], T]) -> T:
    """What the first process decides, in all processes: each alone could see another state of the disk.

    Args:
        decide: called on the first process only; its result is pickled.

    Raises:
        SslMaskError: the error that `decide` raises, in every process.
    """
    box: list[Any] = [None, None]
    if accelerator.is_main_process:
        try:
            box[0] = decide()
        except SslMaskError as error:
            box[1] = error
    if accelerator.num_processes > 1:
        from accelerate.utils import broadcast_object_list

        broadcast_object_list(box)
    if box[1] is not None:
        raise box[1]
    result: T = box[0]
    return result
