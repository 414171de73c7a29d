r"""Measures what one optimizer step of UDA costs here and in semilearn 0.3.2: CPU time, augmentation excluded.

    PEER/bin/python tests/benchmarks/uda_cost.py [--networks wrn_28_2 resnet10t] [--blocks 9] [--steps 1]

Both sides take turns in one process (ours, theirs, ours, …) on one thread, with the same network, images and batch
(16 labeled + 112 weak + 112 strong views, 32 px, in memory); each figure is the median of the ratios of neighbouring
blocks, with quartiles. Ours is `train_steps` with its finite check, statistics, optimizer and EMA; theirs is
semilearn's own `train_step` and all hooks that its loop calls at each step. Both use SGD with Nesterov momentum.

- rate 0.5, rate 0.2: exactly that share of the unlabeled images survives the mask
- dense: every strong view is trained, as theirs does

Ours also gains by its memory layout: weights and images are channels-last, as `build_classifier` makes them.
`--contiguous` takes that away, so that what is left is the algorithm alone.

semilearn runs on a GPU only: its `.cuda()` calls and CUDA clocks are replaced by nothing. Its environment:

    uv venv --python 3.11 PEER
    uv pip install --python PEER/bin/python -e . semilearn==0.3.2 torch==2.13.0 torchvision==0.28.0 \
        torchaudio==2.11.0 transformers==4.57.1 "boto3>=1.35"

torchaudio 2.11 (the newest) and torch 2.15 refuse each other; without boto3 uv takes one that no longer imports.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import timm
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from ssl_mask.algorithms.consistency import Consistency
from ssl_mask.algorithms.supervised import Supervised
from ssl_mask.algorithms.targets import Targets
from ssl_mask.algorithms.uda import UdaRule
from ssl_mask.devices import make_accelerator
from ssl_mask.training.ema import WarmEma
from ssl_mask.training.loop import Training, train_steps
from ssl_mask.training.optim import Schedule, build_optimizer
from ssl_mask.types import Batch, HeadTensors, Labeled, Unlabeled

LABELED, UNLABELED, SIZE, CLASSES = 16, 112, 32, 10
GOALS = {"rate 0.5": 0.48, "rate 0.2": 0.36, "dense": 0.97}
LR, MOMENTUM, DECAY, EMA = 1e-3, 0.9, 5e-4, 0.999
FOREVER = 10**9
Entry = dict[str, Any]


def main() -> None:
    options = arguments()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    entries = [
        once(options, network, mode, partial(measure, network, mode, options))
        for network in options.networks
        for mode in options.modes
    ]
    show(entries)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=["wrn_28_2", "resnet10t"], default=["wrn_28_2", "resnet10t"])
    parser.add_argument("--modes", nargs="+", choices=list(GOALS), default=list(GOALS))
    parser.add_argument("--blocks", type=int, default=9, help="pairs of blocks a figure")
    parser.add_argument("--steps", type=int, default=1, help="steps a block")
    parser.add_argument("--contiguous", action="store_true", help="ours without channels-last")
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out"))
    return parser.parse_args()


def once(options: argparse.Namespace, network: str, mode: str, work: Callable[[], Entry]) -> Entry:
    """The stored result of the same settings, or a new one, which is stored."""
    store = options.out / "uda_cost.jsonl"
    layout = "contiguous" if options.contiguous else "channels-last"
    key: Entry = {"network": network, "mode": mode, "layout": layout, "blocks": options.blocks, "steps": options.steps}
    for entry in map(json.loads, store.read_text().splitlines() if store.exists() else []):
        if entry.items() >= key.items():
            return dict(entry)
    entry = {**key, **work()}
    options.out.mkdir(parents=True, exist_ok=True)
    with store.open("a") as file:
        file.write(json.dumps(entry) + "\n")
    return entry


def measure(network: str, mode: str, options: argparse.Namespace) -> Entry:
    """CPU milliseconds per step of both sides, and the ratios of neighbouring blocks."""
    views = make_views()
    with closing(our_steps(network, mode, views, contiguous=options.contiguous)) as ours:
        theirs = their_steps(network, views)
        pairs = [(clocked(ours, options.steps), clocked(theirs, options.steps)) for _ in range(options.blocks + 1)][1:]
    our_ms, their_ms = (1000 * statistics.median(side) / options.steps for side in zip(*pairs, strict=True))
    return {"ours": our_ms, "theirs": their_ms, "ratios": [a / b for a, b in pairs]}


def clocked(steps: Iterator[object], count: int) -> float:
    began = time.process_time()
    for _ in range(count):
        next(steps)
    return time.process_time() - began


def make_views() -> dict[str, Tensor]:
    """(n, size, size, 3) uint8 labeled, weak and strong views, and (labeled,) labels."""
    generator = torch.Generator().manual_seed(0)

    def some(count: int) -> Tensor:
        return torch.randint(256, (count, SIZE, SIZE, 3), generator=generator, dtype=torch.uint8)

    labels = torch.randint(CLASSES, (LABELED,), generator=generator)
    return {"labeled": some(LABELED), "weak": some(UNLABELED), "strong": some(UNLABELED), "labels": labels}


def normalised(images: Tensor) -> Tensor:
    """(n, size, size, 3) uint8 -> (n, 3, size, size) float32, about −2 … 2."""
    return (images.permute(0, 3, 1, 2).float() - 127.5) / 64.0


# ---- ours ----


class Ours(nn.Module):
    """uint8 photos in, logits of one head out, on semilearn's kind of network."""

    def __init__(self, net: nn.Module, *, contiguous: bool) -> None:
        super().__init__()
        self.layout = torch.contiguous_format if contiguous else torch.channels_last
        self.net = net.to(memory_format=self.layout)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"label": self.net(normalised(images).contiguous(memory_format=self.layout))["logits"]}


