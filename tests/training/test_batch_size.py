"""`train.batch_size: auto`: the number that is found, that the run is the one with this number, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from ssl_mask.algorithms.supervised import Supervised
from ssl_mask.config import RunConfig, resolve
from ssl_mask.errors import ConfigError
from ssl_mask.models.classifier import Classifier
from ssl_mask.runs.view import Run
from ssl_mask.training import batch_size
from ssl_mask.training.cost import Cost
from ssl_mask.training.session import Session
from ssl_mask.types import Batch, Losses
from ssl_mask.workflows.compare import compare
from ssl_mask.workflows.factors import train_factors
from ssl_mask.workflows.find_lr import find_lr
from ssl_mask.workflows.folds import train_folds
from ssl_mask.workflows.pseudo import pseudo
from ssl_mask.workflows.pseudo_folds import pseudo_folds
from ssl_mask.workflows.train import train

Tiny = Callable[..., RunConfig]
STEPS: dict[str, Any] = {"steps": 3, "eval_every": 3, "log_every": 1, "workers": 0}
AUTO: dict[str, Any] = {**STEPS, "batch_size": "auto"}


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """`memory(20)`: as a GPU that holds 20 images a step, with which a batch may be all 42 training images."""

    def of(limit: int) -> list[int]:
        losses, seen = Supervised.losses, list[int]()

        def limited(self: Supervised, model: Any, batch: Batch, progress: float) -> Losses:
            seen.append(len(batch.labeled.images))
            if seen[-1] > limit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
            return losses(self, model, batch, progress)

        monkeypatch.setattr(Supervised, "losses", limited)
        return seen

    monkeypatch.setattr(batch_size, "measurable", lambda accelerator: True)  # noqa: ARG005
    monkeypatch.setattr(batch_size, "SHARE", 1)
    return of


def saved_size(run: Run | None) -> int:
    assert run is not None
    size: int = yaml.safe_load((run.path / "config.yaml").read_text())["train"]["batch_size"]
    return size


def losses_of(run: Run | None) -> list[tuple[int, float]]:
    assert run is not None
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if line["kind"] == "train"]


@pytest.mark.parametrize("limit", [8, 9, 15, 16, 100, 128, 255, 256, 1000])
def test_the_largest_is_that_of_a_plain_loop(limit: int) -> None:
    tried: list[int] = []
    expected = 8
    while expected * 2 <= min(limit, 256):
        expected *= 2
    found, why = batch_size.largest(batch_size.SIZES, lambda n: tried.append(n) or n <= limit)  # type: ignore[func-returns-value]
    assert found == expected
    assert tried == [n for n in (8, 16, 32, 64, 128, 256) if n <= 2 * expected]
    assert why == ("the most that is tried" if expected == 256 else f"{2 * expected} do not fit")


@pytest.mark.parametrize("images", [5, 63, 64, 300, 1023, 1024, 10**6])
@pytest.mark.parametrize("accumulate", [1, 4, 8])
def test_a_size_leaves_steps_and_suits_accumulate(images: int, accumulate: int) -> None:
    """Every part has two images, which the batch norm of the neck needs."""
    config = resolve([{"preset": "none", "train": {"batch_size": "auto", "accumulate": accumulate}}])
    powers = [2**n for n in range(3, 9) if n == 3 or 2**n <= images / 4]
    expected = [n for n in powers if n % accumulate == 0 and n // accumulate >= 2]
    if expected:
        assert batch_size.sizes(config, images) == expected
    else:
        with pytest.raises(ConfigError, match=rf"of {images}, which do not suit train.accumulate {accumulate}"):
            batch_size.sizes(config, images)


def test_a_run_has_the_number_and_is_the_run_with_this_number(
    tiny: Tiny, memory: Callable[[int], list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"model": {"dropout": 0.3}, "optim": {"clip_norm": 1.0}}
    seen = memory(20)
    found = train(tiny(name="found", train=AUTO, **settings))
    assert "Batch  16 images (train.batch_size=auto: 32 do not fit)" in capsys.readouterr().out
    assert seen == [8, 8, 16, 16, 32, 16, 16, 16]  # two steps of each size, then the run
    given = train(tiny(name="given", train={**STEPS, "batch_size": 16}, **settings), quiet=True)
    assert saved_size(found) == saved_size(given) == 16
    assert losses_of(found) == losses_of(given)
    assert found is not None
    assert given is not None
    first, second = (load_file(run.path / "checkpoints/best.safetensors") for run in (found, given))
    assert [k for k, v in first.items() if not torch.equal(v, second[k])] == []

    seen.clear()
    longer = train(tiny(), resume="found", length={"steps": 5}, quiet=True)
    assert seen == [16, 16]  # nothing is tried again
    assert saved_size(longer) == 16


def test_the_training_images_bound_it(
    tiny: Tiny, memory: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    memory(1000)
    monkeypatch.setattr(batch_size, "SHARE", 4)
    assert saved_size(train(tiny(train=AUTO))) == 8
    assert "Batch  8 images (train.batch_size=auto: more would leave too few steps an epoch)" in capsys.readouterr().out


def test_every_unlabeled_image_has_a_strong_view_while_it_is_tried(
    tiny: Tiny, memory: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run begins without any: its temperatures are calibrated at the first evaluation."""
    memory(1000)
    monkeypatch.setattr(batch_size, "SHARE", 10)  # eight images, and nothing else, are tried
    rows, tried, forward, measure = list[int](), list[int](), Classifier.forward, batch_size.measure

    def counted(self: Classifier, images: Tensor, *rest: Any, **more: Any) -> Any:
        if torch.is_grad_enabled() and self.training:
            rows.append(len(images))
        return forward(self, images, *rest, **more)

    def measured(session: Session) -> Cost:
        rows.clear()
        cost = measure(session)
        tried.append(sum(rows))
        return cost

    monkeypatch.setattr(Classifier, "forward", counted)
    monkeypatch.setattr(batch_size, "measure", measured)
    algorithm = {"name": "uda", "mu": 2.0, "threshold": 0.95, "start": 0.5}
    config = tiny(train=AUTO, algorithm=algorithm, data={"folds": 2, "unlabeled": ["extra"]})
    assert train(config, dry_run=True, quiet=True) is None
    assert len(tried) == 1
    assert tried[0] >= 2 * (8 + 16)


