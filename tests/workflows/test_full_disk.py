"""A disk that takes no more: one error, what was written before is kept, and the run goes on when there is room."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file

from ssl_mask.config import RunConfig
from ssl_mask.errors import StorageError
from ssl_mask.workflows.train import train

Tiny = Callable[..., RunConfig]


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """As `ulimit -f`: to the libraries that write, a file that cannot grow is a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("stopped_by", "save_every"),
    [("checkpoints/last.state", 1), ("checkpoints/best.safetensors", 4), ("manifest.csv", 1)],
)
def test_a_full_disk_is_one_error_and_the_run_is_resumed(tiny: Tiny, stopped_by: str, save_every: int) -> None:
    steps = {"steps": 4, "eval_every": 2, "save_every": save_every}
    whole = train(tiny(name="whole", train=steps), quiet=True)
    assert whole is not None
    limit = (whole.path / stopped_by).stat().st_size - 100
    config = tiny(name="parts", train=steps)
    with no_file_beyond(limit), pytest.raises(StorageError) as full:
        train(config, quiet=True)
    assert stopped_by.rpartition("/")[2] in full.value.problem
    assert full.value.exit_code == 3
    assert not list(config.runs.rglob("*.tmp"))
    begun = (config.runs / "parts").exists()
    assert begun == (stopped_by != "manifest.csv")
    done = train(config, resume="parts" if begun else None, quiet=True)
    assert done is not None
    one, two = (load_file(r.path / "checkpoints/best.safetensors") for r in (whole, done))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert (whole.path / "validation.parquet").read_bytes() == (done.path / "validation.parquet").read_bytes()
