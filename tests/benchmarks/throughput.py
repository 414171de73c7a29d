"""Measures what sslmask costs compared with the raw network: seconds per training step, images/s, start-up, memory.

    python tests/benchmarks/throughput.py [--data DIR] [--blocks 8] [--steps 10] [--threads 1]

Ours and the raw floor take turns in one process (A B A B …) on the same network, so drift and other jobs hit both;
each figure is the median of the ratios of neighbouring blocks. Worker processes are stopped while the raw block
runs: else they would fill their queue on its time. Ratios are given of wall time and of this process's CPU time. On
a machine that others use too, take `--threads 1`: several compute threads wait for one another's turn on the cores,
and a step then takes up to ten times as long. Everything is written to a temporary folder.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from multiprocessing import active_children
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # at run time torch comes late: see peak_memory
    from ssl_mask.training.session import Session
    from ssl_mask.types import Batch

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("start", "memory", "speed")
PHOTOS = 210  # 30 persons, as few as make a training run


class Cost(NamedTuple):
    wall: float
    cpu: float
    """Seconds of this process on all its threads; its workers' are not in it."""


class Line(NamedTuple):
    measure: str
    value: str
    goal: str = ""


def main() -> None:
    options = arguments()
    if options.memory_child is not None:
        memory_child(options.memory_child)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SSLMASK_CACHE"] = str(Path(folder, "cache"))
        lines: list[Line] = []
        if "start" in options.only:
            lines += start_up()
        if "memory" in options.only:
            lines += peak_memory(options.data, Path(folder))
        if "speed" in options.only:
            lines += speed(options, Path(folder))
    show(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = ROOT.parent / "shared" / "data" / "mask18"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SSLMASK_MASK18", usual)))
    parser.add_argument("--blocks", type=int, default=8, help="pairs of blocks a measure")
    parser.add_argument("--steps", type=int, default=10, help="training steps a block")
    parser.add_argument("--images", type=int, default=512, help="images a prediction")
    parser.add_argument("--threads", type=int, help="compute threads of torch; not given: torch's own choice")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--memory-child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


# ---- start-up ----


def start_up() -> list[Line]:
    """CPU seconds (user + system) of `sslmask --help`, and whether torch was loaded."""
    seconds = statistics.median(cpu_seconds([sys.executable, "-m", "ssl_mask", "--help"]) for _ in range(5))
    probe = (
        "import sys\nfrom ssl_mask.cli.app import main\nsys.argv = ['sslmask', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nsys.exit(int('torch' in sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", probe], stdout=subprocess.DEVNULL, check=False).returncode
    return [
        Line("sslmask --help, CPU seconds", f"{seconds:.2f}"),
        Line("sslmask --help loads torch", "yes" if loaded else "no", "no"),
    ]


def cpu_seconds(command: Sequence[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# ---- memory ----


def peak_memory(data: Path, folder: Path) -> list[Line]:
    """Peak memory of a process that reads n or 10 n photos into an empty cache and trains 5 steps.

    Comes before this process loads torch: on Linux a child's ru_maxrss begins at its parent's.
    """
    few, many = (megabytes(write_table(data, folder / f"{times}x", times)) for times in (1, 10))
    return [
        Line(f"peak memory, {PHOTOS} photos", f"{few:.0f} MB"),
        Line(f"peak memory, {10 * PHOTOS} photos", f"{many:.0f} MB"),
        Line("peak memory, ratio", f"{many / few:.3f}", "<= 1.10"),
    ]


def write_table(data: Path, folder: Path, times: int) -> Path:
    """A table layout of the first photos, `times` over; each copy is another file by the bytes after its JPEG end."""
    photos = sorted((data / "train" / "images").glob("*/*.jpg"))[:PHOTOS]
    folder.mkdir(parents=True)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "group"])
        for number, photo in enumerate(photo for _ in range(times) for photo in photos):
            name = f"{number:05d}.jpg"
            (folder / name).write_bytes(photo.read_bytes() + number.to_bytes(4, "little"))
            writer.writerow([name, photo.stem.rstrip("12345"), photo.parent.name])
    return folder


