"""Altered copies that the guard finds, and its false alarms, compared with imagededup's PHash and cleanvision.

    python tests/benchmarks/guard_recall.py [--data DIR] [--peers-python PEERS/bin/python] [--originals 120]

The protected pool is `--originals` photos of eval/, drawn by the seed and no two of them alike in the part around the
eyes, so that few persons come twice. The other pool is a copy of each by every alteration of `guard_battery.py`, and
the clean photos: all of train/ and extra/, which show other persons. The sides see the same files, at their defaults:

- ours: `fingerprint` and `match`; found at `near` (or as bytes or pixels), in brackets with the review band
- imagededup PHash, cleanvision: found as a pair, or in one set; run by `--peers-python`, an environment that has both
  packages (`pip install imagededup cleanvision`); left out when it is not given

A pair of an original and a clean photo is a false alarm. A pair of an original and another original's copy is counted
apart: it may be the same person on the same base photo. A copy that ours misses was lost by the candidates when the
verifier would have passed the pair. With ours, all of eval/ is also matched with the clean photos.

`--hard` asks instead what lies beyond the battery: a border of a third, a crop of 30 %, a blur of radius 6, a collage
of four, inverted colours; of `--originals` photos among 2,000 clean ones and as many that went through the same.

Results are appended to `--out`/guard_recall.jsonl, and what is there for the same side, seed, number of originals,
and (ours) method is not redone. After a change of the code alone, choose a new `--out`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from guard_battery import Copy, write_copies
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ssl_mask.data.images import decode
from ssl_mask.guard.copies.alterations import BATTERY, COMBINED, HARD, Alteration, collage
from ssl_mask.guard.copies.fingerprints import Fingerprints, fingerprint
from ssl_mask.guard.copies.matching import METHOD_VERSION, NEAR, match
from ssl_mask.guard.copies.verification import similarity, view

ROOT = Path(__file__).resolve().parents[2]
OURS, EVAL, HARDER, PEERS = "ours", "ours, all of eval", "ours, hard", ("imagededup PHash", "cleanvision")
CLEAN = 2_000  # photos, and as many altered ones, with --hard
ALIKE = 0.8  # correlation around the eyes: photos of one person on one base reach it, others seldom
Entry = dict[str, Any]


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(options, Path(folder))
        if options.hard:
            show_hard(once(options, HARDER, partial(our_side, scene)))
            return
        entries = [once(options, OURS, partial(our_side, scene)), once(options, EVAL, partial(all_of_eval, scene))]
        if options.peers_python:
            entries += [once(options, peer, partial(peer_side, scene, peer, options.peers_python)) for peer in PEERS]
    show(entries)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = ROOT.parent / "shared" / "data" / "mask18"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SSLMASK_MASK18", usual)))
    parser.add_argument("--peers-python", help="the Python that has imagededup and cleanvision")
    parser.add_argument("--originals", type=int, default=120)
    parser.add_argument("--hard", action="store_true", help="what lies beyond the battery")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out"))
    return parser.parse_args()


def once(options: argparse.Namespace, side: str, work: Callable[[], Entry]) -> Entry:
    """The stored result of this side, or a new one, which is stored."""
    store = options.out / "guard_recall.jsonl"
    key: Entry = {"side": side, "seed": options.seed, "originals": options.originals}
    key |= {} if side in PEERS else {"method": METHOD_VERSION}
    for entry in map(json.loads, store.read_text().splitlines() if store.exists() else []):
        if entry.items() >= key.items():
            return dict(entry)
    entry = {**key, **work()}
    options.out.mkdir(parents=True, exist_ok=True)
    with store.open("a") as file:
        file.write(json.dumps(entry) + "\n")
    print(f"{side}: {entry['seconds']:.0f} s", flush=True)
    return entry


# ---- the photos ----


class Scene:
    """One flat folder with originals, copies and clean photos; made when the first side asks for it."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.data, self.folder = options.data, folder / "pool"
        self.count, self.seed, self.hard = options.originals, options.seed, options.hard

    @cached_property
    def eval(self) -> list[Path]:
        return sorted((self.data / "eval" / "images").glob("*.jpg"))

    @cached_property
    def originals(self) -> list[Path]:
        return [self.take("original", file) for file in unlike(self.eval, self.count, self.seed)]

    @cached_property
    def clean(self) -> list[Path]:
        train = sorted((self.data / "train" / "images").glob("*/*.jpg"))
        extra = sorted((self.data / "extra").glob("*.jpg"))
        files = train + extra
        if self.hard:
            files = [files[i] for i in np.random.default_rng(self.seed).permutation(len(files))[:CLEAN]]
        taken = [self.take(f"clean-{file.parent.name}", file) for file in files]
        return taken + self.altered(taken) if self.hard else taken

    def altered(self, clean: Sequence[Path]) -> list[Path]:
        """Each clean photo through one of the alterations."""
        names, folder = list(self.alterations), self.folder / "altered"
        parts = [write_copies(clean[n :: len(names)], folder, [name], seed=self.seed, known=self.alterations)
                 for n, name in enumerate(names)]  # fmt: skip
        return [copy.path for part in parts for copy in part]

    @cached_property
    def alterations(self) -> dict[str, Alteration]:
        if not self.hard:
            return BATTERY | COMBINED
        others = [decode(path) for path in sorted((self.data / "extra").glob("*.jpg"))[:60]]
        collages = Alteration(partial(collage, others=others))
        return HARD | {"collage of four": collages, "negative": BATTERY["negative"]}

    @cached_property
    def copies(self) -> list[Copy]:
        return write_copies(self.originals, self.folder, self.alterations, seed=self.seed, known=self.alterations)

    def take(self, prefix: str, file: Path) -> Path:
        self.folder.mkdir(exist_ok=True)
        return Path(shutil.copyfile(file, self.folder / f"{prefix}-{file.name}"))


