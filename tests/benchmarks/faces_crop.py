"""What `sslmask prepare` finds, takes and gains: faces cut out of people photos, backgrounds taken away.

    python tests/benchmarks/faces_crop.py [--data DIR] [--kinds detect score] [--photos 300] [--seeds 0] [--jobs 2]

The mask18 faces are tight crops, so they are also put into larger frames: a photo at a random place on soft noise of
random colours (another one for each photo), so that the frame is 1.5, 2, 3, 4 or 6 times as wide.

- detect: in which share of so many photos a face is found, in the photo alone and with a margin around it; in frames,
  how often its centre lies in the photo. CPU milliseconds a photo: the detector; all of `prepare` (read, decode,
  detect, cut, encode); and with the background
- score: macro-F1 of a study of folds of 60 persons, out-of-fold (by person) and of its ensemble on eval/, whose answers
  are read here and nowhere else: tight photos and frames of 2.5, as they are, with the face cut out, with the
  background filled, with both. Differences are paired; their 95 % intervals are by image and too narrow, for one person
  has 7 photos

The score takes 6 studies of `--folds` runs each, all at `--size` px and `--steps` steps. What is in
`--out`/faces_crop.jsonl is not redone; after a change of the code, choose a new `--out`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from faces import drawn
from numpy.typing import NDArray
from PIL import Image
from resumable import Entry, begun, data_folder, read_truth, run_all
from rich.console import Console
from rich.table import Table

from ssl_mask.data.image_files import find_images
from ssl_mask.data.images import decode
from ssl_mask.evaluation.metrics import macro_f1, paired_bootstrap

CLASSES, PERSONS, FRAME = 18, 60, 2.5
FRAMES = (1.5, 2.0, 3.0, 4.0, 6.0)
VARIANTS: dict[str, tuple[bool, str, str]] = {
    "tight": (False, "keep", "keep"),
    "tight, background filled": (False, "keep", "fill"),
    "framed": (True, "keep", "keep"),
    "framed, face cut out": (True, "crop", "keep"),
    "framed, background filled": (True, "keep", "fill"),
    "framed, both": (True, "crop", "fill"),
}
"""Name -> whether in frames, `--faces`, `--background`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--kinds", nargs="+", choices=["detect", "score"], default=["detect", "score"])
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="studies at a time, of one thread each")
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out"))
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options)))
        return
    if "detect" in options.kinds:
        detect(options)
    if "score" in options.kinds:
        jobs = [{"variant": v, "seed": s, "folds": options.folds, "size": options.size, "steps": options.steps}
                for s in options.seeds for v in options.variants]  # fmt: skip
        words = ["--data", str(options.data.resolve()), "--out", str(options.out)]
        show(run_all(__file__, options.out / "faces_crop.jsonl", jobs, words, options.jobs), options)


