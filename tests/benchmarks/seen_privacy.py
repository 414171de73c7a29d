"""Can a face be rebuilt from what stands beside a checkpoint, and which copies does that still find?

    python tests/benchmarks/seen_privacy.py [--only rebuild|found|guess|size] [--sheet FILE.png]

Rebuild: whoever holds a seen-set knows its format and has other photos of the same kind. He learns to draw the grey
picture of 32 x 32 from what is stored of a photo: the photo whose stored bits agree most (nearest), ridge regression
(linear), a network that upsamples (decoder). Then he takes the drawn picture for a photo of unknown persons and looks
who it is: rank-1 is the share of drawn pictures that are likest to the very photo, or to another photo of the person,
among all photos of the persons he was not trained on; by correlation of pixels less the mean face, and by the cosine
of the embedded backbone. Chance is what drawing lots gives. Stored are the grey picture (as up to sslmask-seen-v1), the
256 bits of PDQ that stood beside it, and the digests of samples of today.

Found: copies by `guard_battery.py` that are found without any picture of what was seen, and pairs of clean photos that
are taken for copies. Guess: how many digests have to be computed until the signs of a sample are guessed, for one who
knows the statistics of faces (a chain of linear regressions, each sign from those before). Size: bytes of a seen-set.

The drawn avatars need nothing; mask18 is used where it is there. The sheet shows originals and what was rebuilt.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from guard_battery import write_copies
from guard_recall import unlike
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ssl_mask.demo_data.draw import draw_demo
from ssl_mask.guard.copies.alterations import BATTERY, COMBINED
from ssl_mask.guard.copies.fingerprints import Fingerprints, fingerprint
from ssl_mask.guard.copies.sketches import CHOSEN, SIGNS, alike, samples_of, sketched, spectra_of
from ssl_mask.guard.seen import save_seen
from ssl_mask.models.embedded import EMBEDDED, embedded_state
from ssl_mask.models.lean_timm import timm

ROOT = Path(__file__).resolve().parents[2]
SIDE, STEPS, BATCH = 32, 300, 64
Floats = NDArray[np.float32]
SCREEN = Console()


class Photos(NamedTuple):
    """A data set, cut into persons that the attacker has and others."""

    name: str
    known: Fingerprints
    others: Fingerprints
    persons: NDArray[np.int64]
    """Of the others."""


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        for photos in data_sets(options.data, Path(folder)):
            if options.only in {None, "rebuild"}:
                rebuild(photos, options.sheet)
            if options.only in {None, "guess"}:
                guess(photos)
        if options.only in {None, "found"}:
            found(options.data, Path(folder))
        if options.only in {None, "size"}:
            size(options.data, Path(folder))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = ROOT.parent / "shared" / "data" / "mask18"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SSLMASK_MASK18", usual)))
    parser.add_argument("--only", choices=["rebuild", "found", "guess", "size"])
    parser.add_argument("--sheet", type=Path, help="write originals and rebuilt pictures; it shows real faces")
    return parser.parse_args()


def data_sets(data: Path, folder: Path) -> Iterator[Photos]:
    drawn = draw_demo(folder / "demo", persons=90, seed=0).root
    yield photos_of("drawn avatars", drawn, 30)
    if data.is_dir():
        yield photos_of("mask18", data, 100)


def photos_of(name: str, root: Path, held_out: int) -> Photos:
    """The last `held_out` persons of train/ are not known; the others and extra/ are."""
    folders = sorted(p for p in (root / "train" / "images").iterdir() if p.is_dir())
    own, others = folders[:-held_out], [sorted(folder.iterdir()) for folder in folders[-held_out:]]
    known = [file for folder in own for file in sorted(folder.iterdir())] + sorted((root / "extra").iterdir())
    persons = np.repeat(np.arange(held_out), [len(files) for files in others])
    return Photos(name, prints(known), prints([file for files in others for file in files]), persons)


def prints(files: Sequence[Path]) -> Fingerprints:
    return fingerprint(files, cache=None, processes=2)


# ---- rebuilding ----

Rebuild = Callable[[Floats, Floats, Floats], Floats]
"""Stored bits and pictures of the known photos, and stored bits of others, to pictures of those."""


def rebuild(photos: Photos, sheet: Path | None) -> None:
    known, others = pictures(photos.known.thumbs[:]), pictures(photos.others.thumbs[:])
    table = Table("stored", "attack", "the photo, pixels", "network", "the person, pixels", "network")
    shown, mean = {"original": others}, known.mean(axis=0)

    def row(stored: str, attack: str, rebuilt: Floats) -> None:
        similar = correlations(rebuilt, others, mean), cosines(rebuilt, others)
        rates = [rate(s, photos.persons, person=person) for person in (False, True) for s in similar]
        table.add_row(stored, attack, *(f"{100 * r:.1f} %" for r in rates))

    row("grey picture (v1)", "as it is", others)
    for stored, read in STORED.items():
        for attack, learn in ATTACKS.items():
            shown[f"{stored}, {attack}"] = learn(read(photos.known), known, read(photos.others))
            row(stored, attack, shown[f"{stored}, {attack}"])
    count = len(others)
    same = np.mean([(photos.persons == person).sum() - 1 for person in photos.persons]) / (count - 1)
    chance = [f"{100 / count:.1f} %"] * 2 + [f"{100 * same:.1f} %"] * 2
    table.add_row("nothing", "drawing lots", *chance)
    SCREEN.print(f"\n{photos.name}: {len(known)} photos to learn from, {count} of {photos.persons.max() + 1} others")
    SCREEN.print(table)
    if sheet is not None:
        write_sheet(sheet.with_stem(f"{sheet.stem}-{photos.name.split()[0]}"), shown)


def pictures(thumbs: NDArray[np.uint8]) -> Floats:
    """(n, SIDE²) grey values in [0, 1]."""
    small = [cv2.resize(thumb, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for thumb in thumbs]
    return np.asarray(np.asarray(small, np.float32).reshape(len(thumbs), -1) / 255, np.float32)


def bits(content: NDArray[np.uint8]) -> Floats:
    """Bytes to -1 and 1."""
    return np.unpackbits(content.reshape(len(content), -1), axis=1).astype(np.float32) * 2 - 1


STORED: dict[str, Callable[[Fingerprints], Floats]] = {
    "PDQ, 256 bits (v1)": lambda photos: bits(photos.pdq[:][:, 0]),
    "digests of samples": lambda photos: bits(samples_of(photos.thumbs[:])),
}


def nearest(known: Floats, faces: Floats, asked: Floats) -> Floats:
    return np.asarray(faces[(asked @ known.T).argmax(axis=1)], np.float32)


def linear(known: Floats, faces: Floats, asked: Floats) -> Floats:
    """Ridge regression in its dual form: there may be more bits than photos."""
    mean = faces.mean(axis=0)
    kernel = known @ known.T
    weights = np.linalg.solve(kernel + 0.1 * known.shape[1] * np.eye(len(known), dtype=np.float32), faces - mean)
    return np.asarray(mean + (asked @ known.T) @ weights, np.float32)


def decoder(known: Floats, faces: Floats, asked: Floats) -> Floats:
    """A small network, bits to 4 x 4 x 32 and three times twice as large; of the bits a tenth is hidden in training."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = [
        torch.nn.Linear(known.shape[1], 512),
        torch.nn.ReLU(),
        torch.nn.Unflatten(1, (32, 4, 4)),
    ]
    for width, next_width in ((32, 32), (32, 24), (24, 16)):
        layers += [torch.nn.Upsample(scale_factor=2), torch.nn.Conv2d(width, next_width, 3, padding=1), torch.nn.ReLU()]
    model = torch.nn.Sequential(
        torch.nn.Dropout(0.1), *layers, torch.nn.Conv2d(16, 1, 3, padding=1), torch.nn.Flatten()
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=STEPS)
    mean, x = torch.from_numpy(faces.mean(axis=0)), torch.from_numpy(known)
    y = torch.from_numpy(faces) - mean
    for _ in range(STEPS):
        batch = torch.randint(len(x), (BATCH,))
        loss = (model(x[batch]) - y[batch]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.inference_mode():
        return np.asarray((model(torch.from_numpy(asked)) + mean).numpy(), np.float32)


ATTACKS: dict[str, Rebuild] = {"nearest": nearest, "linear": linear, "decoder": decoder}


def correlations(rebuilt: Floats, others: Floats, mean: Floats) -> Floats:
    a, b = (unit(faces - mean - (faces - mean).mean(axis=1, keepdims=True)) for faces in (rebuilt, others))
    return a @ b.T


def cosines(rebuilt: Floats, others: Floats) -> Floats:
    """By the embedded backbone; each side less its own mean, so that blur does not count."""
    a, b = (unit(vectors - vectors.mean(axis=0)) for vectors in (embedded(rebuilt), embedded(others)))
    return a @ b.T


def embedded(faces: Floats) -> Floats:
    network = EMBEDDED["embedded"]
    model = timm.create_model(network.timm_name, num_classes=0).eval()
    model.load_state_dict(embedded_state("embedded"), strict=False)
    images = torch.from_numpy(faces).clamp(0, 1).reshape(-1, 1, SIDE, SIDE).expand(-1, 3, -1, -1)
    images = torch.nn.functional.interpolate(images, size=96, mode="bicubic", align_corners=False)
    images = (images - network.mean[0]) / network.std[0]
    with torch.inference_mode():
        return np.concatenate([model(images[i : i + 64]).numpy() for i in range(0, len(images), 64)])


def unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6), np.float32)


