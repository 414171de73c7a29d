"""Does Grad-CAM tell face from background?

    python tests/benchmarks/explain.py RUN [--data DIR] [--images 200] [--sheet overlays.png]

RUN is a run or a study on the faces (mask18). Of each of some persons one image is explained, by a model that was not
trained on it: the class that this model predicts, for each factor.

- as it is: the share of the heat inside of an ellipse where a face is in these centred crops (chosen by looking at
  images, before any map was seen). A map that is equal everywhere has there what the ellipse has of the area.
- moved: the same image at half its size in a random quarter of a picture, beside it only what is left of another image
  when it is blurred beyond recognition. The share of the heat in that quarter: 25 % is chance, and a network that
  always looks at one place has that.
- lower half: of the plain image, for a mask is there.
- counts most: each quarter of the plain image is blurred in turn. How often is the one that takes most from the score
  of the class the one with the most heat? 25 % is chance. This asks whether a map is true to its network, whatever that
  looks at.

References: the quarter of another moved image and the map of another image (chance, and habits of place), and the same
network with random weights.
Intervals are 95 %, by person.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console as Rich
from rich.table import Table

from ssl_mask.console import Console
from ssl_mask.data.images import unfit
from ssl_mask.devices import make_accelerator
from ssl_mask.evaluation.heat import Heat
from ssl_mask.inference.explain import rows_by_run, seen
from ssl_mask.inference.grad_cam import heat_maps
from ssl_mask.inference.predictor import Compute
from ssl_mask.inference.run_predictor import load_run_predictor
from ssl_mask.models.classifier import Classifier, build_classifier
from ssl_mask.reports.html.heat import overlay
from ssl_mask.reports.html.subject import Subject, subject_of
from ssl_mask.runs.sources import find_source

CENTRE, AXES = (0.5, 0.52), (0.36, 0.46)
"""Of the ellipse, in sides of the image: right and down; half of its width and half of its height."""
COLUMNS = ("face", "lower half", "moved: its quarter", "moved: another's", "counts most", "by another's map")
QUARTERS = ((0, 0), (0, 1), (1, 0), (1, 1))
BATCH = 16
Maps = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--sheet", type=Path, help="write the first 20 overlays of each factor here")
    options = parser.parse_args()
    subject = subject_of(find_source(options.run, Path("runs")), options.data)
    rng = np.random.default_rng(0)
    pixels, quarters, found = explained(subject, one_each(subject, options.images, rng), rng)
    face = ellipse(pixels.shape[1])
    table = Table(title=f"{len(pixels)} images, percent; the ellipse has {100 * face.mean():.0f} of the area")
    for name in ("factor", "network", "cells", *COLUMNS):
        table.add_column(name)
    for (factor, network), (plain, moved, most) in found.items():
        maps, away = fine(plain, len(face)), fine(moved, len(face))
        lower = np.arange(len(face))[:, None] >= len(face) // 2
        inside = [quarter(len(face), q) for q in quarters]
        regions = [(maps, [face]), (maps, [lower]), (away, inside), (away, [*inside[1:], inside[0]])]
        cells = f"{plain.shape[1]} × {plain.shape[2]}"
        hits = [hottest_quarter(a) == most for a in (maps, np.roll(maps, 1, axis=0))]
        shares = [mean_share(m, r, rng) for m, r in regions]
        table.add_row(factor, network, cells, *shares, *(told(h[maps.sum(axis=(1, 2)) > 0], rng) for h in hits))
    Rich(width=150).print(table)
    if options.sheet:
        draw(options.sheet, pixels, {f: plain for (f, network), (plain, _, _) in found.items() if network == "trained"})


def one_each(subject: Subject, most: int, rng: np.random.Generator) -> list[int]:
    """Rows of the table, one of each group."""
    assert subject.table is not None
    order = rng.permutation(len(subject.table))
    _, first = np.unique(subject.table.group[order], return_index=True)
    return [int(row) for row in rng.permutation(order[first])[:most]]


def explained(
    subject: Subject, rows: list[int], rng: np.random.Generator
) -> tuple[Pixels, list[tuple[int, int]], dict[tuple[str, str], tuple[Maps, Maps, NDArray[np.int64]]]]:
    """What the networks see, the quarters that faces are moved to, and of each factor and network the maps of plain and
    of moved images, and the quarter of the plain one that counts most."""
    assert subject.table is not None
    table, pixels, quarters = subject.table, list[Pixels](), list[tuple[int, int]]()
    plain, moved = dict[tuple[str, str], list[Maps]](), dict[tuple[str, str], list[Maps]]()
    most = dict[tuple[str, str], list[NDArray[np.int64]]]()
    compute = Compute(make_accelerator("fp32"), Console(quiet=True), workers=0)
    for part in rows_by_run(subject.source, table, rows):
        predictor = load_run_predictor(part.run, compute, cache="off")
        random = untrained(predictor.model, predictor.source.metadata.model.model_dump(exclude={"sync_norm"}))
        own = np.stack([seen(predictor, subject.root / str(table.path[r]), str(table.sha256[r])) for r in part.rows])
        there = [(int(a), int(b)) for a, b in rng.integers(0, 2, (len(own), 2))]
        away = np.stack([move(p, own[i - 1], q) for i, (p, q) in enumerate(zip(own, there, strict=True))])
        pixels += [*own]
        quarters += there
        for name, model in {"trained": predictor.model, "random weights": random}.items():
            for head in model.heads:
                plain.setdefault((head, name), []).append(predicted_maps(model, own, head))
                moved.setdefault((head, name), []).append(predicted_maps(model, away, head))
                most.setdefault((head, name), []).append(quarter_that_counts(model, own, head))
    each = {key: (np.concatenate(plain[key]), np.concatenate(moved[key]), np.concatenate(most[key])) for key in plain}
    return np.stack(pixels), quarters, each


def untrained(model: Classifier, settings: dict[str, object]) -> Classifier:
    """The same network with random weights."""
    torch.manual_seed(0)
    heads = {name: head.get_parameter("weight").shape[0] for name, head in model.heads.items()}
    made, _ = build_classifier(heads, **{**settings, "weights": "none", "image_size": model.image_size})  # type: ignore[arg-type]
    return made.eval()


def predicted_maps(model: Classifier, pixels: Pixels, head: str) -> Maps:
    """(n, h, w) of the class that is predicted."""
    found = []
    for first in range(0, len(pixels), BATCH):
        images = torch.from_numpy(pixels[first : first + BATCH])
        with torch.no_grad():
            classes = model(images)[head].argmax(dim=1).tolist()
        found.append(heat_maps(model, images, head, classes))
    return np.concatenate(found)


@torch.no_grad()
def quarter_that_counts(model: Classifier, pixels: Pixels, head: str) -> NDArray[np.int64]:
    """(n,) number of the quarter without which the score of the predicted class is lowest."""
    before = torch.cat([model(torch.from_numpy(p[None]))[head] for p in pixels])
    classes = before.argmax(dim=1)
    scores = []
    for where in QUARTERS:
        inside = quarter(pixels.shape[1], where)[:, :, None]
        blurred = [np.where(inside, cv2.GaussianBlur(p, (0, 0), len(p) / 6), p).astype(np.uint8) for p in pixels]
        after = torch.cat([model(torch.from_numpy(p[None]))[head] for p in blurred])
        scores.append(after.gather(1, classes[:, None])[:, 0])
    lowest: NDArray[np.int64] = torch.stack(scores).argmin(dim=0).numpy()
    return lowest


def hottest_quarter(maps: Maps) -> NDArray[np.int64]:
    """(n,) number of the quarter with the most heat."""
    sums = np.stack([(maps * quarter(maps.shape[1], where)).sum(axis=(1, 2)) for where in QUARTERS])
    hottest: NDArray[np.int64] = sums.argmax(axis=0)
    return hottest


def move(face: Pixels, other: Pixels, where: tuple[int, int]) -> Pixels:
    """An image at half its size in one quarter of the blurred other one."""
    size = len(face)
    half = size // 2
    whole = np.asarray(cv2.GaussianBlur(other, (0, 0), size / 6), np.uint8)
    top, left = (half * w for w in where)
    whole[top : top + half, left : left + half] = cv2.resize(face, (half, half), interpolation=cv2.INTER_AREA)
    return whole


def ellipse(size: int) -> NDArray[np.bool_]:
    """(size, size) where a face is."""
    down, right = np.mgrid[:size, :size] / size + 0.5 / size
    inside: NDArray[np.bool_] = ((right - CENTRE[0]) / AXES[0]) ** 2 + ((down - CENTRE[1]) / AXES[1]) ** 2 <= 1
    return inside


def quarter(size: int, where: tuple[int, int]) -> NDArray[np.bool_]:
    inside = np.zeros((size, size), np.bool_)
    half = size // 2
    inside[half * where[0] :, half * where[1] :][:half, :half] = True
    return inside


def fine(maps: Maps, size: int) -> Maps:
    """(n, size, size) as they are drawn."""
    return np.stack([unfit(cells, size, size, "squash") for cells in maps])


def mean_share(maps: Maps, regions: list[NDArray[np.bool_]], rng: np.random.Generator) -> str:
    """The mean share of the heat in a region, or in one for each map; maps without heat do not count."""
    inside = np.stack(np.broadcast_arrays(*regions)) if len(regions) > 1 else regions[0][None]
    total = maps.sum(axis=(1, 2))
    return told(((maps * inside).sum(axis=(1, 2)) / np.maximum(total, 1e-30))[total > 0], rng)


def told(shares: NDArray[Any], rng: np.random.Generator) -> str:
    """The mean of some shares with its interval, in percent."""
    drawn = rng.choice(shares, (1000, len(shares))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{100 * shares.mean():.0f} ({100 * low:.0f} to {100 * high:.0f})"


def draw(path: Path, pixels: Pixels, maps: dict[str, Maps], count: int = 20) -> None:
    """One row a kind of picture: plain, then the overlay of each factor; below the ellipse on the plain image."""
    face = ellipse(pixels.shape[1])[:, :, None]
    rows = [[*pixels[:count]], [np.where(face, p, p // 3) for p in pixels[:count]]]
    for factor, cells in maps.items():
        rows.append([overlay(p, Heat(factor, "", "", c, "squash")) for p, c in zip(pixels, cells, strict=True)][:count])
    whole = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    cv2.imwrite(str(path), whole[:, :, ::-1])


if __name__ == "__main__":
    main()
