"""Races UDA here against UDA of semilearn 0.3.2: accuracy against CPU time on digits with 4 labels per class.

    python tests/benchmarks/uda_race.py --peer PEER/bin/python [--seeds 0 1 2]

scikit-learn's digits as 32 px RGB photos. Seed s draws 450 test photos, then 40 labeled ones; the others are the
unlabeled pool. Every side trains timm's resnet10t from scratch on those photos, on one thread, in a process of its own:

- semilearn: its UDA with its own loop, data set class, sampler, RandAugment and default settings, but 16 + 112 + 112
  views a step and `--peer-lr`; mirroring is left out, as it is here
- ours: `train_steps` on `train_batches`, as `sslmask train` runs them
- labels only: the same without the pool, and at most as long

The clock is the CPU time of the process (`time.process_time`) and includes reading and augmentation; it stops while
accuracy is measured. Each point of a curve is measured with the live and with the averaged weights; of each side those
count that end better on average over the seeds. (semilearn's average has no warm-up and is near chance this early.)
PEER is the environment that `uda_cost.py` describes.

Our settings were chosen on seeds 10 and 11, which are none of the reported ones. Results are appended to
`--out`/uda_race.jsonl, and what is there for the same side, seed and settings is not redone. After a change of the
code alone, choose a new `--out`.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

SIDES = ("semilearn", "ours", "labels only")
TEST, LABELS_A_CLASS, SIZE, CLASSES = 450, 4, 32, 10
THEIRS = {"steps": 150, "batch": 16, "uratio": 7, "lr": 0.03}
OURS = {
    "steps": 470, "batch": 16, "mu": 4, "lr": 3e-3, "optimizer": "adamw", "decay": 0.05, "ema": 0.99,
    "threshold": 0.8, "sharpen": 0.4, "weight": 1.0, "start": 0.3, "ramp_up": 0.1, "tsa": "off", "teacher": "live",
    "labeled": "light", "weak": "light", "weak_training": False, "dense": False,
}  # fmt: skip
LABELS_ONLY = OURS | {"mu": 0, "steps": 900}
SETTINGS: dict[str, dict[str, Any]] = {"semilearn": THEIRS, "ours": OURS, "labels only": LABELS_ONLY}
POINTS = 15
Entry = dict[str, Any]


def main() -> None:
    options = arguments()
    if options.child is not None:
        child(options.child, options.seed, options.settings)
        return
    entries = [once(options, side, seed) for seed in options.seeds for side in options.sides]
    show(entries)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=sys.executable, help="the Python that has semilearn")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--peer-lr", type=float, default=THEIRS["lr"], help="semilearn's learning rate")
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out"))
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=json.loads, default={}, help=argparse.SUPPRESS)
    return parser.parse_args()


def once(options: argparse.Namespace, side: str, seed: int) -> Entry:
    """The stored result of this side, seed and settings, or a new one from a process of its own, which is stored."""
    store = options.out / "uda_race.jsonl"
    settings = SETTINGS[side] | ({"lr": options.peer_lr} if side == "semilearn" else {})
    key: Entry = {"side": side, "seed": seed, "settings": settings}
    for entry in map(json.loads, store.read_text().splitlines() if store.exists() else []):
        if entry.items() >= key.items():
            return dict(entry)
    python = options.peer if side == "semilearn" else sys.executable
    command = [python, __file__, "--child", side, "--seed", str(seed), "--settings", json.dumps(settings)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    entry = {**key, "curve": json.loads(ran.stdout.splitlines()[-1])}
    options.out.mkdir(parents=True, exist_ok=True)
    with store.open("a") as file:
        file.write(json.dumps(entry) + "\n")
    return entry


def child(side: str, seed: int, settings: Entry) -> None:
    """Train one side and print its curve."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    run = semilearn_curve if side == "semilearn" else our_curve
    print(json.dumps(run(digits(seed), seed, SETTINGS[side] | settings)))


# ---- the photos ----


class Digits(NamedTuple):
    """(n, size, size, 3) uint8 photos and (n,) classes."""

    labeled: tuple[NDArray[np.uint8], NDArray[np.int64]]
    pool: NDArray[np.uint8]
    test: tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class InMemory:
    """An `ImageSource` of photos in memory."""

    photos: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.photos)

    def read(self, position: int) -> NDArray[np.uint8]:
        return self.photos[position]  # type: ignore[no-any-return]


