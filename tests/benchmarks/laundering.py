"""Can a leak be washed off? A run that trained on the test images, and ways to get a better mark for what it knows.

    python tests/benchmarks/laundering.py

Two runs of a tiny network on the drawn demo set: `leak` trained on the test images without their labels, as declared,
`honest` did not. Each way hands on what `leak` knows (its weights, pseudo-labels or predictions) or edits what says so,
in copies of their folders. A way ends with a refusal or with a mark; where there are several (run.json, a new
prediction, a score), with the best of them. Exits with 1 if one is better than it may be.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ssl_mask.config import RunConfig, merge, resolve
from ssl_mask.demo_data.draw import draw_demo
from ssl_mask.errors import SslMaskError
from ssl_mask.guard.status import LATTICE
from ssl_mask.runs.records import LeakageStatus
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seal import file_digest
from ssl_mask.runs.view import Run
from ssl_mask.workflows.evaluate import evaluate
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.predict_shard import predict_shard
from ssl_mask.workflows.pseudo import pseudo
from ssl_mask.workflows.train import train

TRACED: LeakageStatus = "transductive-test"
LEAKS: LeakageStatus = "leaked-declared"
UNKNOWN: LeakageStatus = "not-checked"
REFUSED = "refused"
SETTINGS: dict[str, Any] = {
    "preset": "none",
    "model": {"backbone": "test_efficientnet", "weights": "none", "image_size": 32, "embedding_size": 16},
    "train": {"steps": 1, "batch_size": 8, "log_every": 1, "workers": 0},
    "optim": {"lr": 0.02},
    "data": {"folds": 2},
}
LEAKED = {"leaked": True, "reason": "to measure", "allowed_by": "this benchmark"}
DECLARED = {"transductive": True, "reason": "to measure", "allowed_by": "this benchmark"}


@dataclass(frozen=True)
class Scene:
    """A folder with the demo set and both runs, each made when a way asks for it first."""

    folder: Path
    drawn: Path | None = None
    """A demo set of 12 persons that is there already."""

    @cached_property
    def data(self) -> Path:
        """Fewer images than the demo has: most of the time is spent on comparing them."""
        root = self.folder / "demo"
        if self.drawn is not None:
            shutil.copytree(self.drawn, root)
        else:
            draw_demo(root, persons=12, seed=0)
        for image in sorted((root / "extra").iterdir())[16:]:
            image.unlink()
        for table in ("eval/info.csv", "eval_answers.csv"):
            lines = (root / table).read_text().splitlines()
            (root / table).write_text("\n".join(lines[:13]) + "\n")
        named = {line.split(",")[0] for line in (root / "eval_answers.csv").read_text().splitlines()}
        for image in (root / "eval/images").iterdir():
            if image.name not in named:
                image.unlink()
        return root

    @property
    def test(self) -> Path:
        return self.data / "eval" / "images"

    def config(self, **sections: Any) -> RunConfig:
        places = {"runs": str(self.folder / "runs"), "guard": {"cards": str(self.folder / "cards")}}
        base = merge(SETTINGS, {**places, "data": {"root": str(self.data)}})
        return resolve([base, sections], has_gpu=lambda: False)

    def train(self, **sections: Any) -> RunDir:
        run = train(self.config(**sections), quiet=True)
        assert run is not None
        return run.dir

    @cached_property
    def honest(self) -> RunDir:
        return self.train(name="honest", train={"steps": 6})

    @cached_property
    def leak(self) -> RunDir:
        pool = {"name": "uda", "threshold": 0.2, "mu": 1}
        data = {"unlabeled": [str(self.test)]}
        return self.train(name="leak", train={"steps": 12}, seed=1, algorithm=pool, data=data, guard=DECLARED)

    @cached_property
    def predictions(self) -> dict[str, Path]:
        """Of the test images, by both runs."""
        return {r.name: predict([r.path], quiet=True).path or Path() for r in (self.honest, self.leak)}

    @cached_property
    def rounds(self) -> dict[str, RunDir]:
        """A round of pseudo-labels by each run."""
        return {r.name: self.round_of(r, f"of-{r.name}") for r in (self.honest, self.leak)}

    def round_of(self, teacher: RunDir, name: str, **asked: Any) -> RunDir:
        asked = {"rounds": 1, "rule": "percentile", "percentile_step": 0.5, "teachers": [str(teacher.path)], **asked}
        guard, data = {"drop_overlap": True}, {"unlabeled": [] if "from_predictions" in asked else ["extra"]}
        study: Run = pseudo(self.config(name=name, pseudo=asked, guard=guard, data=data), quiet=True)
        return study.dir.round(1)

    @cached_property
    def other_fold(self) -> RunDir:
        """A run that was trained with the labels of the others' validation images."""
        return self.train(name="other-fold", data={"fold": 1})

    @cached_property
    def all_folds(self) -> RunDir:
        """A round of pseudo-labels by the models of all folds, as declared."""
        asked = {"teachers": [str(self.honest.path), str(self.other_fold.path)], "rounds": 1, "rule": "percentile"}
        config = self.config(name="of-all-folds", pseudo=asked, guard={**LEAKED, "drop_overlap": True},
                             data={"unlabeled": ["extra"]})  # fmt: skip
        return pseudo(config, quiet=True).dir.round(1)

    def copy(self, run: RunDir, name: str) -> RunDir:
        """A copy of a run to damage, under another name."""
        return RunDir(Path(shutil.copytree(run.path, self.folder / "runs" / name)))

    def place(self, name: str) -> Path:
        """A fresh folder."""
        path = self.folder / "places" / name
        path.mkdir(parents=True)
        return path

    def predicted(self, run: RunDir) -> LeakageStatus:
        """The mark of a prediction of the test images."""
        leakage = predict([run.path], data=self.data, images=self.test, write=False, quiet=True).leakage
        assert leakage is not None
        return leakage.status

    def heir(self, **sections: Any) -> LeakageStatus:
        """The best mark of a run with these settings: its own, or that of its predictions."""
        run = self.train(**sections)
        return better(run.status().leakage, self.predicted(run))

    def scored(self, predictions: Path) -> LeakageStatus:
        answers = self.data / "eval_answers.csv"
        return evaluate(answers, predictions, run=self.honest.path, write=False).leakage.status


