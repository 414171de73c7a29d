"""What a peer finds in a folder of images, at its defaults. `guard_recall.py` runs it in the peers' environment.

    PEERS/bin/python tests/benchmarks/guard_peers.py PEER FOLDER

Prints one line of JSON: the CPU seconds, and the pairs of file names found.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

Pair = tuple[str, str]


def main() -> None:
    find = {"imagededup PHash": phash, "cleanvision": cleanvision}[sys.argv[1]]
    began = time.process_time()
    pairs = sorted(set(map(ordered, find(sys.argv[2]))))
    print(json.dumps({"seconds": time.process_time() - began, "pairs": pairs}))


def ordered(pair: Pair) -> Pair:
    first, second = sorted(pair)
    return first, second


def phash(folder: str) -> Iterator[Pair]:
    """Perceptual hashes of 64 bits at a Hamming distance of 10 or less."""
    from imagededup.methods import PHash

    found = PHash(verbose=False).find_duplicates(image_dir=folder, num_enc_workers=0, num_dist_workers=0)
    for name, others in found.items():
        for other in others:
            yield name, other


def cleanvision(folder: str) -> Iterator[Pair]:
    """Sets of equal MD5 digests (exact) and of equal perceptual hashes (near)."""
    from cleanvision import Imagelab

    lab = Imagelab(data_path=folder)
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=1, verbose=False)
    for kind in ("exact_duplicates", "near_duplicates"):
        yield from pairs_of(lab.info[kind]["sets"])


def pairs_of(sets: Iterable[Iterable[str]]) -> Iterator[Pair]:
    for members in sets:
        yield from combinations([Path(name).name for name in members], 2)


if __name__ == "__main__":
    main()