def unlike(files: Sequence[Path], count: int, seed: int) -> list[Path]:
    """`count` of the photos, no two of them alike around the eyes, in the seed's order."""
    eyes: list[NDArray[np.uint8]] = []
    taken: list[Path] = []
    for position in np.random.default_rng(seed).permutation(len(files)):
        small = cv2.resize(cv2.cvtColor(decode(files[position]), cv2.COLOR_RGB2GRAY), (64, 64))[:34]
        if not any(cv2.matchTemplate(small, other, cv2.TM_CCOEFF_NORMED).max() > ALIKE for other in eyes):
            eyes.append(small[6:28, 12:52])
            taken.append(files[position])
        if len(taken) == count:
            return taken
    raise SystemExit(f"only {len(taken)} photos are unlike one another; ask for fewer than {count} --originals")


# ---- the sides ----


def our_side(scene: Scene) -> Entry:
    files = [copy.path for copy in scene.copies] + scene.clean
    began = time.process_time()
    first, second = (fingerprint(paths, cache=None) for paths in (scene.originals, files))
    matches = match(first, second, cache=None)
    seconds = time.process_time() - began
    near = [(m.first, m.second) for m in matches if m.kind != "review"]
    found, in_all = (judge(scene, pairs) for pairs in (near, [(m.first, m.second) for m in matches]))
    missed = [(n, copy) for n, copy in enumerate(scene.copies) if (copy.original, n) not in set(near)]
    lost = [
        [copy.alteration, scene.originals[copy.original].name, score(first, second, copy.original, n)]
        for n, copy in missed
    ]
    return {**found, "with review": in_all, "lost": lost, "seconds": seconds}


def score(first: Fingerprints, second: Fingerprints, i: int, j: int) -> float:
    """The verifier's, whether or not the pair was a candidate."""
    return similarity(view(first.thumbs[i]), view(second.thumbs[j]), range(8))


def all_of_eval(scene: Scene) -> Entry:
    """Every photo of eval/ with every clean one."""
    began = time.process_time()
    first, second = (fingerprint(files, cache=None) for files in (scene.eval, scene.clean))
    pairs = [
        [m.kind, scene.eval[m.first].name, scene.clean[m.second].name, round(m.score, 4)]
        for m in match(first, second, cache=None)
    ]
    return {"pairs": pairs, "seconds": time.process_time() - began}