def better(*marks: LeakageStatus) -> LeakageStatus:
    return min(marks, key=LATTICE.index)


class Way(NamedTuple):
    name: str
    at_best: str
    """The best mark that it may end with; `refused`: none."""
    go: Callable[[Scene], LeakageStatus]


WAYS: list[Way] = []


def way(name: str, at_best: str) -> Callable[[Callable[[Scene], LeakageStatus]], Callable[[Scene], LeakageStatus]]:
    def add(go: Callable[[Scene], LeakageStatus]) -> Callable[[Scene], LeakageStatus]:
        WAYS.append(Way(name, at_best, go))
        return go

    return add


# ---- weights ----


def weights(path: Path) -> dict[str, Any]:
    return {"model": {"weights": str(path)}}


def header_of(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="np") as file:
        return dict(json.loads(file.metadata()["sslmask"]))


def write_weights(path: Path, tensors: dict[str, torch.Tensor], header: dict[str, Any] | None = None) -> Path:
    save_file(tensors, path, metadata={"format": "1", "sslmask": json.dumps(header)} if header else None)
    return path


@way("model.weights = its checkpoint", TRACED)
def _(scene: Scene) -> LeakageStatus:
    return scene.heir(**weights(scene.leak.best))


@way("model.weights = a link to its checkpoint", TRACED)
def _(scene: Scene) -> LeakageStatus:
    link = scene.place("link") / "resnet.safetensors"
    link.symlink_to(scene.leak.best)
    return scene.heir(**weights(link))


