"""What grid shuffle, cutout by pixels, mixup and CutMix gain over the augmentation preset, on the faces.

    python tests/benchmarks/augmentations.py [--data DIR] [--ways WAY …] [--seeds 0 1 2] [--jobs 2] [--device cpu]

60 persons of mask18 (others for each seed), a study of folds a way: its out-of-fold macro-F1 is what is compared, for
all seeds together; differences are paired, their 95 % intervals by person, for one person has 7 photos. Nothing is
chosen on eval/: its answers are read at the end, for information, and are the mean of the seeds.

Each study is a process of one thread, on a GPU where there is one. What is in `--out`/augmentations.jsonl is not
redone; after a change of the code, choose a new `--out`. On 2 cores a study of 3 folds takes some 2 minutes.
"""

from __future__ import annotations

import json

from faces import drawn
from oof import PERSONS, arguments, jobs_of, show, studied
from resumable import Entry, run_all

WAYS: dict[str, Entry] = {
    "preset as it is (competition)": {},
    "grid shuffle, all photos": {"grid_shuffle_classes": ["worn", "incorrect", "none"]},
    "grid shuffle, masks worn": {"grid_shuffle_classes": ["worn"]},
    "grid shuffle, 60 and older": {"grid_shuffle_classes": [">=60"]},
    "grid shuffle, a quarter of all, half of 60 and older": {
        "grid_shuffle_classes": {"male": 0.25, "female": 0.25, ">=60": 0.5}
    },
    "cutout, 16 pixels": {"cutout": 16},
    "cutout, 32 pixels": {"cutout": 32},
    "mixup": {"mixup": "paper"},
    "cutmix": {"cutmix": "paper"},
    "mixup and cutmix": {"mixup": "paper", "cutmix": "paper"},
}
"""Settings of `augment`."""


def main() -> None:
    options = arguments(__doc__ or "", tuple(WAYS))
    if job := options.child:
        data = drawn(options.data, options.out / f"faces-{PERSONS}-{job['seed']}", PERSONS, job["seed"])
        print(json.dumps(studied(job, options.out / "augmentations-runs", {"root": str(data)}, WAYS[job["way"]])))
        return
    for seed in options.seeds:  # before several children need it
        drawn(options.data, options.out / f"faces-{PERSONS}-{seed}", PERSONS, seed)
    jobs, words = jobs_of(options)
    show(run_all(__file__, options.out / "augmentations.jsonl", jobs, words, options.jobs), options,
         f"augmentation of {PERSONS} persons")  # fmt: skip


if __name__ == "__main__":
    main()
