"""Processes, devices and precision: what Accelerate is told, and how many workers read images.

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
    """One process, or all that the launcher started; mixed precision where the device gains from it."""
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
    """`auto`: up to 8 a GPU; on a CPU one, or none where the network needs every core."""
    if isinstance(workers, int):
        return workers
    cpus = (os.cpu_count() or 1) // max(accelerator.num_processes, 1)
    if accelerator.device.type == "cuda":
        return int(max(1, min(8, cpus - 1)))
    # On two cores that the network fills already, a worker takes from it more than it gives (measured: 1.09 against
    # 1.04 of the raw step).
    return int(cpus > 2)


def broadcast(accelerator: Accelerator, decide: Callable[[], T]) -> T:
    """What the first process decides, in all processes: each would look at the disk at another moment.

    Args:
        decide: called on the first process only; its result is pickled.

    Raises:
        SslMaskError: what `decide` raises, on every process.
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