def framed(photo: NDArray[np.uint8], times: float, rng: np.random.Generator) -> tuple[NDArray[np.uint8], int, int]:
    """A photo somewhere in a frame that is so many times as wide, and where it is: left, top."""
    height, width = photo.shape[:2]
    size = round(width * times), round(height * times)
    noise = rng.integers(0, 256, (6, 6, 3)).astype(np.uint8)
    frame = np.asarray(cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    left, top = int(rng.integers(0, size[0] - width + 1)), int(rng.integers(0, size[1] - height + 1))
    frame[top : top + height, left : left + width] = photo
    return frame, left, top


# ---- what is found, and how long it takes ----


def detect(options: argparse.Namespace) -> None:
    from ssl_mask.data.prepare import weights
    from ssl_mask.data.prepare.blazeface import MARGIN, FaceDetector
    from ssl_mask.data.prepare.one_photo import MIN_CONFIDENCE, Models, PrepareSettings, prepare_photo
    from ssl_mask.data.prepare.selfie import PersonFinder

    cv2.setNumThreads(1)
    files = find_images(options.data / "train/images")
    files = [files[i] for i in np.random.default_rng(0).permutation(len(files))[: options.photos]]
    photos = [decode(file) for file in files]
    faces = FaceDetector(weights.packaged(weights.FACES, "BlazeFace", weights.GET_FACES))
    persons = PersonFinder(weights.packaged(weights.SELFIES, "Selfie segmentation", weights.GET_SELFIES))

    table = Table("photos", "alone", "with a margin", "both, as prepare does", "several faces", "CPU ms",
                  title=f"Share of {len(photos)} photos in which the face is found")  # fmt: skip
    rng = np.random.default_rng(0)
    for times in (1.0, *FRAMES):
        put = [framed(photo, times, rng) for photo in photos]
        row = [f"frames {times:g} times as wide" if times > 1 else "tight, as they are"]
        looks: list[Callable[[NDArray[np.uint8]], Any]] = [
            lambda p: faces._look(p, 0.0, MIN_CONFIDENCE), lambda p: faces._look(p, MARGIN, MIN_CONFIDENCE),
            lambda p: faces(p, MIN_CONFIDENCE),
        ]  # fmt: skip
        for look in looks:
            began = time.process_time()
            found = [look(picture) for picture, _, _ in put]
            spent = (time.process_time() - began) / len(put) * 1000
            row.append(f"{np.mean([_hit(f, at) for f, at in zip(found, put, strict=True)]):.3f}")
        table.add_row(*row, f"{np.mean([len(f) > 1 for f in found]):.3f}", f"{spent:.1f}")
    Console().print(table)
    print(f"person found on the face, tight: {np.mean([_kept(faces, persons, p) for p in photos]):.3f}")
    for background in ("keep", "fill", "blur"):
        settings = PrepareSettings(background=background)
        models = Models(faces, persons if background != "keep" else None)
        began = time.process_time()
        for file in files:
            prepare_photo(file, file.name, settings, models)
        print(
            f"all of prepare, --background {background}: {(time.process_time() - began) / len(files) * 1000:.1f} CPU ms"
        )


def _hit(faces: Sequence[Any], at: tuple[NDArray[np.uint8], int, int]) -> bool:
    """Whether the centre of a face lies in the photo (of 160 px) that was put into the frame."""
    _, left, top = at
    centres = [((f.left + f.right) / 2 - left, (f.top + f.bottom) / 2 - top) for f in faces]
    return any(0 <= x <= 160 and 0 <= y <= 160 for x, y in centres)


def _kept(faces: Any, persons: Any, photo: NDArray[np.uint8]) -> bool:
    """Whether the background's model takes most of the face for a person; True where there is no face."""
    found = faces(photo, 0.5)
    if not found:
        return True
    f = found[0]
    inside = persons(photo)[max(0, round(f.top)) : round(f.bottom), max(0, round(f.left)) : round(f.right)]
    return bool(inside.mean() >= 0.5)


# ---- what it gains ----


def child(options: argparse.Namespace) -> Entry:
    """A study of folds on photos that were prepared in one way."""
    import ssl_mask

    job = options.child
    name = f"{job['variant'].replace(', ', '-').replace(' ', '-')}-{job['seed']}"
    data = prepared(options, job, name)
    config = ssl_mask.load_config({
        "seed": job["seed"], "runs": str(options.out / "faces-crop-runs"), "name": name,
        "data": {"root": str(data), "split_seed": job["seed"]}, "model": {"image_size": job["size"]},
        "train": {"steps": job["steps"], "batch_size": 24, "eval_every": max(1, job["steps"] // 3)},
        "guard": {"mode": "off"},  # what is measured here is the gain
    }, preset="laptop")  # fmt: skip
    study = ssl_mask.train_folds(config, folds=job["folds"], resume=begun(config), quiet=True)
    assert study is not None  # for the type checker: a dry run has none
    written = ssl_mask.predict([study.path], runs_folder=config.runs, out=options.out / f"{name}.csv", quiet=True)
    assert written.path is not None  # for the type checker: it was written
    with written.path.open(newline="") as file:
        guessed = {row["ImageID"]: int(row["ans"]) for row in csv.DictReader(file)}
    return {"oof": study.record().macro_f1.value, "guessed": [guessed[image] for image in sorted(guessed)]}


def prepared(options: argparse.Namespace, job: Entry, name: str) -> Path:
    """The data set of a variant."""
    from ssl_mask.data.prepare.one_photo import PrepareSettings
    from ssl_mask.workflows.prepare import prepare

    in_frames, faces, background = VARIANTS[job["variant"]]
    source = drawn(options.data, options.out / f"faces-{PERSONS}-{job['seed']}", PERSONS, job["seed"])
    if in_frames:
        source = in_frames_of(source, options.out / f"framed-{PERSONS}-{job['seed']}")
    if (faces, background) == ("keep", "keep"):
        return source
    out: Path = options.out / f"prepared-{name}"
    if not out.exists():
        prepare(source, out, PrepareSettings(faces=faces, background=background), threads=1, quiet=True)  # type: ignore[arg-type]
    return out


def in_frames_of(source: Path, out: Path) -> Path:
    """A copy of a data set (train and eval) whose photos are in frames."""
    done = out / "done"
    if not done.exists():
        for number, path in enumerate(find_images(source / "train") + find_images(source / "eval")):
            frame, _, _ = framed(decode(path), FRAME, np.random.default_rng(number))
            place = out / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(frame).save(place, quality=95, subsampling=0)
        for table in ("train/train.csv", "eval/info.csv"):
            (out / table).write_bytes((source / table).read_bytes())
        done.touch()
    return out


def show(entries: Sequence[Entry], options: argparse.Namespace) -> None:
    answers = read_truth(options.data / "eval_answers.csv")
    truth = np.array([answers[image] for image in sorted(answers)])
    table = Table("photos", "out-of-fold macro-F1", "eval macro-F1", "eval: difference from photos as they are",
                  title=f"{PERSONS} persons, {options.folds} folds, {options.size} px, {options.steps} steps, "
                  f"{len(options.seeds)} seeds")  # fmt: skip
    for variant in options.variants:
        own = [e for e in entries if e["variant"] == variant]
        base = "framed" if VARIANTS[variant][0] else "tight"
        guesses = np.stack([e["guessed"] for e in own])
        scores = [macro_f1(truth, guess, CLASSES) for guess in guesses]
        others = [e["guessed"] for e in entries if e["variant"] == base]
        gain = ""
        if variant != base and others:
            images = np.arange(len(truth))
            value, low, high = paired_bootstrap(truth, np.stack(others), guesses, images, CLASSES)["macro_f1"]
            gain = f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
        table.add_row(variant, f"{np.mean([e['oof'] for e in own]):.3f}", f"{np.mean(scores):.3f}", gain)
    Console().print(table)


if __name__ == "__main__":
    main()
