"""Processes and devices, without any: what is decided is asked of functions, with stand-ins for what is counted."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from ssl_mask import devices
from ssl_mask.data.image_source import ChosenImages, DecodedImages
from ssl_mask.errors import DataError, ImageError, Interrupted, SslMaskError
from ssl_mask.inference.logits import reading_workers


def accelerator(device: str, processes: int = 1) -> Any:
    return SimpleNamespace(device=torch.device(device), num_processes=processes)


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16"), (False, "fp16")])
def test_emulated_bf16_is_not_taken(native: bool, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A T4 emulates bf16, and by default PyTorch counts that as support."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert devices._mixed_precision() == precision


def test_precision_is_that_of_the_device_which_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of a GPU that is there: ACCELERATE_USE_CPU=1 leaves it alone."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    AcceleratorState._reset_state(True)  # else the device of an earlier test is kept
    try:
        made = devices.make_accelerator("auto")
        assert (made.device.type, made.mixed_precision) == ("cpu", "no")
    finally:
        AcceleratorState._reset_state(True)


@pytest.mark.parametrize(
    ("processes", "gpus", "expected"), [("2", False, True), ("2", True, False), ("1", False, False)]
)
def test_several_processes_without_gpus_train_together(
    processes: str, gpus: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accelerate, not asked for a CPU, would let each of them train a run of its own."""
    monkeypatch.setenv("WORLD_SIZE", processes)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    assert devices._launched_without_gpus() is expected


def test_workers_share_the_cores_of_their_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 32)
    assert devices.settle_workers("auto", accelerator("cuda", 1)) == 8
    assert devices.settle_workers("auto", accelerator("cuda", 16)) == 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")  # two machines
    assert devices.settle_workers("auto", accelerator("cuda", 16)) == 3
    assert devices.settle_workers(5, accelerator("cuda", 16)) == 5
    assert devices.settle_workers("auto", accelerator("cpu", 16)) == 1


def test_predictions_are_read_by_workers_where_the_network_would_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 4)
    cached: Any = SimpleNamespace()
    decoded = DecodedImages((), 8, "crop", 1)
    chosen = ChosenImages(ChosenImages(decoded, [1, 0]), [0])
    found = [
        [reading_workers(source, "auto", accelerator(device)) for source in (cached, decoded, chosen)]
        for device in ("cpu", "cuda")
    ]
    assert found == [[0, 1, 1], [3, 3, 3]]


@pytest.mark.parametrize("error", [ImageError("a", hint="b"), Interrupted("a", signal_number=signal.SIGTERM, hint="b")])
def test_errors_reach_other_processes_whole(error: SslMaskError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.exit_code) == ("a\nb", error.exit_code)


def test_processes_that_read_different_data_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import accelerate.utils

    others: list[str] = ["same"]
    monkeypatch.setattr(accelerate.utils, "gather_object", lambda own: own + others)
    devices.refuse_differences(accelerator("cpu", 2), lambda: "same")
    others[0] = "another"
    with pytest.raises(DataError, match="2 processes read different images or labels"):
        devices.refuse_differences(accelerator("cpu", 2), lambda: "same")


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int | None]:
    """`told_elsewhere` of a process with that rank; all share one store."""
    store = torch.distributed.HashStore()
    monkeypatch.setattr(devices, "_store", lambda: store)
    monkeypatch.setattr(devices, "GRACE", timedelta(seconds=0.05))

    def end(rank: int, exit_code: int, *, lost: bool = False) -> int | None:
        monkeypatch.setenv("RANK", str(rank))
        return devices.told_elsewhere(exit_code, lost=lost)

    return end


def test_one_process_tells_and_all_end_with_its_code(ending: Callable[..., int | None]) -> None:
    assert ending(0, 3) is None
    assert ending(1, 3) == 3
    assert ending(2, 1, lost=True) == 3
    assert ending(3, 143) == 3  # a launcher ends the others by SIGTERM


def test_another_than_the_first_tells_where_only_it_knows(ending: Callable[..., int | None]) -> None:
    assert ending(1, 3) is None
    assert ending(0, 1, lost=True) == 3


def test_a_mistake_of_ours_is_told_once_too(ending: Callable[..., int | None]) -> None:
    assert ending(1, 1, lost=True) is None
    assert ending(0, 1, lost=True) == 1


@pytest.mark.parametrize(("local", "expected"), [(None, None), ("0", None), ("1", 3)])
def test_before_they_meet_the_first_of_a_machine_tells(
    local: str | None, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local is not None:
        monkeypatch.setenv("LOCAL_RANK", local)
    assert devices.told_elsewhere(3, lost=False) == expected


def test_broadcast_alone_is_the_decision_itself() -> None:
    made = devices.make_accelerator("fp32")
    assert devices.broadcast(made, lambda: np.float32(2.0)) == 2.0
