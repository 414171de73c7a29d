"""Races UDA and FixMatch here against semilearn 0.3.2 on CIFAR-10: accuracy against CPU time with 50 labels per class.

    python tests/benchmarks/cifar_race.py --peer PEER/bin/python [--seeds 0 1 2] [--validate]

500 labeled images, a pool of 4,000, 1,500 for the test, of 32 px shown at 48, in `$SSLMASK_CIFAR10` or beside mask18;
only the order of the images and all that is random differ between seeds. Every side trains EfficientNet-Lite0 from its
ImageNet weights (in a package, no download) and the same random head, as `race.py` says, on 16 labeled + 32 weak + 32
strong views a step:

- semilearn: its UDA and FixMatch with their own thresholds, temperatures and augmentation
- ours: `train_steps` on `train_batches`, as `sslmask uda` runs them
- labels only: the same without the pool, and at most as long

Both have AdamW; of 3e-4, 1e-3 and 3e-3, theirs has the rate that was best for it (at 32 px). `--validate` holds 150 of
the labeled images out and measures on them; settings were chosen so, on seed 10, which is none of the reported ones.
PEER is the environment that `uda_cost.py` describes. Results are appended to `--out`/cifar_race.jsonl, and what is
there for the same side, seed and settings is not redone. After a change of the code alone, choose a new `--out`. About
13 CPU minutes a seed, a third of them for measuring.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from race import Images, Photos, Race, run
from resumable import cifar_folder, data_folder, read_classes

SIZE, HELD_OUT = 48, 150
THEIRS = {"peer": True, "steps": 75, "batch": 16, "uratio": 2, "optim": "AdamW", "lr": 1e-3, "points": 1}
OURS = {
    "steps": 180, "batch": 16, "mu": 2, "optimizer": "adamw", "lr": 2e-3, "backbone_lr_scale": 0.5, "decay": 0.02,
    "schedule": "one_cycle", "warmup": 0.1, "final": 0.0, "ema": 0.98, "sharpen": 0.4, "weight": 1.0, "start": 0.0,
    "ramp_up": 0.0, "tsa": "off", "teacher": "live", "alignment": False, "weak_training": False, "labeled": "light",
    "weak": "light", "points": 10,
}  # fmt: skip
SIDES = {
    "semilearn uda": THEIRS | {"algorithm": "uda"},
    "semilearn fixmatch": THEIRS | {"algorithm": "fixmatch"},
    "uda": OURS | {"algorithm": "uda", "threshold": 0.8, "against": "semilearn uda"},
    "fixmatch": OURS | {"algorithm": "fixmatch", "threshold": 0.95, "against": "semilearn fixmatch"},
    "labels only": OURS | {"mu": 0, "steps": 240, "against": "semilearn uda", "points": 3},
}


def cifar(seed: int, validate: bool) -> Photos:
    import cv2

    def read(files: list[Path]) -> Images:
        images = [cv2.cvtColor(cv2.imread(str(f)), cv2.COLOR_BGR2RGB) for f in files]
        return np.stack([cv2.resize(i, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for i in images]).astype(np.uint8)

    folder = cifar_folder(data_folder())
    files = sorted((folder / "train").glob("*/*"))
    names = sorted({f.parent.name for f in files})
    order = np.random.default_rng(seed).permutation(len(files))
    labeled = read(files)[order], np.asarray([names.index(f.parent.name) for f in files])[order]
    pool = read(sorted((folder / "unlabeled").iterdir()))
    if validate:
        return Photos(cut(labeled, slice(HELD_OUT, None)), pool, cut(labeled, slice(HELD_OUT)))
    answers = read_classes(folder / "test_answers.csv")
    test = read([folder / "test" / name for name in answers])
    return Photos(labeled, pool, (test, np.asarray([names.index(answers[name]) for name in answers])))


def cut(photos: tuple[Images, NDArray[np.int64]], part: slice) -> tuple[Images, NDArray[np.int64]]:
    return photos[0][part], photos[1][part]


RACE = Race(
    str(Path(__file__)), cifar, 10, {"backbone": "embedded", "image_size": SIZE}, flip=True, sides=SIDES,
    goal="ahead at equal CPU time; their score after at most 0.5x their time",
)  # fmt: skip


if __name__ == "__main__":
    run(RACE, __doc__ or "")
