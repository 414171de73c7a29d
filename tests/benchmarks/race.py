"""What the races against semilearn share: the clock, our sides, the stored curves and the table.

A race has sides. Each trains the same network from the same initial weights on the same images, on one thread, in a
process of its own. The clock is the CPU time of that process (`time.process_time`) and includes reading and
augmentation; it stops while accuracy is measured. Each point of a curve is measured with the live and with the averaged
weights; of each side those count that end better on average over the seeds. (semilearn's average has no warm-up and is
near chance this early.)
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from resumable import Entry, run_all
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

Images = NDArray[np.uint8]
"""(n, size, size, 3)."""


class Photos(NamedTuple):
    """What one seed trains and measures on."""

    labeled: tuple[Images, NDArray[np.int64]]
    pool: Images
    test: tuple[Images, NDArray[np.int64]]


@dataclass(frozen=True)
class Race:
    """Images, a network, and the sides with their settings."""

    script: str
    photos: Callable[[int, bool], Photos]
    """Seed -> images; True: held-out images in place of those of the test, to choose settings by."""
    classes: int
    network: Mapping[str, Any]
    """Of `build_classifier`."""
    flip: bool
    """Whether augmentation mirrors."""
    sides: Mapping[str, Entry]
    """Name -> settings. Those of semilearn have `peer`, ours have `against`, the side that they race."""
    goal: str

    def model(self, seed: int) -> nn.Module:
        from ssl_mask.models.classifier import build_classifier

        torch.manual_seed(seed)
        return build_classifier({"label": self.classes}, neck="none", head="linear", **self.network)[0]


def run(race: Race, doc: str) -> None:
    options = arguments(race, doc)
    if options.child is not None:
        print(json.dumps(child(race, options.child)))
        return
    store = options.out / f"{Path(race.script).stem}.jsonl"
    entries: list[Entry] = []
    for name in options.sides:
        settings = race.sides[name] | options.set
        jobs = [{"side": name, "seed": s, "validate": options.validate, "settings": settings} for s in options.seeds]
        python = options.peer if "peer" in settings else sys.executable
        entries += run_all(race.script, store, jobs, [], options.jobs, python=python)
    show(race, entries)


def arguments(race: Race, doc: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=sys.executable, help="the Python that has semilearn")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sides", nargs="+", choices=list(race.sides), default=list(race.sides), metavar="SIDE")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time, of one thread each")
    parser.add_argument("--validate", action="store_true", help="measure on held-out images in place of the test's")
    parser.add_argument("--set", type=json.loads, default={}, help="other settings of all --sides, as JSON")
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out"))
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args()


def child(race: Race, job: Entry) -> Entry:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    photos = race.photos(job["seed"], job["validate"])
    if "peer" in job["settings"]:
        from race_semilearn import their_curve

        return {"curve": their_curve(race, photos, job["seed"], job["settings"])}
    return {"curve": our_curve(race, photos, job["seed"], job["settings"])}


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


def accuracy(model: nn.Module, predict: Callable[[slice], Tensor], classes: NDArray[np.int64]) -> float:
    """Of a model in evaluation mode, whose logits of a slice of the test images `predict` returns."""
    with evaluation(model):
        cuts = [slice(i, i + 250) for i in range(0, len(classes), 250)]
        predicted = torch.cat([predict(cut).argmax(dim=1) for cut in cuts]).numpy()
    return float((predicted == classes).mean())


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


# ---- ours ----


def our_curve(race: Race, photos: Photos, seed: int, settings: Entry) -> list[Any]:
    from ssl_mask.data.batches import train_batches
    from ssl_mask.devices import make_accelerator
    from ssl_mask.training.ema import WarmEma
    from ssl_mask.training.loop import Training, train_steps
    from ssl_mask.training.optim import Schedule, build_optimizer

    model, steps = race.model(seed), settings["steps"]
    ema = WarmEma(model, settings["ema"])
    optimizer = build_optimizer(
        model, kind=settings["optimizer"], lr=settings["lr"], backbone_lr_scale=settings["backbone_lr_scale"],
        weight_decay=settings["decay"], momentum=0.9,
    )  # fmt: skip
    accelerator = make_accelerator("fp32")
    training = Training(
        accelerator, model, accelerator.prepare(optimizer),
        Schedule(settings["schedule"], steps, settings["warmup"], settings["final"], 0), ema,
        our_algorithm(model, ema.module, settings), clip=None, steps=steps, accumulate=1, seed=seed,
    )  # fmt: skip
    images, classes = torch.from_numpy(photos.test[0]), photos.test[1]

    def score() -> tuple[float, float]:
        live, averaged = (accuracy(m, lambda cut, m=m: m(images[cut])["label"], classes) for m in (model, ema.module))  # type: ignore[misc]
        return live, averaged

    batches = train_batches(our_batches(race, photos, seed, settings), start=0, stop=steps, workers=0)
    curve = Curve(max(1, steps // settings["points"]), score)
    for done, _ in train_steps(training, batches, start=0):
        curve.step(done)
    return curve.points


def our_algorithm(model: nn.Module, averaged: nn.Module, settings: Entry) -> Any:
    from ssl_mask.algorithms.consistency import Consistency
    from ssl_mask.algorithms.fixmatch import FixMatchRule
    from ssl_mask.algorithms.running import Alignment
    from ssl_mask.algorithms.supervised import Supervised
    from ssl_mask.algorithms.uda import UdaRule

    supervised = Supervised(scale=None)
    if not settings["mu"]:
        return supervised
    uda = settings["algorithm"] == "uda"
    alignment = Alignment(None, 0.95) if settings["alignment"] else None
    return Consistency(
        supervised,
        model if settings["teacher"] == "live" else averaged,
        UdaRule(settings["threshold"], settings["sharpen"]) if uda else FixMatchRule(settings["threshold"]),
        weight=settings["weight"], start=settings["start"], ramp_up=settings["ramp_up"], tsa=settings["tsa"],
        alignment=alignment, weak_training_mode=settings["weak_training"],
    )  # fmt: skip


@dataclass(frozen=True)
class InMemory:
    """An `ImageSource` of images in memory."""

    images: Images

    def __len__(self) -> int:
        return len(self.images)

    def read(self, position: int) -> Images:
        return self.images[position]  # type: ignore[no-any-return]


def our_batches(race: Race, photos: Photos, seed: int, settings: Entry) -> Any:
    from ssl_mask.data.augment import Augmenter
    from ssl_mask.data.batches import LabeledImages, StepBatches, Stream, UnlabeledImages

    images, classes = photos.labeled
    size = images.shape[1]
    labeled = LabeledImages(
        InMemory(images), classes[:, None], [()] * len(images), Augmenter(settings["labeled"], size, flip=race.flip),
        Stream(len(images), settings["batch"], seed),
    )  # fmt: skip
    if not settings["mu"]:
        return StepBatches(labeled)
    weak, strong = (Augmenter(preset, size, flip=race.flip) for preset in (settings["weak"], "strong"))
    stream = Stream(len(photos.pool), settings["batch"] * settings["mu"], seed)
    return StepBatches(labeled, UnlabeledImages(InMemory(photos.pool), weak, strong, stream, strong_at_once=False))


# ---- the table ----


def show(race: Race, entries: Sequence[Entry]) -> None:
    table = Table("side", "seed", "steps", "CPU s", "live %", "averaged %", "at equal time %", "reaches theirs after")
    made = {name: [e for e in entries if e["side"] == name] for name in race.sides}
    screen, summary = Console(width=140), []
    for name, runs in made.items():
        pairs = []
        for entry in runs:
            seconds, steps, live, averaged = entry["curve"][-1]
            cells = [
                name,
                str(entry["seed"]),
                str(steps),
                f"{seconds:.0f}",
                f"{100 * live:.2f}",
                f"{100 * averaged:.2f}",
            ]
            theirs = made.get(entry["settings"].get("against", ""), [])
            their = next((e for e in theirs if e["seed"] == entry["seed"]), None)
            if their is not None:
                equal, share = against(entry, better(runs), their, better(theirs))
                pairs.append((equal, share))
                cells += [f"{100 * equal:.2f}", f"{share:.2f}x" if share < math.inf else "never"]
            table.add_row(*cells)
        if pairs:
            equal, share = (statistics.mean(column) for column in zip(*pairs, strict=True))
            summary.append(f"{name}: {100 * equal:.2f} % at equal CPU time; their score after {share:.2f}x their time")
        elif runs:
            summary.append(f"{name}: {100 * statistics.mean(e['curve'][-1][better(runs)] for e in runs):.2f} %")
    screen.print(table)
    for line in [*summary, f"goal: {race.goal}"]:
        screen.print(line)


def against(ours: Entry, kind: int, theirs: Entry, their_kind: int) -> tuple[float, float]:
    """Our accuracy when their CPU time is used up, and the share of it after which we reached theirs (inf: never)."""
    end = theirs["curve"][-1]
    equal = max((p for p in ours["curve"] if p[0] <= end[0]), default=ours["curve"][0])[kind]
    first = next((p[0] for p in ours["curve"] if p[kind] >= end[their_kind]), math.inf)
    return equal, first / end[0]


def better(runs: Sequence[Entry]) -> int:
    """The place in a point of the weights, live or averaged, that end better over all seeds."""
    live, averaged = (sum(e["curve"][-1][place] for e in runs) for place in (2, 3))
    return 2 if live >= averaged else 3