def rate(similar: Floats, persons: NDArray[np.int64], *, person: bool) -> float:
    """Rank-1 of the very photo; for a person, of another photo of it."""
    if not person:
        return float((similar.argmax(axis=1) == np.arange(len(similar))).mean())
    similar = similar.copy()
    np.fill_diagonal(similar, -np.inf)
    return float((persons[similar.argmax(axis=1)] == persons).mean())


def write_sheet(path: Path, shown: dict[str, Floats]) -> None:
    """A row for each of them, the same ten photos in all."""
    count = len(shown["original"])
    chosen = np.linspace(0, count - 1, 10).astype(int)
    lines = [np.concatenate([large(faces[i]) for i in chosen], axis=1) for faces in shown.values()]
    cv2.imwrite(str(path), np.concatenate(lines))
    SCREEN.print(f"{path}: from above {', '.join(shown)}")


def large(face: Floats) -> NDArray[np.uint8]:
    grey = (np.clip(face, 0, 1) * 255).astype(np.uint8).reshape(SIDE, SIDE)
    return np.asarray(cv2.resize(grey, (96, 96), interpolation=cv2.INTER_CUBIC), np.uint8)


# ---- guessing ----


def guess(photos: Photos) -> None:
    known, others = (signs(p.thumbs[:]) for p in (photos.known, photos.others))
    count = len(others)
    work = np.stack([surprise(known[:, chosen], others[:, chosen]) for chosen in CHOSEN[::8]])
    SCREEN.print(
        f"\n{photos.name}: the {SIGNS} signs of a sample are one of 2^{np.median(work):.0f} (median), of "
        f"2^{np.median(work.min(axis=0)):.0f} (easiest of {len(work)} samples), of "
        f"2^{work.min():.0f} (the easiest of {count} photos)"
    )


