"""Races UDA and FixMatch here against semilearn 0.3.2 on CIFAR-10: accuracy against CPU time with 50 labels per class.

    python tests/benchmarks/cifar_race.py --peer PEER/bin/python [--seeds 0 1 2] [--validate]

500 labeled images, a pool of 4,000, 1,500 for the test, of 32 px, in `$SSLMASK_CIFAR10` or beside mask18; only the
order of the images and all that is random differ between seeds. Every side trains EfficientNet-Lite0 from its ImageNet
weights (in a package, no download) and the same random head, as `race.py` says, on 16 labeled + 32 weak + 32 strong
views a step:

- semilearn: its UDA and FixMatch with their own thresholds, temperatures and augmentation
- ours: `train_steps` on `train_batches`, as `sslmask uda` runs them
- labels only: the same without the pool, and at most as long

Both have AdamW; theirs has the learning rate that was best for it. PEER is the environment that `uda_cost.py`
describes. `--validate` holds 150 of the labeled images out and measures on them. All settings were chosen so, on seeds
10 and 11. Results are appended to `--out`/cifar_race.jsonl, and what is there for the same side, seed and settings is
not redone. After a change of the code alone, choose a new `--out`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from race import Images, Photos, Race, run
from resumable import cifar_folder, data_folder, read_classes

SIZE, HELD_OUT = 32, 150
THEIRS = {"peer": True, "steps": 100, "batch": 16, "uratio": 2, "optim": "AdamW", "lr": 1e-3, "points": 4}
OURS = {
    "steps": 150, "batch": 16, "mu": 2, "lr": 2e-3, "backbone_lr_scale": 0.5, "optimizer": "adamw", "decay": 0.02,
    "schedule": "one_cycle", "warmup": 0.1, "final": 0.0, "ema": 0.95, "sharpen": 0.4, "weight": 1.0, "start": 0.0,
    "ramp_up": 0.0, "tsa": "off", "teacher": "live", "labeled": "light", "weak": "light", "points": 15,
}  # fmt: skip
SIDES = {
    "semilearn uda": THEIRS | {"algorithm": "uda"},
    "semilearn fixmatch": THEIRS | {"algorithm": "fixmatch"},
    "uda": OURS | {"algorithm": "uda", "threshold": 0.8, "against": "semilearn uda"},
    "fixmatch": OURS | {"algorithm": "fixmatch", "threshold": 0.95, "against": "semilearn fixmatch"},
    "labels only": OURS | {"mu": 0, "steps": 300, "against": "semilearn uda", "points": 5},
}


def cifar(seed: int, validate: bool) -> Photos:
    import cv2

    def read(files: list[Path]) -> Images:
        return np.stack([cv2.cvtColor(cv2.imread(str(f)), cv2.COLOR_BGR2RGB) for f in files]).astype(np.uint8)

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
