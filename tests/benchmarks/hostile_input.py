"""The input of `hostile.py`: every file that sslmask reads, made by the verbs themselves."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

TINY = """\
preset: none
runs: runs
model: {backbone: test_efficientnet, weights: none, image_size: 32, embedding_size: 16}
train: {steps: 4, batch_size: 8, eval_every: 2, log_every: 1, workers: 0}
data: {root: faces, folds: 2, min_groups: 1}
pseudo: {rounds: 1, rule: percentile, labels: soft}
guard: {mode: 'off'}
"""


def call(words: str) -> int:
    """A verb in this process; its exit code. Other errors than those of a command line go through."""
    from ssl_mask.cli.app import main

    sys.argv = ["sslmask", *words.split()]
    try:
        main()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 1 if left.code else 0
    return 0


def build(work: Path) -> int:
    """All files that are damaged, made by the verbs themselves. Runs in a child, as every computation here does."""
    import pyarrow.csv
    import pyarrow.parquet
    import torch
    from safetensors.torch import save_file

    from ssl_mask.demo_data.draw import draw_demo
    from ssl_mask.models.backbones import create_backbone

    draw_demo(work / "faces", persons=12, seed=0)
    (work / "tiny.yaml").write_text(TINY)
    (work / "base.yaml").write_text(TINY)
    for words in (
        "train --config tiny.yaml --name r --guard on --quiet",
        "predict --run r --quiet",
        "export r --quiet",
        "audit --config tiny.yaml --out cards --processes 1 --quiet --unlabeled faces/extra --set data.cache=off",
        "pseudo --config tiny.yaml --unlabeled faces/extra --name p --audit-answers truth.csv --quiet",
        "uda --config tiny.yaml --unlabeled faces/extra --name s --baseline --steps 2 --quiet",
        "predict --run p --images faces/extra --shard 0/1 --out shards --quiet",
    ):
        if words.startswith("pseudo"):
            write_truth(work)
        code = call(words)
        assert code in {0, 4}, (words, code)
    photos = sorted((work / "faces/extra").iterdir())
    for folder in ("two", "table", "ptable"):
        (work / folder).mkdir()
    for name, photo in zip("ab", photos, strict=False):
        shutil.copy(photo, work / "two" / f"{name}.jpg")
    (work / "two.csv").write_text("image,group\ntwo/a.jpg,x\ntwo/b.jpg,y\n")
    (work / "pool.csv").write_text("image,group\n" + "".join(f"faces/extra/{p.name},\n" for p in photos[:8]))
    rows = [("image", "label", "group", "split")]
    rows += [(f"{i}.jpg", "ab"[i // 2 % 2], f"{'tv'[i % 2]}{i // 4}", ("train", "val")[i % 2]) for i in range(12)]
    with (work / "table/labels.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    for photo, (name, *_) in zip(photos, rows[1:], strict=False):
        shutil.copy(photo, work / "table" / name)
        shutil.copy(photo, work / "ptable" / name)
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(work / "table/labels.csv"), work / "ptable/labels.parquet")
    train = (work / "faces/train/train.csv").read_text().splitlines()
    person, sex, _, _, folder = train[1].split(",")[:5]
    (work / "corrections.csv").write_text(f"path,group,gender\n,{person},{sex}\n") if person else None
    answers = [line.split(",")[0] for line in (work / "faces/eval_answers.csv").read_text().splitlines()[1:]]
    (work / "groups.csv").write_text("image,group\n" + "".join(f"{a},g{i // 2}\n" for i, a in enumerate(answers)))
    images = sorted(p.relative_to(work / "faces").as_posix() for p in (work / "faces/train").rglob("*.jpg"))
    (work / "allow.csv").write_text(f"first,second,reason\n{images[0]},{images[8]},they may\n")
    net = create_backbone("test_efficientnet", weights="none").net
    torch.save(net.state_dict(), work / "w.pth")
    save_file(net.state_dict(), work / "w.safetensors")
    return 0


def write_truth(work: Path) -> None:
    """The true classes of the unlabeled images, as --audit-answers takes them."""
    answers = json.loads((work / "faces/truth.json").read_text())["extra_answers"]
    (work / "truth.csv").write_text("ImageID,ans\n" + "".join(f"{k},{v}\n" for k, v in answers.items()))