class ShareRule(UdaRule):
    """UDA, except that exactly a share of the images counts."""

    def __init__(self, share: float) -> None:
        super().__init__(threshold=0.8, sharpen=0.4)
        self.share = share

    def targets(self, logits: HeadTensors) -> Targets:
        made = super().targets(logits)
        weights = {name: torch.zeros_like(each) for name, each in made.weights.items()}
        for each in weights.values():
            each[: round(self.share * len(each))] = 1.0
        return Targets(made.probs, weights)


def our_steps(network: str, mode: str, views: dict[str, Tensor], *, contiguous: bool) -> Generator[object, None, None]:
    torch.manual_seed(0)
    model = Ours(make_network(network, num_classes=CLASSES), contiguous=contiguous)
    share = 1.0 if mode == "dense" else float(mode.removeprefix("rate "))
    algorithm = Consistency(Supervised(scale=None), model, ShareRule(share), dense=mode == "dense")
    optimizer = build_optimizer(
        model, kind="sgd", lr=LR, backbone_lr_scale=1.0, weight_decay=DECAY, momentum=MOMENTUM
    )  # fmt: skip
    accelerator = make_accelerator("fp32")
    training = Training(
        accelerator, model, accelerator.prepare(optimizer), Schedule("cosine", FOREVER, 0.0, 0.0, 0),
        WarmEma(model, EMA), algorithm, clip=None, steps=FOREVER, accumulate=1, seed=0,
    )  # fmt: skip
    strong = views["strong"]
    batch = Batch(
        Labeled(views["labeled"], views["labels"][:, None]), Unlabeled(views["weak"], lambda rows: strong[rows])
    )
    return train_steps(training, repeat(batch), start=0)


# ---- theirs ----


def make_network(network: str, **settings: Any) -> nn.Module:
    """semilearn's own network class, or timm's resnet10t with semilearn's outputs."""
    if network == "resnet10t":
        return WithFeatures(settings["num_classes"])
    use_semilearn()
    from semilearn.nets import wrn_28_2

    return wrn_28_2(num_classes=settings["num_classes"])  # type: ignore[no-any-return]


class WithFeatures(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.net = timm.create_model("resnet10t", pretrained=False, num_classes=classes)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        features = self.net.forward_head(self.net.forward_features(pixels), pre_logits=True)
        return {"logits": self.net.get_classifier()(features), "feat": features}


def their_steps(network: str, views: dict[str, Tensor]) -> Iterator[object]:
    """The body of `AlgorithmBase.train` with its hooks; evaluation and checkpoints never fall due."""
    algorithm = make_semilearn(partial(make_network, network), steps=FOREVER)
    labeled, weak, strong = (normalised(views[side]).contiguous() for side in ("labeled", "weak", "strong"))
    data_lb = {"idx_lb": torch.arange(LABELED), "x_lb": labeled, "y_lb": views["labels"]}
    data_ulb = {"idx_ulb": torch.arange(UNLABELED), "x_ulb_w": weak, "x_ulb_s": strong}
    algorithm.model.train()
    algorithm.call_hook("before_run")
    while True:
        algorithm.call_hook("before_train_step")
        algorithm.out_dict, algorithm.log_dict = algorithm.train_step(**algorithm.process_batch(**data_lb, **data_ulb))
        algorithm.call_hook("after_train_step")
        algorithm.it += 1
        yield algorithm.log_dict


def make_semilearn(net_builder: Callable[..., nn.Module], *, steps: int, **settings: Any) -> Any:
    """An algorithm of semilearn (UDA unless asked otherwise) on the CPU, with its defaults; no data, no log lines."""
    use_semilearn()
    from semilearn import get_algorithm, get_config

    asked = {
        "algorithm": "uda", "dataset": "none", "num_classes": CLASSES, "batch_size": LABELED,
        "uratio": UNLABELED // LABELED, "num_train_iter": steps, "num_eval_iter": 0, "num_log_iter": 0,
        "gpu": 0, "rank": 0, "world_size": 1, "distributed": False, "num_workers": 0, "lr": LR, "momentum": MOMENTUM,
        "weight_decay": DECAY, "ema_m": EMA,
    }  # fmt: skip
    return get_algorithm(get_config(asked | settings), net_builder, None, QuietLogger())


class QuietLogger:
    def info(self, *_: object) -> None:
        pass


class NoEvent:
    """In place of a CUDA event."""

    def __init__(self, **_: object) -> None:
        pass

    def record(self) -> None:
        pass

    def elapsed_time(self, _: object) -> float:
        return 0.0


def use_semilearn() -> None:
    """Take from torch what semilearn calls a GPU for."""
    for kind in (Tensor, nn.Module):
        kind.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    torch.cuda.Event = NoEvent  # type: ignore[misc,assignment]
    torch.cuda.synchronize = lambda *_: None


# ---- the table ----


def show(entries: Sequence[Entry]) -> None:
    table = Table("network", "ours", "layout", "ours, ms", "semilearn, ms", "ratio", "quartiles", "goal")
    for entry in entries:
        low, median, high = statistics.quantiles(entry["ratios"], n=4)
        table.add_row(
            entry["network"], entry["mode"], entry["layout"], f"{entry['ours']:.0f}", f"{entry['theirs']:.0f}",
            f"{median:.3f}", f"{low:.3f}-{high:.3f}", f"<= {GOALS[entry['mode']]}",
        )  # fmt: skip
    Console().print(table)
    print("ms: CPU milliseconds of one optimizer step")


if __name__ == "__main__":
    main()
