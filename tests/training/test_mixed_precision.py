"""What is special about half precision, on a CPU: bf16 autocast and a gradient scaler exist there too."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_mask.algorithms.consistency import Consistency
from ssl_mask.algorithms.freematch import FreeMatchRule
from ssl_mask.algorithms.rule import Rule
from ssl_mask.algorithms.running import Alignment
from ssl_mask.algorithms.softmatch import SoftMatchRule
from ssl_mask.algorithms.supervised import Supervised
from ssl_mask.algorithms.uda import UdaRule
from ssl_mask.devices import make_accelerator
from ssl_mask.errors import InputError
from ssl_mask.models.classifier import build_classifier
from ssl_mask.training.ema import make_ema
from ssl_mask.training.loop import Training, train_steps
from ssl_mask.training.optim import clipper
from ssl_mask.types import Batch, Labeled, Losses, Unlabeled


def images(count: int) -> Tensor:
    return torch.randint(256, (count, 32, 32, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@pytest.mark.parametrize("rule", [UdaRule(0.1, 0.4), FreeMatchRule(0.5, 0.1), SoftMatchRule(0.5, 2.0)])
@pytest.mark.parametrize("head", ["arcface", "linear"])
def test_all_but_the_network_is_computed_in_fp32(rule: Rule, head: str) -> None:
    torch.manual_seed(0)
    model, _ = build_classifier(
        {"a": 3, "b": 2}, backbone="test_efficientnet", weights="none", image_size=32, head=head, pooling="gem"
    )
    ema = make_ema(model, 0.5)
    assert ema is not None
    algorithm = Consistency(
        supervised=Supervised(scale=20.0 if head == "arcface" else None, margin=0.2, gamma=2.0), teacher=ema.module,
        rule=rule, tsa="linear", temperatures={"a": 1.5}, joint=True, alignment=Alignment(None, 0.5),
    )  # fmt: skip
    batch = Batch(Labeled(images(4), torch.zeros(4, 2, dtype=torch.int64)), Unlabeled(images(6), images(6).__getitem__))
    with torch.autocast("cpu", torch.bfloat16):
        losses = algorithm.losses(model, batch, 0.5)
    losses.total.backward()
    ema.update(3)
    made = {**losses.terms, **losses.stats, **rule.running.values, **dict(model.state_dict())}
    made |= {f"ema {k}": v for k, v in ema.module.state_dict().items()}
    made |= {f"gradient {k}": p.grad for k, p in model.named_parameters() if p.grad is not None}
    assert {v.dtype for v in made.values() if v.is_floating_point()} == {torch.float32}
    assert all(v.isfinite().all() for v in made.values())


class Squares:
    """A loss that can be made as large as one likes."""

    def losses(self, model: nn.Module, batch: Any, progress: float) -> Losses:  # noqa: ARG002
        return Losses({"a": 100.0 * model(torch.ones(2, 3)).square().sum()}, {})


class TooLarge:
    def losses(self, *_: Any) -> Losses:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total …")


def test_too_little_memory_on_a_gpu_says_what_to_do() -> None:
    training = Training(
        make_accelerator("fp32"), nn.Linear(1, 1), None, SimpleNamespace(set=lambda *_: 1.0), None, TooLarge(), None,
        1, 1, 0,
    )  # type: ignore[arg-type] # fmt: skip
    batches: Any = [Batch(SimpleNamespace(parts=lambda _: [None]))]  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^cpu has too little memory for a step \(CUDA out of memory\)") as told:
        next(train_steps(training, batches, start=0))
    assert "train.accumulate" in told.value.hint


def trained(scaler: torch.amp.GradScaler | None, steps: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and averaged weights after clipped steps."""
    torch.manual_seed(0)
    accelerator = make_accelerator("fp32")
    if scaler is not None:  # as with fp16, but the network computes in fp32
        accelerator.scaler, accelerator.native_amp = scaler, True
        accelerator.state._mixed_precision = "fp16"
        accelerator.autocast = nullcontext
    model = nn.Linear(3, 2)
    ema = make_ema(model, 0.5)
    assert ema is not None
    optimizer = torch.optim.SGD([{"params": model.parameters(), "peak_lr": 0.1}], lr=0.1)
    optimizer = accelerator.prepare(optimizer)
    training = Training(
        accelerator, model, optimizer, SimpleNamespace(set=lambda *_: 1.0), ema, Squares(),
        clipper(clip_norm=0.01, agc=None), steps, 1, 0,
    )  # type: ignore[arg-type] # fmt: skip
    part: Any = SimpleNamespace(parts=lambda _: [None])
    batches: Any = [Batch(part)] * steps
    assert [step for step, _ in train_steps(training, batches, start=0)] == list(range(1, steps + 1))
    return {k: v.clone() for k, v in model.state_dict().items()}, ema.module.state_dict()


def test_gradients_are_clipped_as_they_are_without_the_scaler() -> None:
    plain, scaled = trained(None, 3), trained(torch.amp.GradScaler("cpu", init_scale=2.0**10), 3)
    torch.testing.assert_close(scaled, plain, rtol=0, atol=0)
    start, _ = trained(None, 0)
    assert all(not torch.equal(plain[0][k], v) for k, v in start.items())


def test_a_step_that_overflows_is_skipped_and_the_next_ones_count() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126)
    weights, average = trained(scaler, 1)
    start, _ = trained(None, 0)
    torch.testing.assert_close((weights, average), (start, start), rtol=0, atol=0)
    assert scaler.get_scale() == 2.0**125
    one_less, _ = trained(torch.amp.GradScaler("cpu", init_scale=2.0**126, backoff_factor=2.0**-120), 4)
    torch.testing.assert_close(one_less, trained(None, 3)[0], rtol=0, atol=0)