def test_a_range_test_settles_it_too(
    tiny: Tiny, memory: Callable[[int], list[int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = memory(10)
    find_lr(tiny(train=AUTO), steps=2, out=tmp_path / "lr.csv")
    assert "Batch  8 images" in capsys.readouterr().out
    assert seen == [8, 8, 16, 8, 8]


def test_a_cpu_takes_the_usual_number_and_says_so(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert saved_size(train(tiny(train=AUTO))) == 32
    told = "Batch  32 images (train.batch_size=auto: memory is measured on a GPU only)"
    assert told in capsys.readouterr().out


def test_no_run_is_made_where_not_even_the_smallest_fits(tiny: Tiny, memory: Callable[[int], list[int]]) -> None:
    memory(7)
    config = tiny(train=AUTO)
    with pytest.raises(ConfigError, match="not even 8 images fit") as refused:
        train(config, quiet=True)
    assert "model.image_size" in refused.value.hint
    assert not config.runs.exists() or not any(config.runs.iterdir())


def test_another_error_of_a_step_is_not_taken_for_memory(
    tiny: Tiny, memory: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory(100)

    def broken(*_: Any) -> Losses:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Supervised, "losses", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(tiny(train=AUTO), quiet=True)


def test_several_gpus_take_a_number(tiny: Tiny, memory: Callable[[int], list[int]]) -> None:
    memory(100)
    two: Any = SimpleNamespace(num_processes=2)
    nothing: Any = None
    with pytest.raises(ConfigError, match="on one GPU, not on 2 together") as refused:
        batch_size.settle_batch_size(tiny(train=AUTO), nothing, nothing, 32, two, nothing)
    assert "--set train.batch_size=32" in refused.value.hint


@pytest.mark.parametrize("study", ["folds", "factors", "pseudo", "pseudo folds", "compare"])
def test_studies_take_a_number(tiny: Tiny, study: str) -> None:
    config = tiny(train=AUTO, data={"folds": 2, "unlabeled": ["extra"]})
    factors = tiny(train=STEPS, factors={"mask": {"train": {"batch_size": "auto"}}})
    uda = config.model_copy(update={"algorithm": config.algorithm.model_copy(update={"name": "uda"})})
    begin: dict[str, Callable[[], Any]] = {
        "folds": lambda: train_folds(config, folds=2, quiet=True),
        "factors": lambda: train_factors(factors, quiet=True),
        "pseudo": lambda: pseudo(config, quiet=True),
        "pseudo folds": lambda: pseudo_folds(config, folds=2, quiet=True),
        "compare": lambda: compare(uda, seeds=(0, 1), quiet=True),
    }
    with pytest.raises(ConfigError, match=r"train\.batch_size auto is for a single run") as refused:
        begin[study]()
    assert "--set train.batch_size=32" in refused.value.hint
    assert not config.runs.exists() or not any(p for p in config.runs.iterdir() if not p.name.startswith("."))


@pytest.mark.parametrize("given", ["many", 2.5, 0, 2**20 + 1, None])
def test_a_wrong_size_is_one_problem(given: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve([{"preset": "none", "train": {"batch_size": given}}])
    assert refused.value.problem.split("\n")[1:] == [
        f"  train.batch_size: Input should be a whole number from 1 to 1048576, or auto (got {given!r})"
    ]


def test_a_probe_takes_a_number() -> None:
    with pytest.raises(ConfigError, match="which always fit: give a number, such as 32"):
        resolve([{"preset": "none", "train": {"batch_size": "auto"}, "model": {"tuning": "probe"}}])
