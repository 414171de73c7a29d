"""Which device these tests run on: CUDA, or with SSLMASK_GPU_TESTS_ON=cpu the CPU, to try out the tests themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch
from accelerate.state import AcceleratorState

DEVICE = os.environ.get("SSLMASK_GPU_TESTS_ON", "cuda")
On = Callable[[str], AbstractContextManager[None]]

# Read when CUDA's libraries load. TF32 rounds the factors of fp32 products to 10 bits, which a CPU does not do, and
# cuBLAS needs a workspace of fixed size to give the same bits twice.
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> str:
    """`cuda`, or what SSLMASK_GPU_TESTS_ON names; skips without CUDA."""
    if DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU: torch.cuda.is_available() is False (SSLMASK_GPU_TESTS_ON=cpu tries the tests on a CPU)")
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    return DEVICE


@pytest.fixture
def on() -> On:
    """`with on("cpu"):` what Accelerate takes as its device; it decides once a process, so it is made to forget."""

    @contextmanager
    def chosen(kind: str) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ACCELERATE_USE_CPU", "1" if kind == "cpu" else "0")
            AcceleratorState._reset_state(True)
            try:
                yield
            finally:
                AcceleratorState._reset_state(True)

    return chosen
