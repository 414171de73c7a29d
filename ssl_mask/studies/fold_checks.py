"""What is looked at before a study of folds trains: whether every fold can be trained, and whether its data changed."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping

from ssl_mask.config import DataConfig, RunConfig, validate
from ssl_mask.console import Console
from ssl_mask.data.digests import digest_files
from ssl_mask.data.extra_labels import is_extra
from ssl_mask.data.image_set import cache_folder
from ssl_mask.data.load import read_all_labels, read_manifest, read_rows
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.splits import fold_numbers, split, without_given_split
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import ConfigError, DataError
from ssl_mask.runs.folds import FoldsSettings, FoldStudy
from ssl_mask.runs.run import RunDir
from ssl_mask.training.evaluate import evaluation_interval
from ssl_mask.training.session import optimizer_steps

NAMED = 3
"""Classes that a message names."""
ANEW = "Restore the data set, or begin a new study."


def checked_config(config: RunConfig, asked: FoldsSettings, console: Console) -> RunConfig:
    """What all runs of a study have in common: the number of folds, and equal numbers of steps and evaluations.

    Raises:
        ConfigError: no validation is asked for, or the data set brings its own and it is not to be ignored.
        DataError: too few groups, or a fold without a training image of a class.
    """
    config.refuse_no_validation("A study of folds")
    config.refuse_factors("A study of folds")
    config.refuse_auto_batch("a study of folds")
    rows = read_rows(config.data, console)
    if rows.where("val") and config.data.given_split == "keep":
        raise ConfigError(
            f"The data set brings its own validation split ({len(rows.where('val'))} images), which --folds would mix "
            "with the training images.",
            hint="Train a single run without --folds, or fold all labeled images: --set data.given_split=ignore",
        )
    refuse_lost_classes(without_given_split(rows), config.data, asked, console)
    data = config.data.model_copy(update={"folds": asked.folds, "fold": 0})
    parts = read_manifest(data, Console(quiet=True))
    train, val = (len(parts.where(name)) for name in ("train", "val"))
    steps = optimizer_steps(config, train)
    length = {"steps": steps, "epochs": None, "eval_every": evaluation_interval(config.train, steps, val)}
    tree = config.model_dump(mode="json")
    tree["data"] |= {"folds": asked.folds, "fold": 0}
    return validate({**tree, "train": {**tree["train"], **length}})


def refuse_lost_classes(rows: Manifest, data: DataConfig, asked: FoldsSettings, console: Console) -> None:
    """Every class must be among the training images of every fold; a class that folds validate without is told.

    Args:
        rows: of the data set, all labeled ones in training.

    Raises:
        DataError: a fold without a training image of a class (with `data.min_groups=1` it is only told).
    """
    split(rows, folds=asked.folds, fold=0, seed=data.split_seed, min_groups=data.min_groups)  # raises what is wrong
    labeled, names = rows.where("train"), rows.schema.joint_classes
    groups: dict[int, set[str]] = defaultdict(set)
    for joint, group in zip(labeled.joint.tolist(), labeled.groups.tolist(), strict=True):
        groups[joint].add(group)
    few = [f"{names[c]} ({len(own)})" for c, own in sorted(groups.items()) if len(own) < asked.folds]
    if few:
        more = f" and {len(few) - NAMED} more" if len(few) > NAMED else ""
        console.warn(
            f"Fewer groups than the {asked.folds} folds: {', '.join(few[:NAMED])}{more}. Some folds are validated "
            "without these classes; the pooled score has all of them."
        )
    for repeat in range(asked.repeats):
        numbers = fold_numbers(labeled, folds=asked.folds, seed=data.split_seed + repeat)
        for fold in range(asked.folds):
            lost = sorted(groups.keys() - set(labeled.joint[numbers != fold].tolist()))
            if not lost:
                continue
            problem = f"Fold {fold} (split seed {data.split_seed + repeat}) would train without class {names[lost[0]]}"
            problem += f": all of its {len(groups[lost[0]])} groups are in its validation part."
            if data.min_groups > 1:
                hint = "Add groups of it, lower --folds, take another data.split_seed, or accept it with "
                raise DataError(problem, hint=f"{hint}--set data.min_groups=1.")
            console.warn(problem)


Content = Mapping[str, tuple[str, ...]]
"""Path of a labeled image -> what a manifest's CSV says of it, without spaces around, as `read_csv` gives it."""