def peer_side(scene: Scene, peer: str, python: str) -> Entry:
    files = [copy.path for copy in scene.copies] + scene.clean
    first, second = ({path.name: n for n, path in enumerate(paths)} for paths in (scene.originals, files))
    words = [python, str(Path(__file__).with_name("guard_peers.py")), peer, str(scene.folder)]
    ran = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    answer = json.loads(ran.stdout.splitlines()[-1])
    both = [(a, b) for pair in answer["pairs"] for a, b in (pair, pair[::-1]) if a in first and b in second]
    return {**judge(scene, [(first[a], second[b]) for a, b in both]), "seconds": answer["seconds"]}


def judge(scene: Scene, pairs: Sequence[tuple[int, int]]) -> Entry:
    """Copies found, by alteration; pairs with another original's copy; pairs with clean photos."""
    found, others, false = dict.fromkeys(scene.alterations, 0), 0, []
    for i, j in sorted(set(pairs)):
        if j >= len(scene.copies):
            false.append([scene.originals[i].name, scene.clean[j - len(scene.copies)].name])
        elif scene.copies[j].original == i:
            found[scene.copies[j].alteration] += 1
        else:
            others += 1
    return {"found": found, "others": others, "false": false, "clean": len(scene.clean)}


# ---- the tables ----


def show(entries: Sequence[Entry]) -> None:
    screen, everywhere = Console(), entries[1]
    sides = [entry for entry in entries if entry is not everywhere]
    table = Table("alteration", *(entry["side"] for entry in sides))
    for name in BATTERY:
        table.add_row(name, *(cell(entry, [name]) for entry in sides), end_section=name == list(BATTERY)[-1])
    table.add_row("all of them", *(cell(entry, list(BATTERY)) for entry in sides))
    for name in COMBINED:
        table.add_row(f"{name}, not in the goal", *(cell(entry, [name]) for entry in sides))
    table.add_row("false alarms", *(amount(entry, lambda e: len(e["false"])) for entry in sides))
    table.add_row("other originals", *(amount(entry, lambda e: e["others"]) for entry in sides))
    table.add_row("CPU seconds", *(f"{entry['seconds']:.0f}" for entry in sides))
    screen.print(table)
    screen.print(
        f"recall of {entries[0]['originals']} copies an alteration, in brackets with the review band; false alarms: "
        f"pairs of an original and one of {entries[0]['clean']} clean photos; goal: recall >= 0.99, 0 false alarms"
    )
    tell_lost(screen, entries[0]["lost"])
    screen.print(f"all of eval with the clean photos: {len(everywhere['pairs'])} pairs")
    for pair in everywhere["pairs"]:
        screen.print("  ", *pair)


def show_hard(entry: Entry) -> None:
    screen, table = Console(), Table("alteration", "recall (with the review band)")
    for name in entry["found"]:
        table.add_row(name, cell(entry, [name]))
    table.add_row("false alarms", amount(entry, lambda e: len(e["false"])))
    table.add_row("other originals", amount(entry, lambda e: e["others"]))
    table.add_row("CPU seconds", f"{entry['seconds']:.0f}")
    screen.print(table)
    screen.print(f"recall of {entry['originals']} copies an alteration; false alarms: pairs of an original and one of "
                 f"{entry['clean']} photos of others, half of them altered in the same ways")  # fmt: skip
    tell_lost(screen, entry["lost"])


def cell(entry: Entry, names: Sequence[str]) -> str:
    return amount(entry, lambda e: sum(e["found"][name] for name in names) / len(names) / entry["originals"], ".3f")


def amount(entry: Entry, of: Callable[[Entry], float], form: str = "") -> str:
    """A figure of the side, and in brackets the same with the review band, where there is one."""
    more = entry.get("with review")
    return f"{of(entry):{form}}" + (f" ({of(more):{form}})" if more else "")


def tell_lost(screen: Console, lost: Sequence[tuple[str, str, float]]) -> None:
    for name in dict.fromkeys(alteration for alteration, _, _ in lost):
        scores = sorted(value for alteration, _, value in lost if alteration == name)
        if scores:
            passed = sum(value >= NEAR for value in scores)
            verifier = ", ".join(f"{value:.3f}" for value in scores if value < NEAR)
            screen.print(f"{name}: {passed} lost by the candidates, {len(scores) - passed} by the verifier: {verifier}")


if __name__ == "__main__":
    main()
