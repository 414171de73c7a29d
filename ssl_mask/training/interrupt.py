"""Ctrl-C and SIGTERM end training at the next step, after everything is saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import torch
from accelerate import Accelerator


class StopSignal:
    """While entered, remembers the first SIGINT or SIGTERM; a second Ctrl-C stops at once.

    Outside the main thread Python allows no signal handlers; there it does nothing.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._remember) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number

    def agreed(self, accelerator: Accelerator) -> int:
        """The signal that any process has received, or 0. All processes must call it at the same step."""
        if accelerator.num_processes == 1:
            return self.number
        mine = torch.tensor([self.number], device=accelerator.device)
        return int(accelerator.gather(mine).max().item())