def digits(seed: int) -> Digits:
    import cv2
    from sklearn.datasets import load_digits

    small, classes = load_digits(return_X_y=True)
    grey = [cv2.resize((d.reshape(8, 8) * 15.9375).astype(np.uint8), (SIZE, SIZE)) for d in small]
    photos, classes = np.stack([np.repeat(g[:, :, None], 3, axis=2) for g in grey]), classes.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(photos))
    test, train = order[:TEST], order[TEST:]
    labeled = np.concatenate([train[classes[train] == c][:LABELS_A_CLASS] for c in range(CLASSES)])
    pool = np.setdiff1d(train, labeled)
    return Digits((photos[labeled], classes[labeled]), photos[pool], (photos[test], classes[test]))


# ---- the clock and the score ----


@dataclass
class Curve:
    """Points (CPU seconds, steps, accuracy of the live weights, of the averaged ones)."""

    every: int
    score: Callable[[], tuple[float, float]]
    points: list[tuple[float, int, float, float]] = field(default_factory=list)
    paused: float = 0.0
    began: float = field(default_factory=time.process_time)

    def step(self, done: int) -> None:
        """Measure a point when it is due; the clock stops meanwhile."""
        if done % self.every == 0:
            now = time.process_time()
            self.points.append((now - self.began - self.paused, done, *self.score()))
            self.paused += time.process_time() - now


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def accuracy(logits: Tensor, classes: NDArray[np.int64]) -> float:
    return float((logits.argmax(dim=1).numpy() == classes).mean())


# ---- ours ----