def megabytes(folder: Path) -> float:
    command = [sys.executable, __file__, "--memory-child", str(folder)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def memory_child(folder: Path) -> None:
    job = build_job(folder, cache=folder / "cache", min_groups=1)
    with closing(our_steps(job, workers=0)) as steps:
        for _ in range(5):
            next(steps)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)


# ---- speed ----


def speed(options: argparse.Namespace, folder: Path) -> list[Line]:
    """Everything that needs torch in this process."""
    import torch

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    job = build_job(options.data, cache=folder / "cache", min_groups=2)
    lines: list[Line] = []
    for workers in (0, 1):
        lines += train_ratio(job, workers, options.blocks, options.steps)
    lines += step_parts(job)
    for workers in (0, 1):
        lines += predict_ratio(job, workers, options.blocks, options.images)
    return lines


def build_job(root: Path, *, cache: Path, min_groups: int) -> Session:
    """The default recipe, ready to train, as `sslmask train` builds it."""
    from ssl_mask import devices
    from ssl_mask.config import load_config
    from ssl_mask.console import Console
    from ssl_mask.data.load import load_training_data, read_manifest
    from ssl_mask.training.session import build, make_model

    section = {"root": str(root), "cache": str(cache), "min_groups": min_groups}
    config = load_config({"data": section, "train": {"steps": 1_000_000}, "guard": {"mode": "off"}})
    accelerator, console = devices.make_accelerator(config.train.precision), Console(quiet=True)
    manifest = read_manifest(config.data, console)
    model, size = make_model(config, manifest.schema)
    data = load_training_data(manifest, config.data, size, accelerator, console, unlabeled=False)
    return build(config, data, model, size, accelerator, console)


def our_steps(job: Session, workers: int) -> Generator[object, None, None]:
    """The whole loop on the warm cache: read, augment, forward, backward, clip, step, average."""
    from ssl_mask.data.batches import train_batches
    from ssl_mask.training.loop import train_steps

    batches = train_batches(job.batches(workers=workers), start=0, stop=job.training.steps, workers=workers)
    with closing(batches):
        yield from train_steps(job.training, batches, start=0)


def raw_steps(job: Session) -> Generator[object, None, None]:
    """The floor: the same network, loss, optimizer and precision on batches that are in memory already."""
    training = job.training
    batches = some_batches(job, 4)
    optimizer = training.optimizer.optimizer
    while True:
        for batch in batches:
            with training.accelerator.autocast():
                loss = training.algorithm.losses(training.model, batch, 0.0).total
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            yield loss


def some_batches(job: Session, count: int) -> list[Batch]:
    from ssl_mask.data.batches import train_batches

    return list(train_batches(job.batches(workers=0), start=0, stop=count, workers=0))


def train_ratio(job: Session, workers: int, blocks: int, steps: int) -> list[Line]:
    """Seconds per step, ours over raw."""
    with closing(our_steps(job, workers)) as ours, closing(raw_steps(job)) as raw:

        def block(source: Iterator[object]) -> None:
            for _ in range(steps):
                next(source)

        pairs = alternate(lambda: block(ours), lambda: block(raw), blocks)
    our_ms, raw_ms = (1000 * statistics.median(cost.wall for cost in side) / steps for side in zip(*pairs, strict=True))
    what = f"train step, workers {workers}"
    return [
        Line(f"{what}: ours", f"{our_ms:.0f} ms"),
        Line(f"{what}: raw", f"{raw_ms:.0f} ms"),
        Line(f"{what}: ours / raw", middle(a.wall / b.wall for a, b in pairs), "<= 1.05"),
        Line(f"{what}: ours / raw, CPU time", middle(a.cpu / b.cpu for a, b in pairs)),
    ]