def content_of(run: RunDir) -> Content:
    """The labeled images that a run was trained and validated on. Raises DataError when manifest.csv is damaged."""
    return _content(cells for _, cells in read_csv(run.manifest, columns=("path", "group", "split", "sha256")))


def _content(rows: Iterable[Mapping[str, str]]) -> Content:
    """Of the rows of a manifest's CSV. In which split an image is differs between runs."""
    return {r["path"].strip(): tuple(v.strip() for k, v in r.items() if k not in {"split", "source"}) for r in rows}


def left_out_of(run: RunDir) -> set[str]:
    """Paths of the labeled images that a run left out."""
    if not run.left_out.is_file():
        return set()
    return {cells["path"] for _, cells in read_csv(run.left_out, columns=("path", "why"))}


def refuse_changed_data(folds: FoldStudy, config: RunConfig) -> None:
    """Before a study goes on: is the data set what its first run was trained on?

    Raises:
        DataError: names an image that is new, gone, or has other bytes, another group or other labels.
    """
    run = next((run for run in folds.members() if run.manifest.is_file()), None)
    if run is None:
        return
    then, left_out = content_of(run), left_out_of(run)
    rows = read_all_labels(config.data).where("train", "val")
    if config.data.factor is not None:
        rows = rows.of_factor(config.data.factor)
    there = rows.with_rows(r for r in rows.rows if r.path.strip() in then)
    folder = cache_folder(config.data, len(there), 1)
    digests = digest_files(there.files, folder)
    now = _content(csv.DictReader(io.StringIO(there.with_digests(digests).to_csv(), newline="")))
    added = [path for r in rows.rows if (path := r.path.strip()) not in then and path not in left_out]
    changed = sorted(p for p in then if then[p] != now.get(p))
    if config.data.labeled_groups is None:
        changed += added
    if changed:
        raise DataError(
            f"The data set in {config.data.root.absolute()} is not what {folds.path} began with: {changed[0]} is "
            f"{'gone' if changed[0] not in now and changed[0] in then else 'new or another'} ({len(changed)} such "
            "images).",
            hint=ANEW,
        )


def refuse_different_data(folds: FoldStudy) -> None:
    """All runs must share one set of labeled images, each validated once per repeat, or left out. Extra labels only
    train.

    Raises:
        DataError: an image differs between two runs, or no fold or two predict it.
    """
    asked, runs, known = folds.settings(), folds.members(), dict[str, tuple[str, ...]]()
    for run in runs:
        for path, content in content_of(run).items():
            if known.setdefault(path, content) != content:
                raise DataError(f"{path} is not the same image or label in all runs of {folds.path}.", hint=ANEW)
    for repeat in range(asked.repeats):
        own = runs[repeat * asked.folds : (repeat + 1) * asked.folds]
        validated = [path for run in own for path in validated_by(run)]
        missing = (
            known.keys() - set(validated) - {path for run in own for path in (*left_out_of(run), *only_trains(run))}
        )
        twice = len(validated) - len(set(validated))
        if missing or twice:
            what = f"{min(missing)} is validated by no fold" if missing else f"{twice} images are validated twice"
            raise DataError(f"The folds of {folds.path} do not fit together: {what}.", hint=ANEW)


def only_trains(run: RunDir) -> list[str]:
    """Paths of the images of `data.extra_labels`."""
    if not (tables := run.config().data.extra_labels):
        return []
    rows = (cells for _, cells in read_csv(run.manifest, columns=("path", "source")))
    return [cells["path"] for cells in rows if is_extra(cells["source"], tables)]


def validated_by(run: RunDir) -> list[str]:
    rows = (cells for _, cells in read_csv(run.manifest, columns=("path", "split")))
    return [cells["path"] for cells in rows if cells["split"] == "val"]