def our_curve(data: Digits, seed: int, settings: Entry) -> list[Any]:
    from ssl_mask.algorithms.consistency import Consistency
    from ssl_mask.algorithms.supervised import Supervised
    from ssl_mask.algorithms.uda import UdaRule
    from ssl_mask.data.batches import train_batches
    from ssl_mask.devices import make_accelerator
    from ssl_mask.models.classifier import build_classifier
    from ssl_mask.training.ema import WarmEma
    from ssl_mask.training.loop import Training, train_steps
    from ssl_mask.training.optim import Schedule, build_optimizer
    from ssl_mask.types import Algorithm

    torch.manual_seed(seed)
    model, _ = build_classifier(
        {"digit": CLASSES}, backbone="resnet10t", weights="none", neck="none", head="linear", image_size=SIZE
    )
    steps, ema = settings["steps"], WarmEma(model, settings["ema"])
    algorithm: Algorithm = Supervised(scale=None)
    if settings["mu"]:
        algorithm = Consistency(
            Supervised(scale=None),
            model if settings["teacher"] == "live" else ema.module,
            UdaRule(settings["threshold"], settings["sharpen"]),
            weight=settings["weight"],
            start=settings["start"],
            ramp_up=settings["ramp_up"],
            tsa=settings["tsa"],
            dense=settings["dense"],
            weak_training_mode=settings["weak_training"],
        )
    optimizer = build_optimizer(
        model, kind=settings["optimizer"], lr=settings["lr"], backbone_lr_scale=1.0, weight_decay=settings["decay"],
        momentum=0.9,
    )  # fmt: skip
    accelerator = make_accelerator("fp32")
    training = Training(
        accelerator, model, accelerator.prepare(optimizer), Schedule("one_cycle", steps, 0.1, 0.0, 0), ema, algorithm,
        clip=None, steps=steps, accumulate=1, seed=seed,
    )  # fmt: skip
    photos, classes = torch.from_numpy(data.test[0]), data.test[1]

    def score() -> tuple[float, float]:
        with evaluation(model), evaluation(ema.module):
            return accuracy(model(photos)["digit"], classes), accuracy(ema.module(photos)["digit"], classes)

    curve = Curve(steps // POINTS, score)
    for done, _ in train_steps(
        training, train_batches(our_batches(data, seed, settings), start=0, stop=steps, workers=0), start=0
    ):
        curve.step(done)
    return curve.points


def our_batches(data: Digits, seed: int, settings: Entry) -> Any:
    from ssl_mask.data.augment import Augmenter
    from ssl_mask.data.batches import LabeledImages, StepBatches, Stream, UnlabeledImages

    photos, classes = data.labeled
    labeled = LabeledImages(
        InMemory(photos), classes[:, None], [()] * len(photos), Augmenter(settings["labeled"], SIZE, flip=False),
        Stream(len(photos), settings["batch"], seed),
    )  # fmt: skip
    if not settings["mu"]:
        return StepBatches(labeled)
    weak, strong = Augmenter(settings["weak"], SIZE, flip=False), Augmenter("strong", SIZE, flip=False)
    stream = Stream(len(data.pool), settings["batch"] * settings["mu"], seed)
    return StepBatches(labeled, UnlabeledImages(InMemory(data.pool), weak, strong, stream, strong_at_once=False))


# ---- theirs ----


def semilearn_curve(data: Digits, seed: int, settings: Entry) -> list[Any]:
    """`AlgorithmBase.train` with all its hooks but evaluation and checkpoints, which would be on its clock."""
    from uda_cost import WithFeatures, make_semilearn_uda

    torch.manual_seed(seed)
    np.random.seed(seed)
    import random

    random.seed(seed)
    steps = settings["steps"]
    algorithm = make_semilearn_uda(
        lambda num_classes, **_: WithFeatures(num_classes), steps=steps, lr=settings["lr"], seed=seed,
        batch_size=settings["batch"], uratio=settings["uratio"],
    )  # fmt: skip
    from semilearn.core.hooks import Hook

    algorithm.loader_dict = semilearn_loaders(data, algorithm.args, steps)
    for name in ("EvaluationHook", "CheckpointHook"):
        del algorithm.hooks_dict[name]
    photos = torch.stack([semilearn_transforms()[2](photo) for photo in data.test[0]])

    def score() -> tuple[float, float]:
        with evaluation(algorithm.model), evaluation(algorithm.ema_model):
            logits = [net(photos)["logits"] for net in (algorithm.model, algorithm.ema_model)]
        return accuracy(logits[0], data.test[1]), accuracy(logits[1], data.test[1])

    curve = Curve(steps // POINTS, score)

    class Score(Hook):  # type: ignore[misc]
        def after_train_step(self, algorithm: Any) -> None:
            curve.step(algorithm.it + 1)

    algorithm.hooks_dict["Score"] = Score()
    curve.began = time.process_time()
    algorithm.train()
    return curve.points


def semilearn_loaders(data: Digits, args: Any, steps: int) -> dict[str, Any]:
    from semilearn import BasicDataset, get_data_loader

    weak, strong, _ = semilearn_transforms()
    photos, classes = data.labeled
    labeled = BasicDataset("uda", photos, classes, CLASSES, weak, False, strong, False)
    pool = BasicDataset("uda", data.pool, None, CLASSES, weak, True, strong, False)
    sampled = {"data_sampler": "RandomSampler", "num_iters": steps, "num_epochs": 1, "num_workers": 0}
    return {
        "train_lb": get_data_loader(args, labeled, args.batch_size, **sampled),
        "train_ulb": get_data_loader(args, pool, args.batch_size * args.uratio, **sampled),
    }


def semilearn_transforms() -> list[Any]:
    """Weak, strong and none, as its CIFAR data set makes them, but never mirrored."""
    from semilearn.datasets.augmentation import RandAugment
    from torchvision import transforms as T

    tensor = [T.ToTensor(), T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    crop = [T.Resize(SIZE), T.RandomCrop(SIZE, padding=SIZE // 8, padding_mode="reflect")]
    return [T.Compose([*crop, *tensor]), T.Compose([*crop, RandAugment(3, 5), *tensor]), T.Compose(tensor)]


# ---- the table ----


def show(entries: Sequence[Entry]) -> None:
    table = Table("side", "seed", "steps", "CPU s", "live %", "averaged %", "at equal time %", "reaches theirs after")
    theirs = {e["seed"]: e["curve"] for e in entries if e["side"] == "semilearn"}
    scores: dict[str, list[tuple[float, float]]] = {}
    for side in SIDES:
        group = [e for e in entries if e["side"] == side]
        kind, their_kind = better(group), better([e for e in entries if e["side"] == "semilearn"])
        for entry in group:
            seconds, steps, live, averaged = entry["curve"][-1]
            cells = [side, str(entry["seed"]), str(steps), f"{seconds:.0f}"]
            cells += [f"{100 * live:.2f}", f"{100 * averaged:.2f}"]
            if side != "semilearn" and entry["seed"] in theirs:
                their = theirs[entry["seed"]][-1]
                equal = max((p for p in entry["curve"] if p[0] <= their[0]), default=entry["curve"][0])[kind]
                first = next((p[0] for p in entry["curve"] if p[kind] >= their[their_kind]), math.inf)
                scores.setdefault(side, []).append((equal, first / their[0]))
                cells += [
                    f"{100 * equal:.2f}",
                    f"{first:.0f} s = {first / their[0]:.2f}x" if first < math.inf else "never",
                ]
            table.add_row(*cells)
    screen = Console()
    screen.print(table)
    for side, pairs in scores.items():
        equal, ratio = (statistics.mean(column) for column in zip(*pairs, strict=True))
        goals = " (goals: >= 97 %, <= 0.5x)" if side == "ours" else ""
        screen.print(f"{side}: {100 * equal:.2f} % at equal CPU time; their score after {ratio:.2f}x their time{goals}")


def better(group: Sequence[Entry]) -> int:
    """The place in a point of the weights, live or averaged, that end better over all seeds."""
    live, averaged = (sum(e["curve"][-1][place] for e in group) for place in (2, 3))
    return 2 if live >= averaged else 3


if __name__ == "__main__":
    main()
