"""Measures images/s and GPU memory of training, UDA and prediction beside the raw network and the data path alone.

    python tests/benchmarks/gpu.py [--data DIR] [--only PART ...] [--out FILE.jsonl] [--device cpu --quick]

Each row is printed and written when it is measured, so that a time-out loses nothing:

- ours: the whole loop, from the cache of decoded images through worker processes to the averaged weights
- raw: the same network, loss, optimizer and precision on batches that are on the device already
- data: the batches of the same run alone, read, augmented and copied to the device
- GB: the most memory that the row's own tensors took on the device

Networks that the shipped presets would download start from random weights (`model.weights=none`), with batch-norm
statistics of a few batches: speed does not depend on the values. No row starts after `--limit` seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import send_to_device
from throughput import write_table
from torch import Tensor, nn
from uda_cost import ShareRule

from ssl_mask import devices
from ssl_mask.algorithms.consistency import Consistency
from ssl_mask.config import load_config
from ssl_mask.console import Console
from ssl_mask.data.augment import Augmenter
from ssl_mask.data.batches import train_batches
from ssl_mask.data.image_source import ChosenImages
from ssl_mask.data.own_augment import OwnAugmenter
from ssl_mask.demo_data.draw import draw_demo
from ssl_mask.inference.logits import predict_logits
from ssl_mask.training.loop import train_steps
from ssl_mask.training.session import Session
from ssl_mask.types import Batch, Unlabeled
from ssl_mask.workflows.train import prepare

PARTS = ("train", "uda", "predict", "data", "layout", "augment", "compile")
NETWORKS: dict[str, dict[str, Any]] = {
    "lite0": {"preset": "laptop"},
    "resnet50": {"preset": "gpu", "model": {"backbone": "resnet50", "weights": "none", "image_size": 224}},
    "b3": {"preset": "gpu", "model": {"weights": "none"}},
    "tiny": {"preset": "gpu", "model": {"backbone": "test_efficientnet", "weights": "none", "image_size": 32}},
}
"""The laptop preset at 112 px, ResNet-50 at 224, and the gpu preset at its own size (300); tiny is for dry runs."""
POOL = 200
Row = dict[str, Any]


def main() -> None:
    options = arguments()
    if options.quick:
        options.seconds = 0.2
    options.began = time.perf_counter()
    if options.device == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "1"
        torch.set_num_threads(1)
    elif not torch.cuda.is_available():
        sys.exit("There is no GPU: torch.cuda.is_available() is False. --device cpu --quick tries the script on a CPU.")
    device = torch.cuda.get_device_name(0) if options.device == "cuda" else "CPU"
    print(f"{device}, torch {torch.__version__}, {devices.cores()} cores")
    print(f"{'part':8} {'network':9} {'batch':>5} precision {'what':34} {'ours':>8} {'raw':>8} {'data':>8} {'GB':>6}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SSLMASK_CACHE"] = str(Path(folder, "cache"))
        options.root = write_data(options.data, Path(folder), persons=12 if options.quick else 30)
        for part in options.only:
            try:
                globals()[f"part_{part}"](options)
            except Exception as error:  # a part that cannot begin must not end the others
                print(f"{part}: {type(error).__name__}: {error}", flush=True)
    print(f"{time.perf_counter() - options.began:.0f} s in all; rows in {options.out}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of mask18; not given: drawn photos")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out") / "gpu.jsonl")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny networks and few steps, to try the script")
    parser.add_argument(
        "--seconds", type=float, default=1.2, help="length of a measurement, after half of it to warm up"
    )
    parser.add_argument("--limit", type=float, default=130.0, help="no row starts after so many seconds")
    return parser.parse_args()


def write_data(data: Path | None, folder: Path, persons: int) -> Path:
    """A table of 210 labeled photos, and a folder of unlabeled ones beside it."""
    source = data or draw_demo(folder / "drawn", persons=persons, seed=0).root
    root = write_table(source, folder / "table", 1)
    (folder / "pool").mkdir()
    for photo in sorted((source / "extra").iterdir())[:POOL]:
        shutil.copy(photo, folder / "pool")
    return root


# ---- rows ----


def measured(options: argparse.Namespace, row: Row, work: Callable[[], Row]) -> None:
    """Measure a row, print and write it; what goes wrong is its value."""
    if time.perf_counter() - options.began > options.limit:
        print(f"{row['part']:8} {row.get('network', ''):9} left out: the limit of {options.limit:g} s has passed")
        return
    clear()
    began = time.perf_counter()
    try:
        row |= work()
    except Exception as error:  # a row that fails must not end the others
        row["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
    row["seconds"] = round(time.perf_counter() - began, 1)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a") as file:
        file.write(json.dumps(row) + "\n")
    values = " ".join(f"{row[k]:8.0f}" if k in row else f"{'':8}" for k in ("ours", "raw", "data"))
    print(
        f"{row['part']:8} {row.get('network', ''):9} {row.get('batch', ''):>5} {row.get('precision', ''):9} "
        f"{row.get('what', ''):34} {values} {row.get('gb', 0):6.2f} {row.get('note', '')}{row.get('error', '')}",
        flush=True,
    )


def clear() -> None:
    """Give back what the row before held, and count the peak anew."""
    import gc

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak() -> float:
    return round(torch.cuda.max_memory_allocated() / 1e9, 3) if torch.cuda.is_available() else 0.0


def rate(options: argparse.Namespace, steps: Iterator[object], images: int) -> float:
    """Images/s of an endless iterator with so many images a step.

    By time, not by steps: many workers hand out their first batches all at once.
    """
    took(steps, options.seconds / 2, 10)
    count, seconds = took(steps, options.seconds, 3)
    return round(count * images / seconds, 1)


def took(steps: Iterator[object], seconds: float, least: int) -> tuple[int, float]:
    """(steps, seconds that they took): as many as fit into `seconds`, at least some."""
    wait()
    began, count = time.perf_counter(), 0
    while count < least or time.perf_counter() - began < seconds:
        next(steps)
        count += 1
        if count % 8 == 0:
            wait()  # else a GPU would be given work for longer than that
    wait()
    return count, time.perf_counter() - began


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# ---- sessions ----


def session_of(options: argparse.Namespace, network: str, batch: int, precision: str, **sections: Any) -> Session:
    """A run that is ready to train, as `sslmask train` makes it."""
    chosen = NETWORKS["tiny" if options.quick else network]
    own: dict[str, Any] = {
        "data": {
            "root": str(options.root),
            "min_groups": 1,
            "folds": 2,
            "unlabeled": [str(options.root.parent / "pool")],
        },
        "train": {"steps": 10**6, "epochs": None, "batch_size": 4 if options.quick else batch, "precision": precision},
        "guard": {"mode": "off"},
    }
    AcceleratorState._reset_state(True)
    layers = {k: v for k, v in chosen.items() if k != "preset"}
    if "train" in sections:
        own["train"] |= sections.pop("train")
    config = load_config(layers, own, sections, preset=chosen["preset"])
    accelerator = devices.make_accelerator("bf16" if precision == "fp16" and options.device == "cpu" else precision)
    session = prepare(config, accelerator, Console(quiet=True))[0]
    if config.model.weights == "none":
        settle_norms(session)
    return session


@torch.no_grad()
def settle_norms(session: Session) -> None:
    """Batch-norm statistics of three batches: random weights with the stored ones would let values grow or vanish."""
    model = session.training.live
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [m.momentum for m in norms]
    frozen, model.freeze_norm = model.freeze_norm, False
    model.train()
    for norm in norms:
        norm.momentum = None
    for batch in some_batches(session, 3):
        model(batch.labeled.images)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    model.freeze_norm = frozen
    model.train()


def loader(session: Session, workers: int, *, pin: bool = True) -> Generator[Batch, None, None]:
    gpu = session.accelerator.device.type == "cuda"
    return train_batches(session.batches(workers=workers), start=0, stop=10**6, workers=workers, pin=pin and gpu)


def some_batches(session: Session, count: int) -> list[Batch]:
    """Batches on the device, with all strong views made."""
    with closing(loader(session, 1)) as batches:
        return [on_device(next(batches), session.accelerator.device) for _ in range(count)]


def on_device(batch: Batch, device: torch.device) -> Batch:
    moved: Batch = send_to_device(batch, device)
    if batch.unlabeled is None or moved.unlabeled is None:
        return moved
    views = batch.unlabeled.strong(torch.arange(len(batch.unlabeled.weak))).to(device)
    return moved._replace(
        unlabeled=Unlabeled(moved.unlabeled.weak, lambda rows: views[rows.to(device)], moved.unlabeled.rows)
    )


def our_rate(options: argparse.Namespace, session: Session, workers: int, *, pin: bool = True) -> float:
    batches = loader(session, workers, pin=pin)
    with closing(batches):
        return rate(options, train_steps(session.training, batches, start=0), session.config.train.images_per_step)


def raw_rate(options: argparse.Namespace, session: Session) -> float:
    return rate(options, raw_steps(session), session.config.train.images_per_step)


def raw_steps(session: Session) -> Iterator[object]:
    """The floor: forward, loss, backward and optimizer on batches that are on the device."""
    training = session.training
    batches, optimizer, scaler = some_batches(session, 2), training.optimizer.optimizer, training.accelerator.scaler
    training.model.train()
    while True:
        for batch in batches:
            with training.accelerator.autocast():
                loss = training.algorithm.losses(training.model, batch, 0.5).total
            if scaler is None:
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            else:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            optimizer.zero_grad(set_to_none=True)
            yield loss


def data_rate(options: argparse.Namespace, session: Session, workers: int, *, pin: bool = True) -> float:
    batches, device = loader(session, workers, pin=pin), session.accelerator.device
    with closing(batches):
        return rate(
            options,
            (send_to_device(b, device, non_blocking=True) for b in batches),
            session.config.train.images_per_step,
        )


def many_workers(options: argparse.Namespace) -> int:
    return 1 if options.quick else min(16, devices.cores())


# ---- parts ----


def part_train(options: argparse.Namespace) -> None:
    """The recipes of the presets, in each precision."""
    asked = [("lite0", 64, "bf16"), ("lite0", 256, "bf16"), ("resnet50", 128, "bf16"), ("b3", 64, "bf16")]
    asked += [("b3", 64, "fp16"), ("b3", 64, "fp32")]
    for network, batch, precision in asked[:: 4 if options.quick else 1]:

        def work(network: str = network, batch: int = batch, precision: str = precision) -> Row:
            session = session_of(options, network, batch, precision)
            found = {"ours": our_rate(options, session, many_workers(options)), "gb": peak()}
            return {
                **found,
                "raw": raw_rate(options, session),
                "data": data_rate(options, session, many_workers(options)),
            }

        row = {"part": "train", "network": network, "batch": batch, "precision": precision}
        measured(options, row | {"what": f"workers {many_workers(options)}"}, work)


def part_uda(options: argparse.Namespace) -> None:
    """Labeled images/s with μ 4; all of the unlabeled ones have a strong view, or a third."""
    for network, batch, shares in [("lite0", 64, (1.0, 0.3)), ("b3", 32, (0.3,))][: 1 if options.quick else 2]:
        for share in shares:

            def work(network: str = network, batch: int = batch, share: float = share) -> Row:
                algorithm = {"name": "uda", "mu": 4.0, "temperature": 1.0}
                session = session_of(options, network, batch, "bf16", algorithm=algorithm)
                consistency = session.training.algorithm
                assert isinstance(consistency, Consistency)
                consistency.rule = ShareRule(share)
                found = {"ours": our_rate(options, session, many_workers(options)), "gb": peak()}
                data = data_rate(options, session, many_workers(options))
                return {**found, "raw": raw_rate(options, session), "data": data}

            row = {"part": "uda", "network": network, "batch": batch, "precision": "bf16"}
            measured(options, row | {"what": f"mu 4, strong views of {share:.0%}"}, work)


def part_predict(options: argparse.Namespace) -> None:
    """Images/s of predict_logits from the cache, over those of the raw forward of one batch on the device."""
    for network, batch in [("lite0", 256), ("resnet50", 256), ("b3", 256)][: 1 if options.quick else 3]:

        def work(network: str = network, batch: int = batch) -> Row:
            session = session_of(options, network, 32, "bf16")
            size = 4 if options.quick else batch
            images, model = session.data.train.images, session.training.live.eval()
            many = ChosenImages(images, [i % len(images) for i in range((4 if options.quick else 40) * size)])
            go = partial(
                predict_logits, model, accelerator=session.accelerator, batch_size=size, workers=many_workers(options)
            )
            go(source=ChosenImages(images, range(min(size, len(images)))))
            wait()
            began = time.perf_counter()
            go(source=many)
            found = {"ours": round(len(many) / (time.perf_counter() - began), 1), "gb": peak()}
            pixels = torch.randint(256, (size, session.size, session.size, 3), dtype=torch.uint8)
            return {**found, "raw": rate(options, forwards(session, pixels), size)}

        row = {"part": "predict", "network": network, "batch": batch, "precision": "bf16"}
        measured(options, row | {"what": f"workers {many_workers(options)}"}, work)


def forwards(session: Session, pixels: Tensor) -> Iterator[object]:
    model, moved = session.training.live.eval(), pixels.to(session.accelerator.device)
    while True:
        with torch.inference_mode(), session.accelerator.autocast():
            yield model(moved)


def part_data(options: argparse.Namespace) -> None:
    """The data path alone by worker processes, and without pinned memory; and what training makes of it."""
    for network, batch in [("lite0", 256)]:
        session = session_of(options, network, batch, "bf16")
        for workers, pin in [(0, True), (4, True), (8, True), (8, False), (16, True)][:: 4 if options.quick else 1]:

            def work(session: Session = session, workers: int = workers, pin: bool = pin) -> Row:
                trained = our_rate(options, session, workers, pin=pin)
                return {"ours": trained, "data": data_rate(options, session, workers, pin=pin), "gb": peak()}

            row = {"part": "data", "network": network, "batch": batch, "precision": "bf16"}
            measured(options, row | {"what": f"workers {workers}" + ("" if pin else ", not pinned")}, work)


def part_layout(options: argparse.Namespace) -> None:
    """The raw step without channels-last order, which all networks have here, those of `train` too."""
    for network, batch in [("resnet50", 128), ("b3", 64)][: 1 if options.quick else 2]:

        def work(network: str = network, batch: int = batch) -> Row:
            session = session_of(options, network, batch, "bf16")
            make_contiguous(session.training.live)
            return {"raw": raw_rate(options, session), "gb": peak()}

        row = {"part": "layout", "network": network, "batch": batch, "precision": "bf16", "what": "contiguous"}
        measured(options, row, work)


def make_contiguous(model: Any) -> None:
    model.to(memory_format=torch.contiguous_format)
    features = model.backbone.forward_features
    model.backbone.forward_features = lambda pixels: features(pixels.contiguous())


def part_compile(options: argparse.Namespace) -> None:
    """`train.compile`: the raw step, and seconds until the first one is done."""
    for network, batch in [("lite0", 256), ("resnet50", 128)][: 1 if options.quick else 2]:

        def work(network: str = network, batch: int = batch) -> Row:
            session = session_of(options, network, batch, "bf16", train={"compile": not options.quick})
            began = time.perf_counter()
            next(raw_steps(session))
            wait()
            first = time.perf_counter() - began
            return {"raw": raw_rate(options, session), "gb": peak(), "note": f"first step {first:.0f} s"}

        row = {"part": "compile", "network": network, "batch": batch, "precision": "bf16"}
        measured(options, row | {"what": "train.compile=true"}, work)


# ---- augmentation: the same operations on the CPU and on the GPU ----

OWN: Sequence[dict[str, Any]] = (
    {"HorizontalFlip": {"p": 0.5}},
    {"Affine": {"rotate": [-12, 12], "scale": [0.9, 1.1], "translate_percent": [-0.06, 0.06], "p": 1.0}},
    {"RandomBrightnessContrast": {"brightness_limit": 0.2, "contrast_limit": 0.2, "p": 1.0}},
)


def part_augment(options: argparse.Namespace) -> None:
    """Flip, small rotation, zoom and shift, brightness and contrast: on one core, and on the device."""
    for size in (32,) if options.quick else (224,):
        images = torch.randint(256, (8 if options.quick else 256, size, size, 3), dtype=torch.uint8)
        kinds: dict[str, Callable[[Tensor], Iterator[object]]] = {
            "albumentations, one core": partial(on_cpu, OwnAugmenter(list(OWN), size)),
            "preset light, one core": partial(on_cpu, Augmenter("light", size)),
            "torchvision, one draw a batch": partial(on_gpu, options, each=False),
            "torchvision, one draw an image": partial(on_gpu, options, each=True),
        }
        for what, steps in kinds.items():

            def work(images: Tensor = images, steps: Callable[[Tensor], Iterator[object]] = steps) -> Row:
                return {"data": rate(options, steps(images), len(images)), "gb": peak()}

            measured(options, {"part": "augment", "network": f"{size} px", "batch": len(images), "what": what}, work)


def on_cpu(augment: Any, images: Tensor) -> Iterator[object]:
    pixels, step = images.numpy(), 0
    while True:
        yield [augment(image, (step, i)) for i, image in enumerate(pixels)]
        step += 1


def on_gpu(options: argparse.Namespace, images: Tensor, *, each: bool) -> Iterator[object]:
    """uint8 batches that are on the device. A transform draws once a call, image by image once an image."""
    from torchvision.transforms import InterpolationMode, v2

    change = v2.Compose([
        v2.RandomHorizontalFlip(0.5),
        v2.RandomAffine(12, translate=(0.06, 0.06), scale=(0.9, 1.1), interpolation=InterpolationMode.BILINEAR),
        v2.ColorJitter(brightness=0.2, contrast=0.2),
    ])  # fmt: skip
    moved = images.permute(0, 3, 1, 2).contiguous().to(options.device)
    while True:
        yield [change(image) for image in moved] if each else change(moved)


if __name__ == "__main__":
    main()