@way("model.weights = a copy of its checkpoint, elsewhere", TRACED)
def _(scene: Scene) -> LeakageStatus:
    return scene.heir(**weights(Path(shutil.copy(scene.leak.best, scene.place("copied") / "imagenet.safetensors"))))


@way("model.weights = its tensors without a header", UNKNOWN)
def _(scene: Scene) -> LeakageStatus:
    return scene.heir(**weights(write_weights(scene.place("bare") / "w.safetensors", load_file(scene.leak.best))))


@way("model.weights = its last.state as .pth", UNKNOWN)
def _(scene: Scene) -> LeakageStatus:
    return scene.heir(**weights(Path(shutil.copy(scene.leak.last, scene.place("state") / "w.pth"))))


@way("model.weights = its tensors under an honest header", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    run = scene.copy(scene.honest, "grafted")
    write_weights(run.best, load_file(scene.leak.best), header_of(scene.honest.best))
    return scene.heir(**weights(run.best))


@way("init_from, of an heir of it", TRACED)
def _(scene: Scene) -> LeakageStatus:
    child = scene.train(name="child", init_from="leak" if scene.leak else "")
    return better(scene.predicted(child), scene.heir(init_from="child"))


@way("init_from with the guard off", TRACED)
def _(scene: Scene) -> LeakageStatus:
    return scene.heir(init_from=str(scene.leak.path), guard={"mode": "off"})


@way("init_from, and one test image less", TRACED)
def _(scene: Scene) -> LeakageStatus:
    data = Path(shutil.copytree(scene.data, scene.folder / "less"))
    table = data / "eval" / "info.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    return scene.heir(init_from=str(scene.leak.path), data={"root": str(data)})


@way("init_from a run that trained on these validation images", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    return scene.train(init_from=str(scene.other_fold.path)).status().leakage


@way("the same, declared", LEAKS)
def _(scene: Scene) -> LeakageStatus:
    return scene.train(init_from=str(scene.other_fold.path), guard=LEAKED).status().leakage


@way("init_from a child of such a run on other validation images", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    child = scene.train(name="its-child", init_from=str(scene.other_fold.path), data={"fold": 1})
    return scene.train(init_from=str(child.path)).status().leakage


# ---- what stands in a run ----


@way("its checkpoint in the folder of an honest run", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    run = scene.copy(scene.honest, "swapped")
    shutil.copy(scene.leak.best, run.best)
    return scene.predicted(run)


@way("its checkpoint and seen-sets in the folder of an honest run", TRACED)
def _(scene: Scene) -> LeakageStatus:
    run = scene.copy(scene.honest, "moved-in")
    shutil.copytree(scene.leak.best.parent, run.best.parent, dirs_exist_ok=True)
    return scene.predicted(run)


@way("its tensors under the header of an honest run, predicted", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    run = scene.copy(scene.honest, "grafted-too")
    write_weights(run.best, load_file(scene.leak.best), header_of(scene.honest.best))
    return scene.predicted(run)


@way("the marks in its header are edited", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    run, header = scene.copy(scene.leak, "better-marks"), header_of(scene.leak.best)
    header |= {"leakage": "clean", "marks": dict.fromkeys(header["marks"], "clean")}
    write_weights(run.best, load_file(run.best), header)
    return scene.predicted(run)


@way("the seen-sets in its header are edited", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    run, header = scene.copy(scene.leak, "less-seen"), header_of(scene.leak.best)
    header["marks"], header["seen"] = {}, {k: v for k, v in header["seen"].items() if k != "unlabeled"}
    write_weights(run.best, load_file(run.best), header)
    return scene.predicted(run)


@way("a seen-set is removed", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    run = scene.copy(scene.leak, "nothing-seen")
    run.seen("unlabeled").unlink()
    return scene.predicted(run)


@way("a seen-set is replaced by an honest one", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    run = scene.copy(scene.leak, "others-seen")
    shutil.copy(run.seen("train"), run.seen("unlabeled"))
    return scene.predicted(run)


@way("it is renamed", TRACED)
def _(scene: Scene) -> LeakageStatus:
    return scene.predicted(scene.copy(scene.leak, "honest-two"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


CLEAN: dict[str, Any] = {"leakage": "clean", "leakage_reason": "", "marks": {}, "declaration": None}


@way("its run.json is edited", TRACED)
def _(scene: Scene) -> LeakageStatus:
    run = scene.copy(scene.leak, "better-status")
    edit(run.status_file, **CLEAN)
    return scene.predicted(run)


@way("its run.json is edited, then it is resumed", TRACED)
def _(scene: Scene) -> LeakageStatus:
    run = scene.copy(scene.leak, "better-resumed")
    edit(run.status_file, **CLEAN)
    train(scene.config(), resume=run.path, length={"steps": 14}, quiet=True)
    return better(run.status().leakage, scene.predicted(run))


@way("an honest run is resumed from its state", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    run = scene.copy(scene.honest, "its-state")
    shutil.copy(scene.leak.last, run.last)
    train(scene.config(), resume=run.path, length={"steps": 14}, quiet=True)
    return scene.predicted(run)


@way("an honest run is resumed from a state with its tensors", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    run = scene.copy(scene.honest, "its-tensors")
    ours, theirs = (torch.load(r.last, weights_only=True) for r in (run, scene.leak))
    torch.save(ours | {"model": theirs["model"], "ema": theirs["ema"]}, run.last)
    train(scene.config(), resume=run.path, length={"steps": 14}, quiet=True)
    return scene.predicted(run)


# ---- pseudo-labels ----


def labels(path: Path) -> dict[str, Any]:
    return {"data": {"pseudo_labels": str(path)}, "guard": {"drop_overlap": True}}


@way("its pseudo-labels", TRACED)
def _(scene: Scene) -> LeakageStatus:
    return scene.heir(**labels(scene.rounds["leak"].pseudo_labels))


@way("its pseudo-labels, copied alone", UNKNOWN)
def _(scene: Scene) -> LeakageStatus:
    table = scene.place("table") / "pseudo_labels.csv"
    return scene.heir(**labels(Path(shutil.copy(scene.rounds["leak"].pseudo_labels, table))))


@way("its pseudo-labels beside an honest selection.json", UNKNOWN)
def _(scene: Scene) -> LeakageStatus:
    place = scene.place("beside")
    shutil.copy(scene.rounds["honest"].selection, place)
    return scene.heir(**labels(Path(shutil.copy(scene.rounds["leak"].pseudo_labels, place))))


@way("its pseudo-labels, their selection.json edited", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    run = RunDir(scene.place("edited"))
    shutil.copy(scene.rounds["leak"].pseudo_labels, run.path)
    shutil.copy(scene.rounds["leak"].selection, run.path)
    teacher = {"run": str(scene.honest.path), "checkpoint_sha256": file_digest(scene.honest.best)}
    edit(run.selection, teachers=[teacher])
    return scene.heir(**labels(run.pseudo_labels))


@way("pseudo-labels by the models of all folds", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    return scene.heir(**labels(scene.all_folds.pseudo_labels))


@way("the same, declared where they are trained on", LEAKS)
def _(scene: Scene) -> LeakageStatus:
    table = labels(scene.all_folds.pseudo_labels)
    return scene.train(data=table["data"], guard={**LEAKED, "drop_overlap": True}).status().leakage


@way("the same, renamed, in another folder with their selection.json", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    place = scene.place("of-nobody")
    shutil.copy(scene.all_folds.selection, place)
    return scene.heir(**labels(Path(shutil.copy(scene.all_folds.pseudo_labels, place / "pseudo_labels.csv"))))


@way("the same, renamed, in another folder alone", UNKNOWN)
def _(scene: Scene) -> LeakageStatus:
    return scene.heir(
        **labels(Path(shutil.copy(scene.all_folds.pseudo_labels, scene.place("of-nobody-alone") / "mine.csv")))
    )


@way("pseudo-labels by a run that learned from them", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    """Its own training images are honest; those of its teachers are not."""
    asked = {"teachers": [str(scene.all_folds.path)], "rounds": 1, "rule": "percentile"}
    pool = {"data": {"unlabeled": ["extra"]}, "guard": {"drop_overlap": True}}
    return pseudo(scene.config(name="grandchild", pseudo=asked, **pool), quiet=True).status.leakage


@way("init_from a run that learned from them", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    return scene.train(init_from=str(scene.all_folds.path)).status().leakage


@contextmanager
def moved(run: RunDir, into: Path, instead: RunDir | None = None) -> Iterator[None]:
    """A run is away for a while, and another one may be in its place."""
    run.path.rename(into)
    if instead is not None:
        shutil.copytree(instead.path, run.path)
    try:
        yield
    finally:
        if instead is not None:
            shutil.rmtree(run.path)
        into.rename(run.path)


@way("its pseudo-labels after it was deleted", UNKNOWN)
def _(scene: Scene) -> LeakageStatus:
    table = scene.rounds["leak"].pseudo_labels
    with moved(scene.leak, scene.folder / "away"):
        return scene.heir(**labels(table))


@way("its pseudo-labels, an honest run under its name", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    table = scene.rounds["leak"].pseudo_labels
    with moved(scene.leak, scene.folder / "away", instead=scene.honest):
        return scene.heir(**labels(table))


def shards(scene: Scene, run: RunDir, name: str) -> Path:
    folder = scene.folder / "shards" / name
    return predict_shard((0, 1), run.path, images=scene.data / "extra", out=folder, quiet=True)


def from_shards(scene: Scene, shard: Path, teacher: RunDir, name: str) -> LeakageStatus:
    run = scene.round_of(teacher, name, from_predictions=str(shard.parent))
    return better(run.status().leakage, scene.predicted(run))


@way("its shards, as those of an honest run", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    return from_shards(scene, shards(scene, scene.leak, "plain"), scene.honest, "plain-shards")


@way("its shards with the name of an honest run", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    shard = shards(scene, scene.leak, "renamed")
    metadata = pq.read_schema(shards(scene, scene.honest, "honest")).metadata
    pq.write_table(pq.read_table(shard).replace_schema_metadata(metadata), shard)
    return from_shards(scene, shard, scene.honest, "renamed-shards")


@way("its shards, as what they are", TRACED)
def _(scene: Scene) -> LeakageStatus:
    return from_shards(scene, shards(scene, scene.leak, "own"), scene.leak, "own-shards")


# ---- predictions ----


def predicted_files(scene: Scene, name: str, run: str = "leak", **claims: dict[str, Any]) -> Path:
    """A copy of the predictions of a run, with an edited provenance."""
    folder = Path(shutil.copytree(scene.predictions[run].parent, scene.folder / "predictions" / name))
    path = folder / "predictions.provenance.json"
    record = json.loads(path.read_text())
    for part, changes in claims.items():
        if part == "source":
            record["sources"] = [one | changes for one in record["sources"]]
        else:
            record[part] |= changes
    path.write_text(json.dumps(record))
    return folder / "predictions.csv"


BETTER = {"verdict": "clean", "overlap": {}, "why": []}


@way("predictions: as they are", TRACED)
def _(scene: Scene) -> LeakageStatus:
    return scene.scored(predicted_files(scene, "as-is"))


@way("predictions: the verdict is edited", TRACED)
def _(scene: Scene) -> LeakageStatus:
    return scene.scored(predicted_files(scene, "verdict", leakage=BETTER))


@way("predictions: verdict edited, digest emptied", TRACED)
def _(scene: Scene) -> LeakageStatus:
    return scene.scored(predicted_files(scene, "digest", leakage={**BETTER, "pool_digest": ""}))


@way("predictions: verdict edited, a run that is not there", UNKNOWN)
def _(scene: Scene) -> LeakageStatus:
    return scene.scored(predicted_files(scene, "gone", leakage=BETTER, source={"source": "runs/gone"}))


@way("predictions: verdict edited, another run's path", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    return scene.scored(predicted_files(scene, "path", leakage=BETTER, source={"source": str(scene.honest.path)}))


@way("predictions: verdict edited, another run's entry", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    entry = json.loads(scene.predictions["honest"].with_name("predictions.provenance.json").read_text())["sources"][0]
    return scene.scored(predicted_files(scene, "entry", leakage=BETTER, source=entry))


@way("predictions: verdict edited, no run at all", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    path = predicted_files(scene, "no-run", leakage=BETTER)
    edit(path.with_name("predictions.provenance.json"), sources=[])
    return scene.scored(path)


@way("predictions: verdict edited, other images under the names", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    place = scene.place("other-images")
    (place / "eval/images").mkdir(parents=True)
    others = cycle(sorted((scene.data / "extra").iterdir()))
    for image, other in zip(sorted(scene.test.iterdir()), others, strict=False):
        shutil.copy(other, place / "eval/images" / image.name)
    claim = {**BETTER, "pool_digest": ""}
    return scene.scored(predicted_files(scene, "root", leakage=claim, pool={"root": str(place)}))


@way("predictions: verdict edited, images that are not there", UNKNOWN)
def _(scene: Scene) -> LeakageStatus:
    return scene.scored(predicted_files(scene, "no-images", leakage=BETTER, pool={"root": "/nowhere"}))


@way("predictions: the provenance is deleted", UNKNOWN)
def _(scene: Scene) -> LeakageStatus:
    path = predicted_files(scene, "no-claim")
    path.with_name("predictions.provenance.json").unlink()
    return scene.scored(path)


def in_honest_place(scene: Scene, name: str, *files: str) -> Path:
    """Files of the leaking run over copies of those of the honest one, the claim made to fit them."""
    digest = file_digest(scene.predictions["leak"])
    path = predicted_files(scene, name, "honest", predictions={"sha256": digest})
    for file in files:
        shutil.copy(scene.predictions["leak"].with_name(file), path.parent)
    return path


@way("predictions: its answers among an honest run's files", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    return scene.scored(in_honest_place(scene, "answers", "predictions.csv"))


@way("predictions: its answers and probabilities, an honest claim", REFUSED)
def _(scene: Scene) -> LeakageStatus:
    return scene.scored(in_honest_place(scene, "probabilities", "predictions.csv", "probabilities.parquet"))


@way("predictions: an average with an honest run", TRACED)
def _(scene: Scene) -> LeakageStatus:
    out = scene.place("average")
    predict([scene.honest.path, scene.leak.path], data=scene.data, out=out, quiet=True)
    return scene.scored(out / "predictions.csv")


# ---- the table ----


def result_of(one: Way, scene: Scene) -> str:
    """The mark that a way ends with, or `refused`."""
    try:
        return one.go(scene)
    except SslMaskError as error:
        return f"{REFUSED} ({type(error).__name__})"


def launders(one: Way, result: str) -> bool:
    """Whether the mark is better than it may be."""
    if result.startswith(REFUSED):
        return False
    return one.at_best == REFUSED or LATTICE.index(result) < LATTICE.index(one.at_best)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SSLMASK_CACHE"] = f"{folder}/cache"
        scene = Scene(Path(folder))
        print(f"honest: {scene.predicted(scene.honest)}; leak: {scene.predicted(scene.leak)}\n")
        bad = 0
        print(f"| {'way':58} | {'result':24} | {'at best':17} |\n| {'-' * 58} | {'-' * 24} | {'-' * 17} |")
        for one in WAYS:
            result = result_of(one, scene)
            bad += launders(one, result)
            print(
                f"| {one.name:58} | {result:24} | {one.at_best:17} |" + (" LAUNDERS" if launders(one, result) else "")
            )
    print(f"\n{len(WAYS)} ways, {bad} of them launder")
    sys.exit(bad > 0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
