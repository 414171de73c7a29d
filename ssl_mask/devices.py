"""Processes, devices and precision: the Accelerator, and how many workers read images.

PyTorch is imported by who asks for a device: comparing pools and scoring predictions need none, and it takes 2.5 s.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from ssl_mask.errors import DataError, SslMaskError

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")
PATIENCE = timedelta(days=1)
"""How long processes wait for each other: the first one alone decodes and compares the images of a large data set. The
launcher ends the others when one has failed."""
GRACE = timedelta(seconds=5)
"""How long a process that fails waits for another one to tell why."""


def make_accelerator(precision: str) -> Accelerator:
    """The Accelerator of this process, alone or one of those that a launcher started.

    Args:
        precision: `fp32`, `fp16`, `bf16`, or `auto`: mixed precision on a GPU, fp32 on a CPU.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedDataParallelKwargs, parse_flag_from_env

    if AcceleratorState._shared_state:
        # Its precision is global: without this a second run in one Python process would inherit the first one's.
        AcceleratorState._reset_state()
    # Accelerate reads that variable only where it makes this state itself.
    asked = parse_flag_from_env("ACCELERATE_USE_CPU")
    device = PartialState(cpu=asked or _launched_without_gpus(), timeout=PATIENCE).device
    if precision == "auto":
        precision = _mixed_precision() if device.type == "cuda" else "fp32"
    handlers = [DistributedDataParallelKwargs(gradient_as_bucket_view=True)]
    return Accelerator(mixed_precision="no" if precision == "fp32" else precision, kwargs_handlers=handlers)


def _launched_without_gpus() -> bool:
    """Whether a launcher started several processes on CPUs. Accelerate would let each of them train alone."""
    import torch

    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available()


def _mixed_precision() -> str:
    import torch

    # GPUs before Ampere (T4, V100) emulate bf16: it works, but slower than fp32.
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def settle_workers(workers: int | str, accelerator: Accelerator) -> int:
    """Number of worker processes. `auto`: up to 8 per GPU; on a CPU 1, or 0 if there are two cores or fewer."""
    if isinstance(workers, int):
        return workers
    here = int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))  # the others are on other machines
    cpus = cores() // max(here, 1)
    if accelerator.device.type == "cuda":
        return int(max(1, min(8, cpus - 1)))
    # On two cores, which the network fills, a worker costs more time than it saves (measured: a step takes 1.09 of the
    # bare training step with one, 1.04 without).
    return int(cpus > 2)


def cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def refuse_differences(accelerator: Accelerator, digest: Callable[[], str]) -> None:
    """Raise DataError in every process unless all have the same digest of what they read."""
    if accelerator.num_processes == 1:
        return
    from accelerate.utils import gather_object

    if len(set(gather_object([digest()]))) > 1:
        raise DataError(
            f"The {accelerator.num_processes} processes read different images or labels.",
            hint="Give all machines the same data set, leave it unchanged while a run starts, and start again.",
        )


def leave() -> None:
    """Leave the other processes at a good end; NCCL warns of those that just stop."""
    if _store() is not None:
        import torch

        torch.distributed.destroy_process_group()


def told_elsewhere(exit_code: int, *, lost: bool) -> int | None:
    """Whether another of several processes tells why all of them end; then its exit code, else None.

    One tells, the first process if it can, and all end with the same code.

    Args:
        exit_code: of this process's own error.
        lost: it may be that this process only lost another one, which failed.
    """
    store, first = _store(), os.environ.get("RANK", "0") == "0"
    if store is None:  # one process, or an error so early that they have not met: all have it
        return None if os.environ.get("LOCAL_RANK", "0") == "0" else exit_code
    try:
        if (lost or not first) and _wait_for(store, "sslmask/code"):
            return int(store.get("sslmask/code"))
        if store.add("sslmask/told", 1) == 1:
            store.set("sslmask/code", str(exit_code))
            return None
        return int(store.get("sslmask/code")) if _wait_for(store, "sslmask/code") else exit_code
    except RuntimeError:  # the store is gone with the process that held it
        return None if lost else exit_code


def _wait_for(store: Any, key: str) -> bool:
    try:
        store.wait([key], GRACE)
    except RuntimeError:
        return False
    return True


def _store() -> Any:
    """What several processes meet in; None before they do, or for a process alone."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed.distributed_c10d._get_default_store()