def predict_ratio(job: Session, workers: int, blocks: int, images: int) -> list[Line]:
    """Images/s of predict_logits from the warm cache, over those of the raw forward of one batch in memory."""
    import torch

    from ssl_mask.data.batches import image_batches
    from ssl_mask.data.image_source import CachedImages
    from ssl_mask.inference.logits import predict_logits

    size = 64
    images -= images % size
    source = job.data.train.images
    assert isinstance(source, CachedImages)
    source = CachedImages(source.cache, source.digests[:images])
    batch = next(image_batches(source, range(size), batch_size=size, workers=0))
    model = job.training.model.eval()

    def ours() -> None:
        predict_logits(model, source, accelerator=job.accelerator, batch_size=size, workers=workers)

    def raw() -> None:
        with torch.inference_mode(), job.accelerator.autocast():
            for _ in range(images // size):
                model(batch)

    pairs = alternate(ours, raw, blocks)
    rate = images / statistics.median(a.wall for a, _ in pairs)
    what = f"predict, workers {workers}"
    return [
        Line(f"{what}: ours", f"{rate:.0f} images/s"),
        Line(f"{what}: ours / raw images/s", middle(b.wall / a.wall for a, b in pairs), ">= 0.95"),
        Line(f"{what}: ours / raw images/s, CPU time", middle(b.cpu / a.cpu for a, b in pairs)),
    ]


def alternate(ours: Callable[[], None], raw: Callable[[], None], blocks: int) -> list[tuple[Cost, Cost]]:
    """(cost of ours, cost of raw) of `blocks` pairs, after one pair to warm up."""
    pairs = [(clocked(ours), clocked_without_workers(raw)) for _ in range(blocks + 1)]
    return pairs[1:]


def clocked(work: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def clocked_without_workers(work: Callable[[], object]) -> Cost:
    with paused_workers():
        return clocked(work)


@contextmanager
def paused_workers() -> Iterator[None]:
    """Stop this process's DataLoader workers for a while."""
    workers = active_children()
    for worker in workers:
        os.kill(worker.pid or 0, signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in workers:
            os.kill(worker.pid or 0, signal.SIGCONT)


def middle(ratios: Iterator[float]) -> str:
    """The median and the quartiles."""
    low, median, high = statistics.quantiles(ratios, n=4)
    return f"{median:.3f} (quartiles {low:.3f}-{high:.3f})"


def step_parts(job: Session) -> list[Line]:
    """What each part that the floor lacks costs per step when it runs alone in this process, in CPU milliseconds."""
    import torch

    from ssl_mask.training.loop import seed_step

    training, images = job.training, job.batches(workers=0).labeled
    key, draws = images.stream.seed, images.stream.batch(0)
    pixels = [images.source.read(d.row) for d in draws]
    parts: dict[str, Callable[[], object]] = {
        "draw the batch": lambda: images.stream.batch(1),
        f"read {len(draws)} from the cache": lambda: [images.source.read(d.row) for d in draws],
        f"augment {len(draws)}": lambda: [
            images.augment(p, (key, d.place), images.class_names[d.row]) for p, d in zip(pixels, draws, strict=True)
        ],
        "seed": lambda: seed_step(0, 1, 0),
        "schedule": lambda: training.schedule.set(training.optimizer, 1),
        "finite check": lambda: torch.isfinite(torch.zeros(())).item(),
    }
    if (ema := training.ema) is not None:
        parts["average the weights (EMA)"] = lambda: ema.update(1)
    return [Line(f"part of a step: {name}", f"{1000 * usual_cpu(work):.2f} ms CPU") for name, work in parts.items()]


def usual_cpu(work: Callable[[], object], times: int = 20) -> float:
    work()
    return statistics.median(clocked(work).cpu for _ in range(times))


def show(lines: Sequence[Line]) -> None:
    width = max(len(line.measure) for line in lines)
    print(f"{'measure':{width}}  {'goal':8}  value")
    for line in lines:
        print(f"{line.measure:{width}}  {line.goal:8}  {line.value}")


if __name__ == "__main__":
    main()
