"""`sslmask demo`: a small drawn data set in the mask18 layout, with known answers and planted errors.

The images are abstract avatars, and what shows each label is arbitrary: a cloth on the lower head (mask), the outline
of a badge (gender), the number of stripes on the shirt (age); see `ssl_mask.demo_data.avatar`. The layout is mask18:

    train/train.csv, train/images/<path>/{mask1..mask5,incorrect_mask,normal}.jpg     seven photos per person
    eval/info.csv, eval/images/<hash>.jpg, eval_answers.csv                            other persons
    extra/<hash>.jpg                                                                   unlabeled, still other persons
    truth.json                                                                         everything that was planted

Planted: wrong labels (a gender, an age band, or the incorrect and normal files swapped) on about 4 % of the training
persons, and altered copies of evaluation images among the extra ones. truth.json is for measuring, never for training.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ssl_mask.demo_data.avatar import make_look
from ssl_mask.demo_data.photo import alter, take_photo
from ssl_mask.demo_data.plan import SHOTS, VERSION, Photo, Plan, make_plan, seeded
from ssl_mask.errors import DataError, StorageError

FEWEST: Final = 12  # two persons for each of gender x age band
PARTIAL: Final = ".sslmask-demo-"


@dataclass(frozen=True)
class DemoSummary:
    """What was drawn, and what was planted in it."""

    root: Path
    train_persons: int
    train_images: int
    eval_images: int
    extra_images: int
    label_errors: int
    leaked: int


def draw_demo(
    into: Path, *, persons: int = 60, seed: int = 0, on_progress: Callable[[int, int], None] | None = None
) -> DemoSummary:
    """Draws the demo into `into`, whole or not at all; the same `seed` and `persons` give the same bytes.

    `persons` counts the training persons; evaluation adds a third of that, the unlabeled pool four images for each.
    `on_progress(done, total)` counts images. A folder that already holds this demo is left as it is.

    Raises `DataError` for too few persons or a folder with other content, `StorageError` when it cannot be written.
    """
    if persons < FEWEST:
        raise DataError(f"A demo needs at least {FEWEST} persons, not {persons}.", hint=f"Try --persons {2 * FEWEST}.")
    if seed < 0:
        raise DataError(f"The demo's seed is {seed}.", hint="Use a seed of 0 or more.")
    if (there := _already_drawn(into, persons, seed)) is not None:
        return there
    plan = make_plan(persons, seed)
    target = into.resolve()
    home = target if target.is_dir() else target.parent  # an empty folder may be a mount or the working directory
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=home) as scratch:
            made = Path(scratch) / "demo"
            _write(plan, made, seed, on_progress)
            if home == target:
                for child in sorted(made.iterdir()):  # truth.json comes last
                    child.replace(target / child.name)
            else:
                made.replace(target)
    except OSError as error:
        raise StorageError(
            f"The demo could not be written to {into}: {error}.", hint="Choose another folder or free some space."
        ) from error
    return _summary(into, plan.truth)


def _already_drawn(into: Path, persons: int, seed: int) -> DemoSummary | None:
    """None when `into` is free, its summary when it holds this very demo, `DataError` otherwise."""
    if not into.exists():
        return None
    hint = "Choose another folder, or delete this one first."
    if not into.is_dir():
        raise DataError(f"{into} is a file, not a folder.", hint=hint)
    if all(child.name.startswith(PARTIAL) for child in into.iterdir()):
        return None
    try:
        truth = json.loads((into / "truth.json").read_text(encoding="utf-8"))
        same = [truth[key] for key in ("version", "persons", "seed")] == [VERSION, persons, seed]
        summary = _summary(into, truth)
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{into} is not empty and holds no demo.", hint=hint) from None
    if not same:
        made = f"persons {truth['persons']}, seed {truth['seed']}, version {truth['version']}"
        raise DataError(f"{into} holds another demo ({made}).", hint=hint)
    found, wanted = sum(1 for _ in into.rglob("*.jpg")), sum(truth["images"].values())
    if found != wanted:
        raise DataError(f"{into} holds this demo, but {found} of its {wanted} images.", hint=hint)
    return summary


def _summary(root: Path, truth: dict[str, Any]) -> DemoSummary:
    images, faults = truth["images"], (len(truth["label_errors"]), len(truth["leaked_extra"]))
    return DemoSummary(root, truth["persons"], images["train"], images["eval"], images["extra"], *faults)


def _write(plan: Plan, root: Path, seed: int, on_progress: Callable[[int, int], None] | None) -> None:
    """All files of the plan under `root`; pictures are drawn by a few threads (OpenCV releases the GIL)."""
    for folder in sorted({(root / photo.file).parent for photo in plan.photos}):
        folder.mkdir(parents=True, exist_ok=True)
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    try:
        drawn = pool.map(lambda photo: _draw(photo, seed), plan.photos)
        for done, (photo, data) in enumerate(zip(plan.photos, drawn, strict=True), start=1):
            (root / photo.file).write_bytes(data)
            if on_progress is not None:
                on_progress(done, len(plan.photos))
    finally:
        pool.shutdown(cancel_futures=True)
    _write_csv(root / "train/train.csv", plan.train_rows)
    _write_csv(root / "eval/info.csv", [{"ImageID": name, "ans": "0"} for name in plan.eval_answers])
    _write_csv(root / "eval_answers.csv", [{"ImageID": k, "ans": str(v)} for k, v in plan.eval_answers.items()])
    (root / "truth.json").write_text(json.dumps(plan.truth, indent=1) + "\n", encoding="utf-8", newline="\n")


def _write_csv(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _draw(photo: Photo, seed: int) -> bytes:
    """One file's bytes, from (seed, role, person, shot) alone."""
    person = photo.person
    key = (person.role, person.number)
    look = make_look(seeded(seed, *key), squarish=person.gender == "female", age=person.age)
    data = take_photo(look, list(SHOTS.values())[photo.shot], seeded(seed, *key, 1 + photo.shot))
    return alter(data, photo.alteration, seeded(seed, *key, 101 + photo.shot)) if photo.alteration else data
