"""A run or a study in torch, ready to be timed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from ssl_mask.inference.latency import Predict
from ssl_mask.inference.onnx_network import Together


def on_cpu(network: Together) -> Predict:
    """In 32 bits, as `predict` does; a copy, so that its weights count as memory."""
    own = deepcopy(network).to("cpu")

    def predict(squares: Sequence[NDArray[Any]]) -> Any:
        with torch.inference_mode():
            return own(*(torch.from_numpy(s) for s in squares))[0].numpy()

    return predict


def on_gpu(network: Together, accelerator: Accelerator) -> Predict:
    """With the precision of the accelerator, as `predict` does; what comes back is on the CPU, so it is done."""
    network.to(accelerator.device)

    def predict(squares: Sequence[NDArray[Any]]) -> Any:
        with torch.inference_mode(), accelerator.autocast():
            return network(*(torch.from_numpy(s).to(accelerator.device) for s in squares))[0].float().cpu().numpy()

    return predict


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """With so many threads that compute; those of before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