def signs(thumbs: NDArray[np.uint8]) -> Floats:
    return np.where(spectra_of(thumbs)[0].reshape(len(thumbs), -1) > 0, 1, -1).astype(np.float32)


def surprise(known: Floats, others: Floats) -> Floats:
    """(n,) bits: the logarithm of how improbable the signs of each of the others are."""
    total = np.zeros(len(others), np.float32)
    for place in range(known.shape[1]):
        before, after = (np.c_[np.ones(len(rows)), rows[:, :place]] for rows in (known, others))
        weights = np.linalg.solve(before.T @ before + 100 * np.eye(place + 1), before.T @ known[:, place])
        positive = np.clip((after @ weights + 1) / 2, 0.02, 0.98)
        total -= np.log2(np.where(others[:, place] > 0, positive, 1 - positive))
    return total


# ---- what is still found, and how large it is ----


def found(data: Path, folder: Path) -> None:
    faces = data if data.is_dir() else draw_demo(folder / "demo", persons=90, seed=0).root
    test = sorted((faces / "eval" / "images").iterdir())
    clean = sorted((faces / "train" / "images").glob("*/*.jpg")) + sorted((faces / "extra").glob("*.jpg"))
    originals = unlike(test, 120, 0) if faces == data else test[:120]
    copies = write_copies(originals, folder / "copies", BATTERY | COMBINED)
    seen = samples_of(prints([copy.path for copy in copies]).thumbs[:])
    pairs = alike(prints(originals).thumbs[:], seen, 2)
    table = Table("alteration", "found without a picture")
    for name in BATTERY | COMBINED:
        rows = [row for row, copy in enumerate(copies) if copy.alteration == name]
        table.add_row(name, f"{np.mean([(copies[row].original, row) in pairs for row in rows]):.3f}")
    right = [(copy.original, row) in pairs for row, copy in enumerate(copies) if copy.alteration in BATTERY]
    table.add_row("all of the battery", f"{np.mean(right):.3f}")
    SCREEN.print()
    SCREEN.print(table)
    false = alike(prints(test).thumbs[:], samples_of(prints(clean).thumbs[:]), 2)
    others = sum(copies[row].original != original for original, row in pairs)
    SCREEN.print(
        f"pairs of {len(test)} test and {len(clean)} clean photos that are taken for copies: {len(false)}; "
        f"pairs of an original and the copy of another one: {others}"
    )


def size(data: Path, folder: Path) -> None:
    faces = data if data.is_dir() else draw_demo(folder / "demo", persons=90, seed=0).root
    photos = prints(sorted((faces / "train" / "images").glob("*/*.jpg")))
    save_seen(folder / "seen.npz", sketched(photos))
    now = (folder / "seen.npz").stat().st_size
    jpegs = [len(cv2.imencode(".jpg", thumb, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]) for thumb in photos.thumbs]
    before = sum(jpegs) + len(photos) * (32 + 32 + 256 + 8)
    for name, total in (("with a picture (v1)", before), ("digests", now)):
        SCREEN.print(f"seen-set of 10,000 photos, {name}: {total / len(photos) * 1e4 / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
